//! What is wrong, and the command that mends it: what the store alone can say, and what follows from
//! the configuration in force. A daemon adds what only it knows, the CLI what only it sees.

use std::time::Duration;

use super::{ViewError, operate};
use crate::api::{Check, DoctorReport, Queue, V, Worker};
use crate::event::micros;
use crate::in_force::InForce;
use crate::store::{By, Counters, Flow, Health, Store, Turned};
use crate::workflow::{On, Workflow};

/// What the shares of rejected requests look back over.
const SOURCE_SECONDS: i64 = 900;
/// Rejected in so many of a hundred requests: a source that does not work; and one to look at.
const REJECTED_FAIL: i64 = 50;
const REJECTED_WARN: i64 = 2;
/// What waits for longer than this although nothing holds it up is stuck.
const STUCK_SECONDS: f64 = 60.0;
/// With less time than this until the disk is full, it is time to act.
const DAYS_LEFT_WARN: f64 = 14.0;
/// Before this, a store is too young to say how fast it grows.
const GROWTH_SECONDS: f64 = 3600.0;
/// As many of a kind are told one by one.
const TOLD_MAX: usize = 20;

/// A check that went well.
#[must_use]
pub fn ok(about: &str, text: impl Into<String>) -> Check {
    check("ok", about, about, text, None)
}

/// What should be looked at. Its code is `about` and a word of its own.
#[must_use]
pub fn warn(code: &str, text: impl Into<String>, fix: Option<String>) -> Check {
    check("warn", about_of(code), code, text, fix)
}

/// What does not work.
#[must_use]
pub fn fail(code: &str, text: impl Into<String>, fix: Option<String>) -> Check {
    check("fail", about_of(code), code, text, fix)
}

fn about_of(code: &str) -> &str {
    code.split('.').next().unwrap_or(code)
}

fn check(
    level: &str,
    about: &str,
    code: &str,
    text: impl Into<String>,
    fix: Option<String>,
) -> Check {
    Check {
        level: level.to_owned(),
        about: about.to_owned(),
        code: code.to_owned(),
        text: text.into(),
        fix,
    }
}

/// All that was found, as one document.
#[must_use]
pub fn report(at: jiff::Timestamp, version: &str, checks: Vec<Check>) -> DoctorReport {
    let count = |level: &str| {
        u32::try_from(checks.iter().filter(|check| check.level == level).count()).unwrap_or(0)
    };
    DoctorReport {
        v: V,
        object: "doctor_report".to_owned(),
        at: micros(at),
        version: version.to_owned(),
        problems: count("fail"),
        warnings: count("warn"),
        checks,
    }
}

/// Everything that a store says by itself. `is_daemon`: the process that works on it asks.
pub async fn of_store(
    store: &Store,
    queues: Option<Vec<Queue>>,
    is_daemon: bool,
) -> Result<Vec<Check>, ViewError> {
    let now = store.clock().now();
    let mut checks = store_checks(&store.health().await?, now, is_daemon);
    let workers = operate::workers(store).await?.items;
    checks.extend(worker_checks(&workers, is_daemon));
    checks.extend(lease_checks(&workers));
    let flow = store.flow(SOURCE_SECONDS, Some(By::Source)).await?;
    for name in flow.names(By::Source) {
        let turned = store.last_rejected(&name).await?;
        checks.push(source_check(&flow, &name, turned.as_ref()));
    }
    let queues = match queues {
        Some(queues) => queues,
        None => operate::queues(store).await?.items,
    };
    let has_worker = workers.iter().any(|worker| worker.state == "live");
    checks.extend(queue_checks(&queues, has_worker));
    Ok(checks)
}

/// What follows from the configuration and from what ever came.
pub async fn of_config(store: &Store, in_force: &InForce) -> Result<Vec<Check>, ViewError> {
    let counters = store.counters().await?;
    let newest = store.newest_event().await?.map(|id| id.to_string());
    let mut checks = Vec::new();
    for workflow in &in_force.workflows.list {
        checks.extend(workflow_check(workflow, in_force, &counters, newest.as_deref()));
    }
    if checks.is_empty() && !in_force.workflows.list.is_empty() {
        let count = things(in_force.workflows.list.len(), "workflow");
        checks.push(ok("workflow", format!("{count}, each of which has matched or may")));
    }
    Ok(checks)
}

fn store_checks(health: &Health, now: jiff::Timestamp, is_daemon: bool) -> Vec<Check> {
    let folder = health.path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let shown = shell(&folder.unwrap_or(std::path::Path::new(".")).display().to_string());
    let mut checks = Vec::new();
    if health.is_too_old {
        let text =
            format!("{} may damage its log: 3.51.3 is the first that does not", health.engine);
        checks.push(fail("store.too_old", text, Some("relayflow version".to_owned())));
    }
    let per_day = growth(health, now);
    let grows = per_day.map(|bytes| format!(", {} a day", size(bytes))).unwrap_or_default();
    let text = format!("{}, {}{grows}", health.engine, size(to_f64(health.bytes)));
    checks.push(ok("store", text));
    let is_read_only = health.disk.is_some_and(|disk| disk.is_read_only);
    if is_read_only || !health.is_writable {
        let why = if is_read_only { "is mounted read only" } else { "may not be written" };
        // Whoever reads a backup need not be able to write it.
        let text = format!("the store's folder {why}");
        let fix = Some(format!("ls -ld {shown}"));
        let code = "disk.unwritable";
        checks.push(if is_daemon { fail(code, text, fix) } else { warn(code, text, fix) });
    }
    if let Some(disk) = health.disk {
        let free = to_f64(disk.free_bytes);
        let text = format!("{} free of {}", size(free), size(to_f64(disk.bytes)));
        let fix = Some(format!("du -xh -d 1 {shown}"));
        let above_reserve = free - to_f64(disk.reserve_bytes);
        let days = per_day.map(|per_day| above_reserve / per_day);
        checks.push(if above_reserve < 0.0 {
            let reserve = size(to_f64(disk.reserve_bytes));
            fail("disk.full", format!("{text}: below {reserve} nothing is taken in"), fix)
        } else if free < 2.0 * to_f64(disk.reserve_bytes) {
            warn("disk.nearly_full", text, fix)
        } else if days.is_some_and(|days| days < DAYS_LEFT_WARN) {
            let days = days.unwrap_or_default();
            let text = format!(
                "the store grows by {} a day: its disk is full in {days:.1} days",
                size(per_day.unwrap_or_default())
            );
            warn("store.growing", text, fix)
        } else {
            ok("disk", text)
        });
    }
    checks
}

/// By how many bytes the store grew each day of its life, where it is old enough to say.
fn growth(health: &Health, now: jiff::Timestamp) -> Option<f64> {
    let age = now.duration_since(health.since?).as_secs_f64();
    (GROWTH_SECONDS <= age).then(|| to_f64(health.bytes) / age * 86_400.0)
}

fn worker_checks(workers: &[Worker], is_daemon: bool) -> Vec<Check> {
    let mut checks = Vec::new();
    for worker in workers.iter().take(TOLD_MAX) {
        let about = format!(
            "{} {} with {}, heard of {} ago",
            worker.id,
            worker.state,
            things(usize::try_from(worker.leases).unwrap_or(0), "lease"),
            amount(worker.heartbeat_seconds)
        );
        checks.push(match worker.state.as_str() {
            "live" => ok("worker", about),
            _ => {
                let fix = if is_daemon { "relayflow workers ls" } else { "relayflow up" };
                fail("worker.silent", about, Some(fix.to_owned()))
            }
        });
    }
    if workers.is_empty() {
        let text = "none has this store open: nothing is executed";
        checks.push(warn("worker.none", text, Some("relayflow up".to_owned())));
    }
    checks
}

fn lease_checks(workers: &[Worker]) -> Vec<Check> {
    let stuck = workers.iter().filter(|worker| 0 < worker.ended_leases);
    let check = |worker: &Worker| {
        let leases = things(usize::try_from(worker.ended_leases).unwrap_or(0), "lease");
        let text = format!("{leases} of {} ended long ago and nobody settles them", worker.id);
        let fix = if worker.state == "live" {
            format!("relayflow workers show {}", worker.id)
        } else {
            "relayflow up".to_owned()
        };
        fail("lease.stuck", text, Some(fix))
    };
    stuck.map(check).collect()
}

fn source_check(flow: &Flow, name: &str, turned: Option<&Turned>) -> Check {
    let of = |what: &str| flow.count(By::Source, Some(name), what);
    let (taken, rejected) = (of("received"), of("rejected"));
    let percent = rejected * 100 / (taken + rejected).max(1);
    if rejected == 0 {
        let count = things(usize::try_from(taken).unwrap_or(0), "request");
        return ok("source", format!("{name}: {count} in 15 minutes, none rejected"));
    }
    let series = flow.series(By::Source, Some(name), "rejected");
    let first = series.iter().position(|count| 0 < *count).unwrap_or(0);
    let slots = u32::try_from(series.len() - first).unwrap_or(0);
    let lasts = f64::from(slots) * std::time::Duration::from_secs(10).as_secs_f64();
    let why = turned.map(|turned| format!(", {}", turned.reason.replace('_', " ")));
    let text = format!(
        "{name}: {percent}% rejected in the last {} ({rejected}){}",
        amount(lasts.min(900.0)),
        why.unwrap_or_default()
    );
    let fix = match turned {
        Some(turned) => format!("relayflow requests explain {}", turned.id),
        None => format!("relayflow requests ls source:{} status:rejected", word(name)),
    };
    if REJECTED_FAIL <= percent {
        fail("source.rejected", text, Some(fix))
    } else if REJECTED_WARN <= percent {
        warn("source.rejected", text, Some(fix))
    } else {
        ok("source", text)
    }
}

fn queue_checks(queues: &[Queue], has_worker: bool) -> Vec<Check> {
    let mut checks: Vec<Check> =
        queues.iter().filter_map(|queue| queue_check(queue, has_worker)).take(TOLD_MAX).collect();
    if checks.is_empty() && !queues.is_empty() {
        let waiting: i64 = queues.iter().map(|queue| queue.depth).sum();
        let count = things(queues.len(), "queue");
        checks.push(ok("queue", format!("{count} open, {waiting} waiting")));
    }
    checks
}

fn queue_check(queue: &Queue, has_worker: bool) -> Option<Check> {
    let name = &queue.name;
    let waiting = format!("{name}: {} waiting", queue.depth);
    let oldest = queue.oldest_queued_seconds.unwrap_or(0.0);
    if let Some(pause) = &queue.pause {
        let until = match &pause.until {
            Some(until) => {
                format!("until {} UTC", until.get(..16).unwrap_or(until).replace('T', " "))
            }
            None => "until it is resumed".to_owned(),
        };
        let text = format!("{waiting}, paused by {} {until} \"{}\"", pause.who, pause.reason);
        let fix = Some(format!("relayflow queue resume {}", shell(name)));
        let is_held = 0 < queue.depth;
        let code = "queue.paused";
        return Some(if is_held { fail(code, text, fix) } else { warn(code, text, fix) });
    }
    if queue.state == "circuit_open" {
        let next = queue.next_probe_seconds.map(|s| format!(", next probe in {}", amount(s)));
        let text =
            format!("{waiting}, its circuit is open: calls fail{}", next.unwrap_or_default());
        let fix = Some(format!("relayflow queue show {}", shell(name)));
        return Some(fail("queue.circuit_open", text, fix));
    }
    if queue.depth <= 0 {
        return None;
    }
    if !has_worker {
        let text = format!("{waiting}, no worker takes it");
        return Some(fail("queue.no_worker", text, Some("relayflow up".to_owned())));
    }
    // Only what is due is old: a retry waits for its time.
    if queue.running == 0 && STUCK_SECONDS < oldest {
        let text = format!("{waiting} for {} and nothing runs", amount(oldest));
        return Some(fail("queue.stuck", text, Some("relayflow workers ls".to_owned())));
    }
    None
}

fn workflow_check(
    workflow: &Workflow,
    in_force: &InForce,
    counters: &Counters,
    newest: Option<&str>,
) -> Option<Check> {
    let name = &workflow.name;
    if let Some(why) = in_vain(workflow, in_force) {
        let text = format!("{name} can match nothing: {why}");
        let fix = Some(format!("relayflow workflows show {}", shell(name)));
        return Some(warn("workflow.in_vain", text, fix));
    }
    let events = counters.total("events");
    if events == 0 || 0 < counters.of("routed", name) {
        return None;
    }
    let count = things(usize::try_from(events).unwrap_or(0), "event");
    let fix = newest.map(|id| format!("relayflow workflows explain {id}"));
    Some(warn("workflow.unmatched", format!("{name} has matched none of {count}"), fix))
}

/// Why no event that can come will ever be one of the workflow's.
fn in_vain(workflow: &Workflow, in_force: &InForce) -> Option<String> {
    let mut wanted = Vec::new();
    for on in &workflow.on {
        let can_come = in_force.sources.values().any(|source| match on {
            On::Any => true,
            On::Type { provider, .. } => *source.provider.name == **provider,
            On::Kind(kind) => {
                let types = source.provider.types();
                types.iter().any(|(_, of)| of.as_deref() == Some(kind.as_str()))
            }
        });
        if can_come {
            return None;
        }
        wanted.push(match on {
            On::Any => "*".to_owned(),
            On::Type { provider, event_type } => format!("{provider}:{event_type}"),
            On::Kind(kind) => kind.clone(),
        });
    }
    Some(format!("no source sends {}", wanted.join(" or ")))
}

fn things(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

fn to_f64(bytes: u64) -> f64 {
    // Whole mebibytes are as exact as anybody wants.
    let kib = u32::try_from(bytes / 1024).map_or(f64::from(u32::MAX), f64::from);
    kib * 1024.0
}

/// `18.2 GB`.
fn size(bytes: f64) -> String {
    for (unit, at) in [("TB", 1e12), ("GB", 1e9), ("MB", 1e6)] {
        if at <= bytes {
            return format!("{:.1} {unit}", bytes / at);
        }
    }
    format!("{:.0} kB", bytes / 1e3)
}

/// `51s`, `4m`, `3h`, `2d`.
fn amount(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default().as_secs();
    match whole {
        ..120 => format!("{whole}s"),
        120..7200 => format!("{}m", whole / 60),
        7200..172_800 => format!("{}h", whole / 3600),
        _ => format!("{}d", whole / 86_400),
    }
}

/// A value as one word of the filter language.
fn word(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    format!("'\"{}\"'", value.replace(['"', '\''], ""))
}

/// A word as a shell takes it.
#[must_use]
pub fn shell(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@%+=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests;
