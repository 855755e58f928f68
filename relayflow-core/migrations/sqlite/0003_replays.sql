-- Replays that restart and reroute, with canary, stop-after, order and late rules; and readings of an
-- event other than its first: with another configuration, or of a payload that somebody mended.

alter table plan add column order_by text not null default 'none';
-- what becomes of items with a later event already done
alter table plan add column late integer not null default 0;

-- 1: a replay brings it back to execution
alter table plan_item add column moves integer not null default 1;
-- why it is skipped or blocked
alter table plan_item add column why text;
-- 1: a later event of its subject has that step ok already
alter table plan_item add column late integer not null default 0;
-- with order received: of those with the same key, one at a time
alter table plan_item add column order_key text;
-- of a task that does not exist yet
alter table plan_item add column workflow text;
alter table plan_item add column step text;
alter table plan_item add column need_names text;
-- the revision of its event as of which the task reads it
alter table plan_item add column revision integer not null default 0;

update plan_item set moves = 0 where would not like 'run%';
create index plan_item_key on plan_item (plan_id, order_key, place) where order_key is not null;

-- How an event of a plan reads today, where that is not how it was read.
create table plan_reading (
    plan_id     blob not null,
    event_id    blob not null,
    type        text not null,
    kind        text,
    subject     text,
    occurred_us integer not null,
    attributes  text not null,
    contract    text not null,
    primary key (plan_id, event_id)
) strict, without rowid;

alter table replay add column order_by text not null default 'none';
alter table replay add column late text not null default 'apply';
alter table replay add column concurrency integer;
alter table replay add column canary integer;
-- what follows a canary that went well: go or ask
alter table replay add column after_canary text not null default 'go';
alter table replay add column canary_is_over integer not null default 0;
-- it pauses itself when so many more than `forgiven` have failed
alter table replay add column stop_after integer;
alter table replay add column forgiven integer not null default 0;
-- items brought back to execution, and those of them that died or were discarded
alter table replay add column moved integer not null default 0;
alter table replay add column failed integer not null default 0;
-- operator, canary, canary_failed or stop_after
alter table replay add column paused_by text;

-- A task reads its event as of this revision; 0: as it came in.
alter table task add column revision integer not null default 0;
-- 1: it runs for a replay, so live work goes first
alter table task add column is_replay integer not null default 0;

-- Readings of events after the first. The event and its request stay as they are.
create table revision (
    event_id    blob not null,
    number      integer not null,
    at_us       integer not null,
    who         text not null,
    reason      text,
    -- the plan that wanted it; null: somebody edited the payload
    plan_id     blob,
    type        text not null,
    kind        text,
    subject     text,
    occurred_us integer not null,
    attributes  text not null,
    contract    text not null,
    -- null: the payload as it came in
    payload     text,
    primary key (event_id, number)
) strict, without rowid;
