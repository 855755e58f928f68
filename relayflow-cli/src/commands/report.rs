//! What became of a replay's items, as JUnit tells it.

use relayflow_core::api::{Replay, ReplayItem};
use relayflow_core::view::Page;

use crate::app::App;
use crate::backend::Backend;
use crate::failure::Failure;
use crate::output::junit::{self, Case, Outcome, Suite};
use crate::output::time;

/// Items asked for at once.
const PAGE: usize = 1000;

/// Prints a replay as a suite, with a case for each of its items.
///
/// # Errors
///
/// The daemon's, or those of stdout.
pub(crate) async fn print(app: &App, backend: &Backend, replay: &Replay) -> Result<(), Failure> {
    let mut page = Page { limit: PAGE, ..Page::default() };
    let mut cases = Vec::new();
    loop {
        let got = backend.replay_items(&replay.id, &page).await?;
        cases.extend(got.items.iter().map(case));
        match got.next_cursor {
            Some(cursor) => page.cursor = Some(cursor),
            None => break,
        }
    }
    app.out.print(&junit::document(&[suite(replay, cases)]))
}

fn suite(replay: &Replay, cases: Vec<Case>) -> Suite {
    let took_ms = replay.ended_at.as_ref().and_then(|at| time::between_ms(&replay.created_at, at));
    let property = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut properties = vec![
        property("status", &replay.status),
        property("mode", &replay.mode),
        property("plan", &replay.plan),
        property("by", &replay.who),
    ];
    let more = [("filter", &replay.q), ("reason", &replay.reason), ("detail", &replay.detail)];
    properties.extend(more.into_iter().filter_map(|(name, v)| Some(property(name, v.as_ref()?))));
    Suite {
        name: replay.id.clone(),
        timestamp: Some(replay.created_at.clone()),
        seconds: took_ms
            .map(|ms| std::time::Duration::from_millis(ms.unsigned_abs()).as_secs_f64()),
        properties,
        cases,
    }
}

/// Skipped items are no failure; what died, was discarded or never ran is (as in the exit code).
fn case(item: &ReplayItem) -> Case {
    let why = item.why.clone().unwrap_or_default();
    let outcome = match item.verdict.as_str() {
        "ok" => Outcome::Passed,
        "skipped" => Outcome::Skipped { message: why },
        verdict => {
            let message = if why.is_empty() {
                format!("it is {verdict}")
            } else {
                format!("{verdict}: {why}")
            };
            let detail = item.event_id.as_ref().map(|id| format!("relayflow timeline {id}"));
            Outcome::Failed {
                kind: verdict.to_owned(),
                message,
                detail: detail.unwrap_or_default(),
            }
        }
    };
    let name = match (&item.workflow, &item.step) {
        (Some(workflow), Some(step)) => format!("{workflow}/{step} {}", item.id),
        _ => item.id.clone(),
    };
    Case {
        name,
        class: item.destination.clone().unwrap_or_else(|| "unreadable".to_owned()),
        outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_died_or_never_ran_fails_and_what_was_skipped_does_not() {
        let item = |verdict: &str, why: Option<&str>| ReplayItem {
            v: 1,
            object: "replay_item".to_owned(),
            id: "tsk_1".to_owned(),
            event_id: Some("evt_1".to_owned()),
            destination: None,
            workflow: Some("crm".to_owned()),
            step: Some("upsert".to_owned()),
            verdict: verdict.to_owned(),
            why: why.map(str::to_owned),
        };
        assert_eq!(case(&item("ok", None)).outcome, Outcome::Passed);
        let message = "already ok".to_owned();
        assert_eq!(
            case(&item("skipped", Some("already ok"))).outcome,
            Outcome::Skipped { message }
        );
        for (verdict, why, wanted) in [
            ("dead", Some("422 no"), "dead: 422 no"),
            ("cancelled", None, "it is cancelled"),
            ("pending", None, "it is pending"),
        ] {
            let Outcome::Failed { kind, message, detail } = case(&item(verdict, why)).outcome
            else {
                panic!("{verdict} is no failure")
            };
            assert_eq!((kind.as_str(), message.as_str()), (verdict, wanted));
            assert_eq!(detail, "relayflow timeline evt_1");
        }
    }
}
