//! A plan as people read it before they say yes.

use std::fmt::Write as _;

use relayflow_core::api::{Difference, Plan, PlanGroup, PlanLate};
use relayflow_core::text;
use unicode_width::UnicodeWidthStr as _;

use crate::context::Target;
use crate::output::style::Tone;
use crate::output::{Out, time};

/// The whole of it.
pub(crate) fn describe(out: &Out, target: &Target, plan: &Plan) -> String {
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
    let late = &plan.late;
    if plan.order == "received" || 0 < late.items || 0 < late.unknown {
        let order = if plan.order == "received" { "as received, one at a time" } else { "none" };
        let _ = write!(shown, "\norder   {order}");
        if 0 < late.items || 0 < late.unknown {
            let _ = write!(
                shown,
                "  {} of {} with a later event already done: --late=skip drops them, apply runs them",
                late_items(late),
                time::things(late.subjects, "subject"),
            );
        }
        shown.push('\n');
    }
    if let Some(difference) = &plan.difference {
        let _ = write!(shown, "\n{}", self::difference(difference));
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
        let (from, to) = (time::clock(oldest, &out.zone), time::clock(newest, &out.zone));
        let _ = write!(line, "  received {from}–{to}");
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
            "{}{}  {}{}  {}{}  {}{}  {}",
            out.style.paint(&row[0], tone),
            pad(0),
            pad(1),
            row[1],
            row[2],
            pad(2),
            row[3],
            pad(3),
            row[4]
        );
        let _ = writeln!(shown, "{}", line.trim_end());
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
            "items": {"total": 1412, "run": 1398, "run_at_risk": 11, "skip": 3, "blocked": 0},
            "groups": [
                {"would": "run", "destination": "api.hubspot.com", "effect": "POST upsert contact",
                 "why": "idempotent: key sent", "count": 1398},
                {"would": "run_at_risk", "destination": "mail.example.com", "effect": "send e-mail",
                 "why": "no dedupe\u{1b}[2J at destination", "count": 11},
                {"would": "skip", "destination": "api.hubspot.com", "effect": "",
                 "why": "already ok since they died", "count": 3},
            ],
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
        insta::assert_snapshot!(describe(&Out::test(Format::Table, None), &target, &plan()), @r"
        plan pln_7QF2  context prod (PROD)  expires 15:05:00
        filter  status:dead source:stripe
        tasks   1,412  from 409 events  received 11:02:00–13:58:00  oldest 3h 3m

        WOULD         TASKS  DESTINATION       EFFECT               WHY
        run           1,398  api.hubspot.com   POST upsert contact  idempotent: key sent
        run, at risk     11  mail.example.com  send e-mail          no dedupe␛[2J at destination
        skip              3  api.hubspot.com                        already ok since they died
        ");
    }
}
