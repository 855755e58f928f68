//! A plan as people read it before they say yes.

use std::fmt::Write as _;

use relayflow_core::api::{Difference, Plan, PlanEdited, PlanGroup, PlanLate, PlanRouting};
use relayflow_core::text;
use unicode_width::UnicodeWidthStr as _;

use crate::args::Job;
use crate::context::Target;
use crate::output::style::Tone;
use crate::output::{Out, time};
use crate::tui::draw::wrap;

/// Where what is said of a plan begins, behind its label.
const LABEL: usize = 10;
/// Less room than this is none.
const WHY_MIN: usize = 16;

/// The whole of it, as `job` would run it.
pub(crate) fn describe(out: &Out, target: &Target, plan: &Plan, job: &Job) -> String {
    let mut shown = String::new();
    let line = |text: &str| text::line(text).into_owned();
    let expires = time::clock(&plan.expires_at, &out.zone);
    let _ =
        writeln!(shown, "plan {}  context {}  expires {expires}", line(&plan.id), target.shown());
    if let Some(q) = &plan.q {
        let _ = writeln!(shown, "filter  {}", line(q));
    }
    let _ = writeln!(shown, "{}", extent(out, plan));
    if !plan.groups.is_empty() {
        let _ = write!(shown, "\n{}", groups(out, &plan.groups));
    }
    let facts = facts(plan, job);
    if !facts.is_empty() {
        shown.push('\n');
    }
    for (label, fact) in facts {
        let fact = line(&fact);
        let room = out.width.map_or(usize::MAX, |width| width.saturating_sub(LABEL).max(LABEL));
        for (place, part) in wrap(&fact, room).iter().enumerate() {
            let label = if place == 0 { label } else { "" };
            let _ = writeln!(shown, "{label:<LABEL$}{}", part.trim_end());
        }
    }
    if let Some(edit) = &plan.edit {
        shown.push_str(&examples(edit));
    }
    if let Some(difference) = &plan.difference {
        let _ = write!(shown, "\n{}", self::difference(difference));
    }
    shown
}

/// What is said beside the items: routing, contract, order, time, edit. The TUI says the same.
pub(crate) fn facts(plan: &Plan, job: &Job) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let mut add = |label, fact: Option<String>| facts.extend(fact.map(|fact| (label, fact)));
    if !plan.is_candidate {
        add("routing", routing(plan));
        add("contract", contract(plan));
    }
    add("order", order(plan));
    if !plan.is_candidate {
        add("time", duration(plan, job));
    }
    add("edit", plan.edit.as_ref().map(edit));
    facts
}

fn routing(plan: &Plan) -> Option<String> {
    let same: u64 = plan.routing.iter().map(|r| r.same).sum();
    let mut parts = Vec::new();
    let named = |r: &PlanRouting| match r.revision {
        Some(revision) => format!("{}@r{revision}", r.workflow),
        None => format!("{}, not in force", r.workflow),
    };
    if 0 < same {
        let of = plan.routing.iter().filter(|r| 0 < r.same).map(named).collect::<Vec<_>>();
        parts.push(format!("{} same workflow revision ({})", time::count(same), of.join(", ")));
    }
    let earlier: u64 = plan.routing.iter().map(|r| r.earlier).sum();
    if 0 < earlier {
        let of = plan.routing.iter().filter(|r| 0 < r.earlier).map(named).collect::<Vec<_>>();
        let count = time::count(earlier);
        parts.push(format!("{count} came in before today's revision ({})", of.join(", ")));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn contract(plan: &Plan) -> Option<String> {
    let told = &plan.contract;
    if plan.items.moves == 0 || told.looked_at + told.unknown == 0 {
        return None;
    }
    if told.looked_at == 0 && told.then == 0 {
        return Some("unknown: nothing says what these events should look like".to_owned());
    }
    let today = if told.looked_at == 0 {
        "unknown today".to_owned()
    } else {
        format!("{} today", time::things(told.today, "violation"))
    };
    let unknown = match (told.looked_at, told.unknown) {
        (0, _) | (_, 0) => String::new(),
        (looked_at, unknown) => {
            format!("  ({} looked at, {} unknown)", time::count(looked_at), time::count(unknown))
        }
    };
    Some(format!("{today}, {} when they came in{unknown}", time::count(told.then)))
}

fn order(plan: &Plan) -> Option<String> {
    let late = &plan.late;
    let has_late = 0 < late.items || 0 < late.unknown;
    if plan.order != "received" && !has_late {
        return None;
    }
    let order = if plan.order == "received" { "as received, one at a time" } else { "none" };
    let late = has_late.then(|| {
        format!(
            "  {} of {} with a later event already done: --late=skip drops them, apply runs them",
            late_items(late),
            time::things(late.subjects, "subject"),
        )
    });
    Some(format!("{order}{}", late.unwrap_or_default()))
}

/// How long it may take: as the slowest destination goes, and not faster than it is told to.
fn duration(plan: &Plan, job: &Job) -> Option<String> {
    let slowest = plan.time.as_ref()?;
    let at_once =
        job.concurrency.map_or(slowest.concurrency, |n| slowest.concurrency.min(n.into()));
    let calls = slowest.call_ms.map(|ms| {
        let rounds = slowest.items.div_ceil(at_once.max(1));
        ms / 1e3 * u32::try_from(rounds).map_or(f64::MAX, f64::from)
    });
    let moves = u32::try_from(plan.items.moves).map_or(f64::MAX, f64::from);
    let paced = job.rate.map(|rate| (moves / rate, rate));
    let goes = "  live traffic goes first";
    Some(match (calls, paced) {
        (calls, Some((seconds, rate))) if calls.is_none_or(|calls| calls <= seconds) => {
            format!("~{} at {rate}/s (--rate){goes}", about(seconds))
        }
        (Some(calls), _) => format!(
            "~{} at {at_once} calls at once (limit of {}), {} each{goes}",
            about(calls),
            slowest.destination,
            time::millis(slowest.call_ms.unwrap_or_default())
        ),
        (None, _) => format!(
            "unknown: no call to {} has ended yet; {at_once} at once{goes}",
            slowest.destination
        ),
    })
}

fn about(seconds: f64) -> String {
    if seconds < 1.0 { "1 s".to_owned() } else { time::millis(seconds.ceil() * 1e3) }
}

fn edit(edited: &PlanEdited) -> String {
    let mut told = format!("{} edited", time::things(edited.changed, "payload"));
    for (count, word) in [(edited.unchanged, "as before"), (edited.invalid, "not valid")] {
        if 0 < count {
            let _ = write!(told, ", {} {word}", time::count(count));
        }
    }
    told
}

/// The first few differences of an edit.
fn examples(edited: &PlanEdited) -> String {
    let mut shown = String::new();
    let line = |text: &str| text::line(text).into_owned();
    let value = |value: &Option<String>| value.as_deref().map_or_else(|| "–".to_owned(), line);
    for example in &edited.examples {
        let _ = writeln!(shown, "  {}", line(&example.event));
        for change in &example.changes {
            let (was, is) = (value(&change.was), value(&change.is));
            let _ = writeln!(shown, "    {}  {was} → {is}", line(&change.path));
        }
    }
    let told = u64::try_from(edited.examples.len()).unwrap_or(0);
    let more = edited.changed.saturating_sub(told);
    if 0 < more {
        let _ = writeln!(shown, "  and {} more: -o ndjson has each", time::things(more, "event"));
    }
    shown
}

/// `3 tasks (and of 10 it is not known)`.
pub(crate) fn late_items(late: &PlanLate) -> String {
    let items = time::things(late.items, "task");
    match late.unknown {
        0 => items,
        unknown => format!("{items} (and of {} it is not known)", time::count(unknown)),
    }
}

/// How events read and route with another config.
fn difference(difference: &Difference) -> String {
    let mut shown = format!("routed  {}", time::things(difference.events, "event"));
    let _ = writeln!(shown, "  {} read otherwise", time::count(difference.events_changed));
    let line = |text: &str| text::line(text).into_owned();
    let value = |value: &Option<String>| value.as_deref().map_or_else(|| "–".to_owned(), line);
    for field in &difference.fields {
        let _ = writeln!(
            shown,
            "field   {}  {}  {} → {}  {}",
            time::count(field.count),
            line(&field.field),
            value(&field.was),
            value(&field.is),
            line(&field.example),
        );
    }
    for (word, rows) in [
        ("added ", &difference.routes_added),
        ("lost  ", &difference.routes_lost),
        ("unread", &difference.unreadable),
    ] {
        for row in rows {
            let (count, what) = (time::count(row.count), line(&row.what));
            let _ = writeln!(shown, "{word}  {count}  {what}  {}", line(&row.example));
        }
    }
    shown
}

/// How many, of how many events, received when.
fn extent(out: &Out, plan: &Plan) -> String {
    let mut line = format!(
        "tasks   {}  from {}",
        time::count(plan.items.total),
        time::things(plan.events, "event")
    );
    if let (Some(oldest), Some(newest)) = (&plan.oldest_at, &plan.newest_at) {
        let at = |moment: &str| time::moment(moment, &plan.created_at, &out.zone);
        let _ = write!(line, "  received {}–{}", at(oldest), at(newest));
        if let Some(ms) = time::between_ms(oldest, &plan.created_at) {
            let age = jiff::SignedDuration::from_millis(ms.max(0));
            let _ = write!(line, "  oldest {}", time::amount(age));
        }
    }
    line
}

/// What would happen, as it stands in the column.
pub(crate) fn would(group: &PlanGroup) -> &str {
    match group.would.as_str() {
        "run_at_risk" => "run, at risk",
        other => other,
    }
}

fn groups(out: &Out, groups: &[PlanGroup]) -> String {
    let rows: Vec<[String; 5]> = groups
        .iter()
        .map(|group| {
            [
                would(group).to_owned(),
                time::count(group.count),
                group.destination.clone(),
                group.effect.clone(),
                group.why.clone(),
            ]
            .map(|cell| text::line(&cell).into_owned())
        })
        .collect();
    let head = ["WOULD", "TASKS", "DESTINATION", "EFFECT", "WHY"].map(str::to_owned);
    let width = |column: usize| {
        rows.iter().chain([&head]).map(|row| row[column].width()).max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2), width(3), width(4)];
    let mut shown = String::new();
    for (place, row) in std::iter::once(&head).chain(&rows).enumerate() {
        let tone = if place == 0 { Tone::Dim } else { Tone::of_status(&row[0]) };
        let pad = |column: usize| " ".repeat(widths[column].saturating_sub(row[column].width()));
        let line = format!(
            "{}{}  {}{}  {}{}  {}{}  ",
            out.style.paint(&row[0], tone),
            pad(0),
            pad(1),
            row[1],
            row[2],
            pad(2),
            row[3],
            pad(3),
        );
        // On a terminal what has no room stands below itself.
        let before = widths[..4].iter().sum::<usize>() + 8;
        let room = out.width.map_or(usize::MAX, |width| width.saturating_sub(before));
        let why = if room < WHY_MIN { vec![row[4].clone()] } else { wrap(&row[4], room) };
        let mut why = why.into_iter();
        let first = format!("{line}{}", why.next().unwrap_or_default());
        let _ = writeln!(shown, "{}", first.trim_end());
        for more in why {
            let _ = writeln!(shown, "{:before$}{}", "", more.trim_end());
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;
    use crate::context::Way;

    pub(crate) fn plan() -> Plan {
        serde_json::from_value(serde_json::json!({
            "v": 1, "object": "plan", "id": "pln_7QF2", "hash": "h", "action": "replay",
            "mode": "resume", "q": "status:dead source:stripe", "created_at": "2026-11-23T14:05:00Z",
            "expires_at": "2026-11-23T15:05:00Z", "status": "planned",
            "items": {"total": 1412, "run": 1398, "run_at_risk": 11, "skip": 3, "blocked": 0,
                "moves": 1409},
            "groups": [
                {"would": "run", "destination": "api.hubspot.com", "effect": "POST upsert contact",
                 "why": "idempotent: key sent", "count": 1398},
                {"would": "run_at_risk", "destination": "mail.example.com", "effect": "send e-mail",
                 "why": "no dedupe\u{1b}[2J at destination", "count": 11},
                {"would": "skip", "destination": "api.hubspot.com", "effect": "",
                 "why": "already ok since they died", "count": 3},
            ],
            "routing": [{"workflow": "crm", "revision": 18, "since": "2026-11-20T08:00:00Z",
                "same": 1400, "earlier": 9}],
            "contract": {"then": 1409, "today": 0, "looked_at": 1409, "unknown": 0},
            "late": {"items": 61, "subjects": 57, "unknown": 0},
            "time": {"destination": "api.hubspot.com", "items": 1398, "concurrency": 16,
                "call_ms": 160.0, "seconds": 14.08},
            "edit": {"asked": {}, "changed": 7, "unchanged": 2, "invalid": 1, "examples": [
                {"event": "evt_01J9ZC4K", "changes": [
                    {"path": "/data/plan_id", "was": null, "is": "\"basic\u{1b}[2J\""}]}]},
            "oldest_at": "2026-11-23T11:02:00Z", "newest_at": "2026-11-23T13:58:00Z", "events": 409,
        }))
        .unwrap()
    }

    #[test]
    fn a_plan_says_what_would_happen_and_why() {
        let target = Target {
            name: "prod".into(),
            label: Some("PROD".into()),
            is_protected: true,
            max_bulk: None,
            way: Way::Store { url: String::new() },
        };
        insta::assert_snapshot!(describe(&Out::test(Format::Table, None), &target, &plan(), &Job::default()), @r#"
        plan pln_7QF2  context prod (PROD)  expires 15:05:00
        filter  status:dead source:stripe
        tasks   1,412  from 409 events  received 11:02:00–13:58:00  oldest 3h 3m

        WOULD         TASKS  DESTINATION       EFFECT               WHY
        run           1,398  api.hubspot.com   POST upsert contact  idempotent: key sent
        run, at risk     11  mail.example.com  send e-mail          no dedupe␛[2J at destination
        skip              3  api.hubspot.com                        already ok since they died

        routing   1,400 same workflow revision (crm@r18), 9 came in before today's revision (crm@r18)
        contract  0 violations today, 1,409 when they came in
        order     none  61 tasks of 57 subjects with a later event already done: --late=skip drops them, apply runs them
        time      ~15.0 s at 16 calls at once (limit of api.hubspot.com), 160 ms each  live traffic goes first
        edit      7 payloads edited, 2 as before, 1 not valid
          evt_01J9ZC4K
            /data/plan_id  – → "basic␛[2J"
          and 6 events more: -o ndjson has each
        "#);
    }
}
