//! Event → the tasks that it asks for. Computed before the commit, so that request, event and tasks
//! are one transaction.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::event::IntegrationEvent;
use crate::expr::{Bound, ExprError, Scope};
use crate::id::TaskId;
use crate::task::{DeadReason, Line, NewTask};
use crate::workflow::{Action, Step, Workflow, Workflows, destination_of};

/// Where a task waits whose destination could not be told.
const NOWHERE: &str = "unresolved";

/// Every task that `event` calls for: one for each step of each workflow that is on it and whose
/// `when` holds, in the order of workflows and steps.
///
/// An expression that gives nothing makes a dead letter: a `when` of each step that needs no other
/// (so that a replay of those brings the rest), a URL of its own step.
#[must_use]
pub fn tasks_for(
    event: &IntegrationEvent,
    headers: &[(String, String)],
    workflows: &Workflows,
) -> Vec<NewTask> {
    let no_steps = Map::new();
    let bound = Bound::new(Scope { event, headers, steps: &no_steps });
    workflows.on(event).flat_map(|workflow| tasks_of(workflow, &bound)).collect()
}

fn tasks_of(workflow: &Arc<Workflow>, bound: &Bound<'_>) -> Vec<NewTask> {
    let failure = match workflow.when.as_ref().map(|when| (when, when.holds_in(bound))) {
        None | Some((_, Ok(true))) => None,
        Some((_, Ok(false))) => return Vec::new(),
        Some((when, Err(e))) => Some(format!("when: {}", e.told_of(when.text()))),
    };
    let task = |step: &Arc<Step>| new_task(workflow, step, bound, failure.as_deref());
    workflow.steps.iter().map(task).collect()
}

fn new_task(workflow: &Workflow, step: &Step, bound: &Bound<'_>, failure: Option<&str>) -> NewTask {
    let (destination, unresolved) = match destination(step, bound) {
        Ok(destination) => (destination, None),
        Err(why) => (NOWHERE.into(), Some(why)),
    };
    let failure = failure.filter(|_| step.needs.is_empty()).map(str::to_owned);
    let (line, unordered) = match line(step, bound) {
        Ok(line) => (line, None),
        Err(why) => (None, Some(why)),
    };
    NewTask {
        id: TaskId::next(),
        workflow: Arc::clone(&workflow.name),
        step: Arc::clone(&step.name),
        destination,
        needs: step.needs.clone(),
        line,
        dead: failure.or(unresolved).or(unordered).map(|why| (DeadReason::Expression, why)),
        slot: None,
    }
}

/// The longest ordering key, in bytes.
const KEY_BYTES_MAX: usize = 1024;

fn line(step: &Step, bound: &Bound<'_>) -> Result<Option<Line>, String> {
    let Some(order) = &step.order else { return Ok(None) };
    let told = |e: ExprError| format!("order_by: {}", e.told_of(order.key.text()));
    let key = match order.key.eval_in(bound).map_err(told)? {
        Value::Null => return Ok(None),
        Value::String(text) => text,
        value @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            value.to_string()
        }
    };
    if KEY_BYTES_MAX < key.len() {
        return Err(format!("order_by: a key of {} bytes; at most {KEY_BYTES_MAX}", key.len()));
    }
    Ok(Some(Line { key, holds_dead: order.holds_dead }))
}

fn destination(step: &Step, bound: &Bound<'_>) -> Result<Arc<str>, String> {
    if let Some(destination) = &step.destination {
        return Ok(Arc::clone(destination));
    }
    let Action::Http(http) = &step.action else { return Ok(NOWHERE.into()) };
    let told = |e: ExprError| format!("url: {}", e.told_of(http.url.text()));
    let url = http.url.render_in(bound).map_err(told)?;
    destination_of(&url).map_err(|e| format!("url: {e}"))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::backoff::Backoff;
    use crate::event::Payload;
    use crate::expr::{Expression, Template};
    use crate::id::{EventId, RequestId};
    use crate::request::CorrelationId;
    use crate::workflow::{HttpAction, On};

    fn event(kind: Option<&str>, payload: &str) -> IntegrationEvent {
        let request_id = RequestId::next();
        IntegrationEvent {
            id: EventId::next(),
            request_id,
            source: "shop".into(),
            provider: "stripe".into(),
            event_type: "charge.failed".to_owned(),
            kind: kind.map(Into::into),
            external_id: "evt_1".to_owned(),
            id_is_derived: false,
            signed_digest: None,
            subject: None,
            occurred_at: jiff::Timestamp::UNIX_EPOCH,
            received_at: jiff::Timestamp::UNIX_EPOCH,
            correlation_id: CorrelationId::of(request_id),
            attributes: r#"{"amount_minor":4200}"#.to_owned(),
            payload: Payload::Converted(payload.to_owned()),
            contract: "stripe@1".into(),
        }
    }

    fn step(name: &str, needs: &[&str], url: &str) -> Arc<Step> {
        let dynamic_host = url.contains("{{");
        Arc::new(Step {
            name: name.into(),
            needs: needs.iter().map(|n| (*n).into()).collect(),
            timeout: SignedDuration::from_secs(10),
            backoff: Backoff::default(),
            dedupes: None,
            order: None,
            destination: (!dynamic_host).then(|| destination_of(url).unwrap()),
            action: Action::Http(HttpAction {
                method: http::Method::POST,
                url: Template::dynamic_url(url).unwrap(),
                headers: vec![],
                body: None,
                dynamic_host,
            }),
        })
    }

    fn workflow(name: &str, on: &[On], when: Option<&str>, steps: Vec<Arc<Step>>) -> Arc<Workflow> {
        let when = when.map(|text| Expression::new(text).unwrap());
        Arc::new(Workflow { name: name.into(), on: on.to_vec(), when, steps })
    }

    fn kind(name: &str) -> On {
        On::Kind(name.to_owned())
    }

    fn of_type(provider: &str, event_type: &str) -> On {
        On::Type { provider: provider.to_owned(), event_type: event_type.to_owned() }
    }

    /// `workflow/step destination [needs] dead` of each task.
    fn routed(list: Vec<Arc<Workflow>>, payload: &str) -> Vec<String> {
        let event = event(Some("payment.failed"), payload);
        let tasks = tasks_for(&event, &[], &Workflows::new(list));
        tasks
            .iter()
            .map(|t| {
                let dead = t.dead.as_ref().map(|(_, why)| format!(" {why}")).unwrap_or_default();
                format!("{}/{} {} {:?}{dead}", t.workflow, t.step, t.destination, t.needs)
            })
            .collect()
    }

    #[test]
    fn an_event_finds_its_workflows_by_kind_type_and_any_each_once() {
        let one =
            |name, on: &[On]| workflow(name, on, None, vec![step("s", &[], "https://a.example/")]);
        let list = vec![
            one("f", &[of_type("github", "charge.failed")]),
            one("e", &[of_type("stripe", "charge")]),
            one("d", &[kind("payment.succeeded")]),
            one("c", &[On::Any, kind("payment.failed"), of_type("stripe", "charge.failed")]),
            one("b", &[of_type("stripe", "charge.failed")]),
            one("a", &[kind("payment.failed")]),
        ];
        let names: Vec<_> = routed(list, "{}").iter().map(|t| t[..3].to_owned()).collect();
        assert_eq!(names, ["a/s", "b/s", "c/s"]);
    }

    #[test]
    fn a_step_is_a_task_and_needs_its_needs() {
        let steps = vec![
            step("crm", &[], "https://crm.example/"),
            step("mail", &["crm"], "https://mail.example:8443/"),
        ];
        let when = Some("event.attributes.amount_minor > 1000");
        assert_eq!(
            routed(vec![workflow("w", &[On::Any], when, steps)], "{}"),
            ["w/crm crm.example []", r#"w/mail mail.example:8443 ["crm"]"#]
        );
        let never =
            workflow("w", &[On::Any], Some("false"), vec![step("s", &[], "https://a.example/")]);
        assert!(routed(vec![never], "{}").is_empty());
    }

    #[test]
    fn an_expression_that_gives_nothing_is_a_dead_letter_of_the_first_steps() {
        let steps = || {
            vec![
                step("crm", &[], "https://crm.example/"),
                step("mail", &["crm"], "https://m.example/"),
            ]
        };
        assert_eq!(
            routed(vec![workflow("w", &[On::Any], Some("event.payload.x > 1"), steps())], "{}"),
            [
                "w/crm crm.example [] when: `event.payload.x` is undefined in `event.payload.x > 1`",
                r#"w/mail m.example ["crm"]"#,
            ]
        );
    }

    #[test]
    fn a_host_that_an_event_gives_is_told_when_it_is_routed() {
        let list = || {
            vec![workflow(
                "w",
                &[On::Any],
                None,
                vec![step("s", &[], "https://{{ event.payload.host }}/x")],
            )]
        };
        assert_eq!(routed(list(), r#"{"host":"EU.example.com"}"#), ["w/s eu.example.com []"]);
        for bad in [r#"{"host":"a b"}"#, r#"{"host":"x@y"}"#, "{}", r#"{"host":""}"#] {
            let tasks = routed(list(), bad);
            assert!(tasks[0].starts_with("w/s unresolved [] url: "), "{tasks:?}");
        }
    }
}
