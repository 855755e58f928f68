-- Contracts and drift (docs/concepts/contracts-and-drift.md).

-- What one source's events of one type are expected to look like: JSON Schema. Versions are only
-- ever added; the highest holds.
create table contract (
    source     text not null,
    type       text not null,
    version    integer not null,
    origin     text not null check (origin in ('learned', 'accepted', 'written')),
    schema     text not null,
    created_us integer not null,
    who        text,
    reason     text,
    primary key (source, type, version)
) strict, without rowid;

-- How many events of a source and type were looked at, and what is being learned of them. The row
-- of the empty type is about the source: its types, its requests' headers.
create table watched (
    source   text not null,
    type     text not null,
    provider text not null,
    events   integer not null,
    first_us integer not null,
    last_us  integer not null,
    learning text,
    primary key (source, type)
) strict, without rowid;

-- A difference between what is expected and what came. Names of fields, types and words of
-- vocabularies; no values.
create table drift (
    id             blob not null primary key,
    source         text not null,
    provider       text not null,
    type           text not null,
    change         text not null,
    path           text not null,
    -- what is there now, where that tells two differences at one place apart; else empty
    value          text not null,
    grade          text not null check (grade in ('additive', 'breaking')),
    was            text not null,
    "is"           text not null,
    hint           text,
    -- what an added field looks like: JSON Schema
    shape          text,
    events         integer not null,
    -- how many events had been looked at before the first that differed
    watched_before integer not null,
    first_us       integer not null,
    last_us        integer not null,
    -- ids of the first events that differ: JSON
    examples       text not null,
    status         text not null check (status in ('open', 'accepted')),
    ended_us       integer,
    who            text,
    reason         text,
    -- the contract's version that has it
    version        integer,
    check ((status = 'accepted') = (ended_us is not null))
) strict, without rowid;

create unique index drift_same on drift (source, type, change, path, value);

-- The worst that was found about an event.
alter table event add column drift text check (drift in ('additive', 'breaking'));
create index event_drift on event (id) where drift is not null;
