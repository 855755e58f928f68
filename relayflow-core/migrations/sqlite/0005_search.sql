-- What lists are searched by. Rows of an index over few values lie at few ends, so that a new event is
-- written beside the last; what nearly no row has is in partial ones. Ids lie in the order of time, so
-- each answers the newest first.

create index event_what on event (source, provider, type, kind);

-- By status, but for the two that every event has or had, and for what is dead.
create index event_state on event (status) where status <> 'ok' and status <> 'running';
-- What is dead, with what else is asked of it: no event need be looked at. (An index over `status`, which
-- is generated, would not do.)
create index event_dead on event (id, source, provider, type, kind, dead) where dead > 0;

-- Events with their vendor's id are found by event_key; of those without, it has the last alone.
create index event_derived on event (external_id) where id_is_derived = 1;

-- Events read long after they were received: their ids say when they were read.
create index event_late on event (id)
    where hex(substr(id, 1, 6)) > printf('%012X', received_us / 1000 + 60000);

create index task_what on task (workflow, step, destination, event_id);
create index task_error on task (error_id, event_id) where error_id is not null;
create index task_http on task (http_status, event_id)
    where http_status is not null and http_status <> 200;
create index task_reason on task (reason, event_id) where reason is not null;

-- The dead letters in the order in which they died, with what they are grouped by.
drop index task_dead;
create index task_given_up on task (ended_us, id, status, workflow, step, destination, reason,
    error_id, http_status, event_id) where status in ('dead', 'discarded');

create index request_late on request (id)
    where hex(substr(id, 1, 6)) > printf('%012X', received_us / 1000 + 60000);
