-- What a vendor says that it sent, held against what arrived: a frozen set, and what became of it.

create table reconcile (
    id         blob not null primary key,
    source     text not null,
    provider   text not null,
    since_us   integer not null,
    until_us   integer not null,
    -- which types were wanted, as a JSON list; none are all
    types      text not null,
    who        text not null,
    reason     text,
    created_us integer not null,
    -- until when it may be carried out
    expires_us integer not null,
    ended_us   integer,
    status     text not null
        check (status in ('listing', 'planned', 'running', 'done', 'failed')),
    hash       text,
    pages      integer not null default 0,
    -- what the vendor lists, and of that: what arrived, what was turned away here, what never came,
    -- what cannot be read, and what was not asked for
    listed     integer not null default 0,
    arrived    integer not null default 0,
    rejected   integer not null default 0,
    missing    integer not null default 0,
    unreadable integer not null default 0,
    ignored    integer not null default 0,
    -- of those that were turned away or never came
    taken      integer not null default 0,
    duplicate  integer not null default 0,
    failed     integer not null default 0,
    error_code text,
    error      text
) strict, without rowid;

create unique index reconcile_open on reconcile (source) where status in ('listing', 'running');

-- The gap: what did not arrive.
create table reconcile_item (
    reconcile_id blob not null,
    place        integer not null,
    external_id  text not null,
    type         text not null,
    at_us        integer not null,
    delivery     text,
    -- what to fetch it by; null: its body is in reconcile_body
    fetch        text,
    state        text not null check (state in ('missing', 'rejected', 'unreadable')),
    -- the request that was turned away, or by which it was taken in
    request_id   blob,
    event_id     blob,
    verdict      text check (verdict in ('taken', 'duplicate', 'failed')),
    why          text,
    primary key (reconcile_id, place)
) strict, without rowid;

-- What the list itself had of an item, until that is taken in.
create table reconcile_body (
    reconcile_id blob not null,
    place        integer not null,
    body         text not null,
    primary key (reconcile_id, place)
) strict;

-- Tasks whose step is ordered: those of one key stand in a line, in the order of their places.
create table task_line (
    place      integer primary key autoincrement,
    task_id    blob not null unique,
    workflow   text not null,
    step       text not null,
    key        text not null,
    -- 1: a dead task holds those behind it
    holds_dead integer not null,
    -- 1: it has not ended, or is dead and holds the line
    is_open    integer not null,
    -- 1: another of the line goes first, so the task needs one thing more
    is_held    integer not null
) strict;

create index task_line_key on task_line (workflow, step, key, place);
create index task_line_open on task_line (workflow, step, key, place) where is_open = 1;

alter table plan_item add column line_key text;
alter table plan_item add column line_holds integer not null default 0;
