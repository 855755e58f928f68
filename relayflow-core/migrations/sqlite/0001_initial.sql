-- What RelayFlow keeps. Ids are the sixteen bytes of a UUIDv7, so rows lie in the order of their age;
-- moments are microseconds since 1970; JSON is text.

create table meta (
    name  text not null primary key,
    value text not null
) strict, without rowid;

-- The exact bytes of requests, apart from everything else: updates never touch them, scans never
-- read them.
create table body (
    id    integer primary key,
    bytes blob not null
) strict;

create table request (
    id             blob not null primary key,
    source         text not null,
    provider       text not null,
    method         text not null,
    -- path and query; parameters that carry a token are digests
    target         text not null,
    -- the kept ones, as [[name, value], …]
    headers        text not null,
    body_id        integer not null,
    body_bytes     integer not null,
    -- null: the request's own id, so that the common request needs no entry in the index below
    correlation_id text,
    received_us    integer not null,
    status         text not null
        check (status in ('accepted', 'duplicate', 'dead', 'discarded', 'rejected')),
    -- how many events of it were taken in, and the first of them; the others are in event_request
    events         integer not null,
    first_event_id blob,
    scheme         text,
    skew_ms        integer,
    reason         text,
    detail         text,
    ended_us       integer
) strict, without rowid;

create index request_correlation on request (correlation_id) where correlation_id is not null;
create index request_rejected on request (source, id) where status = 'rejected';
create index request_dead on request (ended_us, id) where status in ('dead', 'discarded');

create table event (
    id             blob not null primary key,
    request_id     blob not null,
    place          integer not null,
    source         text not null,
    provider       text not null,
    type           text not null,
    kind           text,
    external_id    text not null,
    id_is_derived  integer not null,
    subject        text,
    occurred_us    integer not null,
    received_us    integer not null,
    -- null: that of a request without one, which is the request's id
    correlation_id text,
    attributes     text not null,
    -- the bytes of the request's body that are its payload, or …
    payload_from   integer,
    payload_to     integer,
    -- … the JSON that stands for a body that is not JSON
    payload        text,
    contract       text not null,
    duplicates     integer not null default 0,
    -- the highest attempt of any of its tasks
    attempts       integer not null default 0,
    -- its tasks by status, kept in the transactions that change them
    queued         integer not null default 0 check (queued >= 0),
    running        integer not null default 0 check (running >= 0),
    retrying       integer not null default 0 check (retrying >= 0),
    ok             integer not null default 0 check (ok >= 0),
    dead           integer not null default 0 check (dead >= 0),
    discarded      integer not null default 0 check (discarded >= 0),
    skipped        integer not null default 0 check (skipped >= 0),
    -- the event's status follows from them (guarantees: States)
    status         text generated always as (
        case when dead > 0 then 'dead' when retrying > 0 then 'retrying'
             when running > 0 then 'running' when queued > 0 then 'queued'
             when ok > 0 then 'ok' when discarded > 0 then 'discarded' else 'skipped' end) virtual
) strict, without rowid;

create index event_request on event (request_id, place) where place > 0;
create index event_correlation on event (correlation_id) where correlation_id is not null;

-- What makes two events the same. They outlive the events that they name.
create table event_key (
    source      text not null,
    provider    text not null,
    type        text not null,
    external_id text not null,
    event_id    blob not null,
    first_us    integer not null,
    primary key (source, provider, type, external_id)
) strict, without rowid;

-- Where the vendor does not sign its id: what it did sign. The same under another id is a duplicate.
create table event_digest (
    source   text not null,
    type     text not null,
    digest   blob not null,
    event_id blob not null,
    first_us integer not null,
    primary key (source, type, digest)
) strict, without rowid;

create table task (
    id              blob not null primary key,
    event_id        blob not null,
    workflow        text not null,
    step            text not null,
    destination     text not null,
    status          text not null check (status in
        ('queued', 'running', 'retrying', 'ok', 'dead', 'discarded', 'skipped')),
    -- counted from 1; it only grows, so it is also the fence
    attempt         integer not null,
    failures        integer not null,
    lost_starts     integer not null default 0,
    -- 1: the attempt before was lost, so this one's start is written down first
    start_on_record integer not null default 0,
    -- how many of the steps in need_names are not ok yet
    needs           integer not null,
    need_names      text,
    -- 1: it died of its workflow's `when`, which is asked again
    check_when      integer not null default 0,
    created_us      integer not null,
    -- from when give_up_after counts
    since_us        integer not null,
    due_us          integer not null,
    worker          blob,
    lease_until_us  integer,
    ended_us        integer,
    reason          text,
    error           text,
    error_id        text,
    http_status     integer,
    -- an operator's reason to discard it as soon as it stops running
    discard         text,
    check ((status = 'running') = (worker is not null)),
    check ((worker is null) = (lease_until_us is null)),
    check ((status in ('ok', 'dead', 'discarded', 'skipped')) = (ended_us is not null))
) strict, without rowid;

-- The record of the effect: one event, one step, one task.
create unique index task_effect on task (event_id, workflow, step);
create index task_due on task (destination, due_us, id)
    where status in ('queued', 'retrying') and needs = 0;
create index task_lease on task (lease_until_us) where status = 'running';
create index task_dead on task (ended_us, id) where status = 'dead';
create index task_dead_error on task (error_id, ended_us) where status = 'dead';

create table attempt (
    task_id     blob not null,
    attempt     integer not null,
    status      text not null
        check (status in ('running', 'ok', 'failed', 'rejected', 'interrupted', 'lost')),
    worker      blob,
    started_us  integer not null,
    ended_us    integer,
    http_status integer,
    error       text,
    response    text,
    primary key (task_id, attempt)
) strict, without rowid;

-- What happened, in order. A row holds what was written down together (docs/decisions/0006).
create table timeline (
    seq        integer primary key,
    at_us      integer not null,
    what       text not null,
    request_id blob,
    event_id   blob,
    task_id    blob,
    replay_id  blob,
    attempt    integer,
    detail     text
) strict;

create index timeline_event on timeline (event_id) where event_id is not null;
create index timeline_request on timeline (request_id)
    where event_id is null and request_id is not null;
create index timeline_replay on timeline (replay_id) where replay_id is not null;

-- Sums, kept in the transactions that change them; each daemon has rows of its own.
create table counter (
    daemon text not null,
    name   text not null,
    of     text not null,
    value  integer not null,
    primary key (daemon, name, of)
) strict, without rowid;

create table plan (
    id         blob not null primary key,
    action     text not null check (action in ('replay', 'discard')),
    mode       text not null,
    q          text,
    hash       text not null,
    who        text not null,
    created_us integer not null,
    expires_us integer not null,
    used_us    integer,
    -- what it would do, as it was said: JSON
    summary    text not null
) strict, without rowid;

create table plan_item (
    plan_id     blob not null,
    place       integer not null,
    -- a task's or a request's id
    item        blob not null,
    is_request  integer not null,
    status      text not null,
    attempt     integer not null,
    would       text not null,
    destination text,
    event_id    blob,
    primary key (plan_id, place)
) strict, without rowid;

create table replay (
    id         blob not null primary key,
    plan_id    blob not null unique,
    action     text not null,
    mode       text not null,
    q          text,
    who        text not null,
    reason     text,
    created_us integer not null,
    ended_us   integer,
    status     text not null check (status in ('running', 'paused', 'done', 'cancelled')),
    detail     text,
    rate       real,
    -- the place of the last item that was moved or passed over
    cursor     integer not null,
    total      integer not null,
    check ((status in ('done', 'cancelled')) = (ended_us is not null))
) strict, without rowid;

create index replay_open on replay (id) where status in ('running', 'paused');

create table replay_item (
    replay_id blob not null,
    place     integer not null,
    item      blob not null,
    is_request integer not null,
    state     text not null check (state in ('moved', 'ended', 'skipped', 'cancelled')),
    -- for an ended item its status, for a skipped one why
    verdict   text,
    -- the task's attempt when it was moved: what it ends as is the end of a later one
    attempt   integer not null,
    primary key (replay_id, place)
) strict, without rowid;

create index replay_item_moved on replay_item (replay_id, place) where state = 'moved';
create index replay_item_of on replay_item (item) where state = 'moved';
