-- Operating it: queues that stand still, who works, and what came and went lately.

-- Destinations for which nothing new starts.
create table queue_pause (
    destination text not null primary key,
    who         text not null,
    reason      text not null,
    since_us    integer not null,
    -- when it goes on by itself; null: when somebody says so
    until_us    integer
) strict, without rowid;

-- Processes that run tasks, and when each was last heard of.
create table worker (
    id         blob not null primary key,
    version    text not null,
    pid        integer not null,
    started_us integer not null,
    beat_us    integer not null
) strict, without rowid;

-- What came and went, in slots of ten seconds: counts and the buckets of latencies, kept in the
-- transactions that change them, for about an hour.
create table flow (
    daemon    text not null,
    -- the slot: seconds since 1970, divided by ten
    at        integer not null,
    dimension text not null check (dimension in ('source', 'workflow', 'dest')),
    of        text not null,
    name      text not null,
    value     integer not null,
    primary key (daemon, at, dimension, of, name)
) strict, without rowid;

-- How many tasks each workflow ever called for.
insert into counter (daemon, name, of, value)
    select '', 'routed', workflow, count(*) from task group by workflow;
