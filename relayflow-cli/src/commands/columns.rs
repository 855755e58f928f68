//! What each list shows: one column a line, in order. The last figure is its rank: what is dropped
//! first where there is no room (0: never).

use relayflow_core::api::{
    Cause, Check, Contract, DeadLetter, DeadLetterGroup, Drift, Event, Mend, Provider, Queue,
    ReconcileItem, Replay, Request, Source, StatsRow, Violation, Worker, Workflow,
};

use super::list::Listed;
use super::queue::drain_text;
use crate::output::table::{Column, Datum};

/// A column in every table.
const fn col<T>(
    field: &'static str,
    name: &'static str,
    rank: u8,
    get: fn(&T) -> Datum,
) -> Column<T> {
    Column { field, name, rank, wide: false, get }
}

/// A column only in `wide`, csv, and where asked for.
const fn wide<T>(field: &'static str, name: &'static str, get: fn(&T) -> Datum) -> Column<T> {
    Column { field, name, rank: 9, wide: true, get }
}

fn text(text: &str) -> Datum {
    Datum::Text(text.to_owned())
}

fn id(text: &str) -> Datum {
    Datum::Id(text.to_owned())
}

impl Listed for Event {
    const COLUMNS: &'static [Column<Self>] = &[
        col("id", "ID", 0, |e| id(&e.id)),
        col("received_at", "RECEIVED", 1, |e| Datum::Moment(e.received_at.clone())),
        col("source", "SOURCE", 2, |e| text(&e.source)),
        wide("provider", "PROVIDER", |e| text(&e.provider)),
        col("type", "TYPE", 0, |e| text(&e.event_type)),
        wide("kind", "KIND", |e| Datum::text(&e.kind)),
        wide("external_id", "EXTERNAL", |e| text(&e.external_id)),
        wide("subject", "SUBJECT", |e| Datum::text(&e.subject)),
        col("status", "STATUS", 0, |e| Datum::Status(e.status.clone())),
        col("tasks", "TASKS", 4, |e| {
            let t = &e.tasks;
            let all = [t.queued, t.running, t.retrying, t.ok, t.dead, t.discarded, t.skipped];
            Datum::Share(t.ok, all.iter().sum())
        }),
        col("attempts", "ATT", 5, |e| Datum::Count(e.attempts)),
        wide("duplicates", "DUP", |e| Datum::Count(e.duplicates)),
        wide("correlation_id", "CORR", |e| id(&e.correlation_id)),
        wide("request_id", "REQUEST", |e| id(&e.request_id)),
        wide("occurred_at", "OCCURRED", |e| Datum::Moment(e.occurred_at.clone())),
        wide("contract", "CONTRACT", |e| text(&e.contract)),
        col("error", "ERROR", 3, |e| Datum::text(&e.error)),
    ];

    fn name(&self) -> &str {
        &self.id
    }
}

impl Listed for ReconcileItem {
    const COLUMNS: &'static [Column<Self>] = &[
        col("external_id", "ID", 0, |i| id(&i.external_id)),
        col("type", "TYPE", 0, |i| text(&i.event_type)),
        col("occurred_at", "WHEN", 1, |i| Datum::Moment(i.occurred_at.clone())),
        col("delivery", "VENDOR SAYS", 2, |i| Datum::text(&i.delivery)),
        col("state", "STATE", 0, |i| text(&i.state)),
        col("verdict", "VERDICT", 0, |i| Datum::text(&i.verdict)),
        col("request_id", "REQUEST", 3, |i| Datum::id(&i.request_id)),
        wide("event_id", "EVENT", |i| Datum::id(&i.event_id)),
        wide("place", "PLACE", |i| Datum::Count(i.place)),
        col("why", "WHY", 1, |i| Datum::text(&i.why)),
    ];

    fn name(&self) -> &str {
        &self.external_id
    }
}

impl Listed for Request {
    const COLUMNS: &'static [Column<Self>] = &[
        col("id", "ID", 0, |r| id(&r.id)),
        col("received_at", "RECEIVED", 1, |r| Datum::Moment(r.received_at.clone())),
        col("source", "SOURCE", 2, |r| text(&r.source)),
        wide("provider", "PROVIDER", |r| text(&r.provider)),
        wide("method", "METHOD", |r| text(&r.method)),
        wide("target", "TARGET", |r| text(&r.target)),
        col("status", "STATUS", 0, |r| Datum::Status(r.status.clone())),
        col("events", "EVENTS", 4, |r| Datum::Count(r.events)),
        col("body_bytes", "BYTES", 5, |r| Datum::Count(r.body_bytes)),
        wide("correlation_id", "CORR", |r| id(&r.correlation_id)),
        col("reason", "REASON", 0, |r| Datum::text(&r.reason)),
        col("detail", "DETAIL", 3, |r| Datum::text(&r.detail)),
    ];

    fn name(&self) -> &str {
        &self.id
    }
}

impl Listed for Cause {
    const COLUMNS: &'static [Column<Self>] = &[
        col("cause", "CAUSE", 0, |c| id(&c.cause)),
        col("confidence", "CONFIDENCE", 0, |c| text(&c.confidence)),
        col("says", "SAYS", 0, |c| text(&c.says)),
        wide("evidence", "EVIDENCE", |c| Datum::Text(c.evidence.join("; "))),
        wide("mend", "MEND", |c| {
            let told = |mend: &Mend| format!("{}: {}", mend.at, mend.text);
            Datum::Text(c.mend.iter().map(told).collect::<Vec<_>>().join("; "))
        }),
    ];

    fn name(&self) -> &str {
        &self.cause
    }
}

impl Listed for DeadLetter {
    const COLUMNS: &'static [Column<Self>] = &[
        col("id", "ID", 0, |d| id(&d.id)),
        col("died_at", "DIED", 1, |d| Datum::Moment(d.died_at.clone())),
        wide("received_at", "RECEIVED", |d| Datum::Moment(d.received_at.clone())),
        col("source", "SOURCE", 5, |d| text(&d.source)),
        wide("provider", "PROVIDER", |d| text(&d.provider)),
        col("type", "TYPE", 4, |d| Datum::text(&d.event_type)),
        col("workflow", "WORKFLOW", 3, |d| Datum::text(&d.workflow)),
        col("step", "STEP", 3, |d| Datum::text(&d.step)),
        wide("destination", "DESTINATION", |d| Datum::text(&d.destination)),
        wide("status", "STATUS", |d| Datum::Status(d.status.clone())),
        col("reason", "REASON", 0, |d| text(&d.reason)),
        col("attempts", "ATT", 6, |d| Datum::Count(d.attempts)),
        wide("http_status", "HTTP", |d| d.http_status.map_or(Datum::Nothing, Datum::Count)),
        wide("event_id", "EVENT", |d| Datum::id(&d.event_id)),
        wide("request_id", "REQUEST", |d| id(&d.request_id)),
        wide("correlation_id", "CORR", |d| id(&d.correlation_id)),
        col("error_id", "ERROR ID", 2, |d| Datum::id(&d.error_id)),
        col("error", "ERROR", 1, |d| Datum::text(&d.error)),
    ];

    fn name(&self) -> &str {
        &self.id
    }
}

impl Listed for DeadLetterGroup {
    const IS_WHOLE: bool = true;
    const COLUMNS: &'static [Column<Self>] = &[
        col("value", "VALUE", 0, |g| id(&g.value)),
        col("count", "COUNT", 0, |g| Datum::Count(i64::try_from(g.count).unwrap_or(i64::MAX))),
        col("first_at", "FIRST", 2, |g| Datum::Moment(g.first_at.clone())),
        col("last_at", "LAST", 1, |g| Datum::Moment(g.last_at.clone())),
        col("title", "WHAT", 0, |g| Datum::text(&g.title)),
        col("example", "EXAMPLE", 3, |g| id(&g.example)),
    ];

    fn name(&self) -> &str {
        &self.value
    }
}

impl Listed for Replay {
    const COLUMNS: &'static [Column<Self>] = &[
        col("id", "ID", 0, |r| id(&r.id)),
        col("created_at", "CREATED", 1, |r| Datum::Moment(r.created_at.clone())),
        col("status", "STATUS", 0, |r| Datum::Status(r.status.clone())),
        wide("action", "ACTION", |r| text(&r.action)),
        col("mode", "MODE", 6, |r| text(&r.mode)),
        col("total", "ITEMS", 2, |r| count(r.items.total)),
        col("ok", "OK", 0, |r| count(r.items.ok)),
        col("dead", "DEAD", 0, |r| count(r.items.dead)),
        col("skipped", "SKIP", 3, |r| count(r.items.skipped)),
        wide("discarded", "DISCARDED", |r| count(r.items.discarded)),
        wide("cancelled", "CANCELLED", |r| count(r.items.cancelled)),
        col("who", "BY", 4, |r| text(&r.who)),
        wide("plan", "PLAN", |r| id(&r.plan)),
        wide("ended_at", "ENDED", |r| Datum::moment(&r.ended_at)),
        wide("detail", "DETAIL", |r| Datum::text(&r.detail)),
        col("reason", "REASON", 3, |r| Datum::text(&r.reason)),
        col("q", "FILTER", 5, |r| Datum::text(&r.q)),
    ];

    fn name(&self) -> &str {
        &self.id
    }
}

fn count(number: u64) -> Datum {
    Datum::Count(i64::try_from(number).unwrap_or(i64::MAX))
}

impl Listed for Queue {
    const IS_WHOLE: bool = true;
    const COLUMNS: &'static [Column<Self>] = &[
        col("name", "QUEUE", 0, |q| id(&q.name)),
        col("depth", "DEPTH", 0, |q| Datum::Count(q.depth)),
        col("oldest_queued_seconds", "OLDEST", 1, |q| {
            q.oldest_queued_seconds.map_or(Datum::Nothing, Datum::Amount)
        }),
        col("running", "RUNNING", 2, |q| Datum::Count(q.running)),
        col("in_per_second", "IN/s", 6, |q| Datum::Rate(q.in_per_second)),
        col("out_per_second", "OUT/s", 4, |q| Datum::Rate(q.out_per_second)),
        col("retry_ratio", "RETRY%", 3, |q| q.retry_ratio.map_or(Datum::Nothing, Datum::Percent)),
        col("dead", "DEAD", 2, |q| Datum::Count(q.dead)),
        col("drain_seconds", "DRAIN IN", 5, |q| match drain_text(q).as_str() {
            "–" => Datum::Nothing,
            text => Datum::Word(text.to_owned()),
        }),
        wide("retrying", "RETRYING", |q| Datum::Count(q.retrying)),
        wide("concurrency", "MAX", |q| Datum::Count(i64::from(q.concurrency))),
        wide("breaker", "BREAKER", |q| Datum::text(&q.breaker)),
        col("state", "STATE", 0, state),
    ];

    fn name(&self) -> &str {
        &self.name
    }
}

fn state(queue: &Queue) -> Datum {
    let Some(pause) = &queue.pause else {
        let more = if queue.breaker.as_deref() == Some("half_open") { "breaker half" } else { "" };
        return Datum::State { word: queue.state.clone(), until: None, more: more.to_owned() };
    };
    let until = match &pause.until {
        Some(until) => (format!("by {} until", pause.who), Some(until.clone())),
        None => (format!("by {} until it is resumed", pause.who), None),
    };
    let more = format!("\"{}\"", pause.reason);
    Datum::State { word: "paused".to_owned(), until: Some(until), more }
}

impl Listed for Worker {
    const IS_WHOLE: bool = true;
    const COLUMNS: &'static [Column<Self>] = &[
        col("id", "WORKER", 0, |w| id(&w.id)),
        col("state", "STATE", 0, |w| Datum::Status(w.state.clone())),
        col("heartbeat_seconds", "BEAT", 0, |w| Datum::Amount(w.heartbeat_seconds)),
        col("running", "RUNNING", 1, |w| Datum::Count(w.running)),
        col("leases", "LEASES", 1, |w| Datum::Count(w.leases)),
        wide("ended_leases", "STUCK", |w| Datum::Count(w.ended_leases)),
        col("started_at", "STARTED", 3, |w| Datum::Moment(w.started_at.clone())),
        col("version", "VERSION", 2, |w| text(&w.version)),
        wide("pid", "PID", |w| Datum::Count(w.pid)),
    ];

    fn name(&self) -> &str {
        &self.id
    }
}

impl Listed for StatsRow {
    const IS_WHOLE: bool = true;
    const COLUMNS: &'static [Column<Self>] = &[
        col("name", "NAME", 0, |r| id(&r.name)),
        col("received", "RECEIVED", 1, |r| Datum::Count(r.received)),
        col("rejected", "REJECTED", 4, |r| Datum::Count(r.rejected)),
        col("duplicates", "DUP", 5, |r| Datum::Count(r.duplicates)),
        col("ok", "OK", 0, |r| Datum::Count(r.ok)),
        col("retries", "RETRIES", 3, |r| Datum::Count(r.retries)),
        col("dead", "DEAD", 0, |r| Datum::Count(r.dead)),
        wide("attempts", "ATTEMPTS", |r| Datum::Count(r.attempts)),
        wide("ack.p50_ms", "ACK P50", |r| millis(r.ack.p50_ms)),
        wide("ack.p95_ms", "ACK P95", |r| millis(r.ack.p95_ms)),
        col("ack.p99_ms", "ACK P99", 6, |r| millis(r.ack.p99_ms)),
        col("end_to_end.p50_ms", "E2E P50", 2, |r| millis(r.end_to_end.p50_ms)),
        wide("end_to_end.p95_ms", "E2E P95", |r| millis(r.end_to_end.p95_ms)),
        col("end_to_end.p99_ms", "E2E P99", 2, |r| millis(r.end_to_end.p99_ms)),
        col("series.received", "RECEIVED, TO NOW", 7, |r| Datum::Bars(r.series.received.clone())),
    ];

    fn name(&self) -> &str {
        &self.name
    }
}

fn millis(ms: Option<f64>) -> Datum {
    ms.map_or(Datum::Nothing, Datum::Millis)
}

impl Listed for Check {
    const COLUMNS: &'static [Column<Self>] = &[
        col("level", "LEVEL", 0, |c| Datum::Status(c.level.clone())),
        col("about", "ABOUT", 0, |c| text(&c.about)),
        wide("code", "CODE", |c| text(&c.code)),
        col("text", "WHAT", 0, |c| text(&c.text)),
        col("fix", "FIX", 1, |c| Datum::text(&c.fix)),
    ];

    fn name(&self) -> &str {
        &self.code
    }
}

impl Listed for Source {
    const IS_WHOLE: bool = true;
    const COLUMNS: &'static [Column<Self>] = &[
        col("name", "SOURCE", 0, |s| id(&s.name)),
        col("provider", "PROVIDER", 1, |s| text(&s.provider)),
        col("provider_status", "DEFINITION", 2, |s| text(&s.provider_status)),
        col("scheme", "SCHEME", 2, |s| text(&s.scheme)),
        col("tolerance", "TOLERANCE", 3, |s| text(&s.tolerance)),
        col("secrets", "SECRETS", 4, |s| text(&s.secrets.join(" "))),
        col("url", "URL", 0, |s| id(&s.url)),
    ];

    fn name(&self) -> &str {
        &self.name
    }
}

impl Listed for Workflow {
    const IS_WHOLE: bool = true;
    const COLUMNS: &'static [Column<Self>] = &[
        col("name", "WORKFLOW", 0, |w| id(&w.name)),
        col("on", "ON", 0, |w| text(&w.on.join(" "))),
        col("when", "WHEN", 2, |w| Datum::text(&w.when)),
        col("steps", "STEPS", 1, |w| {
            let steps: Vec<_> =
                w.steps.iter().map(|s| format!("{} → {}", s.name, s.destination)).collect();
            text(&steps.join(", "))
        }),
    ];

    fn name(&self) -> &str {
        &self.name
    }
}

impl Listed for Provider {
    const IS_WHOLE: bool = true;
    const COLUMNS: &'static [Column<Self>] = &[
        col("name", "PROVIDER", 0, |p| id(&p.name)),
        col("title", "TITLE", 2, |p| text(&p.title)),
        col("category", "CATEGORY", 4, |p| text(&p.category)),
        col("scheme", "SCHEME", 1, |p| text(&p.scheme)),
        col("types", "MAPPED", 3, |p| {
            let mapped = p.types.iter().filter(|t| t.kind.is_some()).count();
            count(u64::try_from(mapped).unwrap_or(u64::MAX))
        }),
        col("contract", "CONTRACT", 4, |p| text(&p.contract)),
        col("built_in", "FROM", 5, |p| text(if p.built_in { "built in" } else { "own" })),
        col("status", "STATUS", 1, |p| text(&p.status)),
    ];

    fn name(&self) -> &str {
        &self.name
    }
}

impl Listed for Drift {
    const COLUMNS: &'static [Column<Self>] = &[
        col("id", "ID", 0, |d| id(&d.id)),
        col("last_at", "LAST", 4, |d| Datum::Moment(d.last_at.clone())),
        wide("first_at", "FIRST", |d| Datum::Moment(d.first_at.clone())),
        col("source", "SOURCE", 3, |d| text(&d.source)),
        wide("provider", "PROVIDER", |d| text(&d.provider)),
        col("type", "TYPE", 5, |d| Datum::text(&d.event_type)),
        col("grade", "GRADE", 1, |d| text(&d.grade)),
        col("change", "CHANGE", 0, |d| text(&d.change)),
        col("path", "FIELD", 0, |d| text(&d.path)),
        col("was", "WAS", 7, |d| text(&d.was)),
        col("is", "IS", 7, |d| text(&d.is)),
        wide("hint", "HINT", |d| Datum::text(&d.hint)),
        col("events", "EVENTS", 6, |d| Datum::Count(d.events)),
        wide("share", "SHARE", |d| match d.share {
            Some(share) => Datum::Text(format!("{share:.3}")),
            None => Datum::Nothing,
        }),
        wide("read_by", "READ BY", |d| text(&d.read_by.join("; "))),
        wide("status", "STATUS", |d| Datum::Status(d.status.clone())),
        wide("version", "VERSION", |d| d.version.map_or(Datum::Nothing, Datum::Count)),
    ];

    fn name(&self) -> &str {
        &self.id
    }
}

impl Listed for Contract {
    const IS_WHOLE: bool = true;
    const COLUMNS: &'static [Column<Self>] = &[
        col("source", "SOURCE", 0, |c| Datum::text(&c.source)),
        col("provider", "PROVIDER", 1, |c| text(&c.provider)),
        col("type", "TYPE", 0, |c| text(&c.event_type)),
        col("version", "VERSION", 2, |c| c.version.map_or(Datum::Nothing, Datum::Count)),
        col("origin", "ORIGIN", 0, |c| text(&c.origin)),
        col("fields", "FIELDS", 3, |c| Datum::Count(i64::try_from(c.fields).unwrap_or(i64::MAX))),
        col("events", "EVENTS", 4, |c| Datum::Count(c.events)),
        col("created_at", "SINCE", 5, |c| Datum::moment(&c.created_at)),
        wide("created_by", "BY", |c| Datum::text(&c.created_by)),
        wide("reason", "REASON", |c| Datum::text(&c.reason)),
    ];

    fn name(&self) -> &str {
        &self.event_type
    }
}

impl Listed for Violation {
    const COLUMNS: &'static [Column<Self>] = &[
        // A file's name or an id: what the rest is about.
        col("at", "AT", 0, |v| text(&v.at)),
        wide("provider", "PROVIDER", |v| text(&v.provider)),
        col("type", "TYPE", 3, |v| text(&v.event_type)),
        col("grade", "GRADE", 1, |v| text(&v.grade)),
        col("change", "CHANGE", 0, |v| text(&v.change)),
        col("path", "FIELD", 0, |v| text(&v.path)),
        col("was", "WAS", 2, |v| text(&v.was)),
        col("is", "IS", 2, |v| text(&v.is)),
        col("hint", "HINT", 4, |v| Datum::text(&v.hint)),
        col("events", "EVENTS", 5, |v| Datum::Count(i64::try_from(v.events).unwrap_or(i64::MAX))),
    ];

    fn name(&self) -> &str {
        &self.at
    }
}
