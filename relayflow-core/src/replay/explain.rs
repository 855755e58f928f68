//! Which workflows want an event, and why not the others.

use std::sync::Arc;

use serde_json::Map;

use super::ReplayError;
use super::candidate::candidate;
use super::reroute::{Tally, find, read};
use crate::api::{Explain, ExplainedStep, ExplainedWorkflow, Explanation, V};
use crate::event::IntegrationEvent;
use crate::expr::{Expression, Scope};
use crate::ingest::{InForce, Ingest, truncate};
use crate::store::{KeptEvent, Store};
use crate::view;
use crate::workflow::{Action, On, Step, Workflow};

/// The longest body that is shown, in bytes.
const BODY_BYTES_MAX: usize = 400;

/// Reads a stored event with today's configuration or with a candidate, and says of each workflow
/// whether it matches, or what decided that it does not.
///
/// # Errors
///
/// An event that does not exist or cannot be read so, a candidate that is wrong.
pub async fn explain(ingest: &Ingest, asked: &Explain) -> Result<Explanation, ReplayError> {
    explain_in(&ingest.store, ingest.current.get(), asked).await
}

/// The same of a store that is read without its daemon, with a configuration that is in reach.
///
/// # Errors
///
/// As [`explain`].
pub async fn explain_in(
    store: &Store,
    in_force: Arc<InForce>,
    asked: &Explain,
) -> Result<Explanation, ReplayError> {
    let config = match &asked.config {
        Some(text) => {
            let providers = asked.providers.as_deref().unwrap_or_default();
            Arc::new(candidate(text, providers)?)
        }
        None => in_force,
    };
    let id = view::event_id(store, &asked.event).await?;
    let kept = store.kept_events(&[id]).await?.pop();
    let kept = kept.ok_or_else(|| view::ViewError::NotFound(asked.event.clone()))?;
    let event = find(&kept, &read(&kept.request, &config))
        .map_err(|why| ReplayError::BadRequest(format!("the event cannot be read so: {why}")))?;
    let event = IntegrationEvent { id, ..event };
    Ok(told(&kept, &event, &config))
}

fn told(kept: &KeptEvent, event: &IntegrationEvent, config: &InForce) -> Explanation {
    let steps = Map::new();
    let scope = Scope { event, headers: &kept.request.row.headers, steps: &steps };
    let workflows: Vec<ExplainedWorkflow> =
        config.workflows.list.iter().map(|workflow| one(workflow, kept, event, &scope)).collect();
    let is_wanted = |workflow: &str, step: &str| {
        workflows.iter().any(|w| {
            w.workflow == workflow && w.result != "no" && w.steps.iter().any(|s| s.step == step)
        })
    };
    let had = kept.tasks.iter().filter_map(|t| t.item.workflow.as_ref().zip(t.item.step.as_ref()));
    let lost = had.filter(|(workflow, step)| !is_wanted(workflow, step));
    let routes_lost = lost.map(|(workflow, step)| format!("{workflow}/{step}")).collect();
    let mut tally = Tally::default();
    tally.compare(&kept.event, event);
    Explanation {
        v: V,
        object: "explanation".to_owned(),
        event: event.id.to_string(),
        event_type: event.event_type.clone(),
        kind: event.kind.as_deref().map(str::to_owned),
        fields: tally.done(1).difference.fields,
        workflows,
        routes_lost,
    }
}

pub(super) fn one(
    workflow: &Workflow,
    kept: &KeptEvent,
    event: &IntegrationEvent,
    scope: &Scope<'_>,
) -> ExplainedWorkflow {
    let (result, because) = judge(workflow, event, scope);
    let steps = if result == "no" {
        vec![]
    } else {
        workflow.steps.iter().map(|step| told_step(workflow, step, kept, scope)).collect()
    };
    ExplainedWorkflow {
        workflow: workflow.name.to_string(),
        result: result.to_owned(),
        because,
        steps,
    }
}

fn judge(
    workflow: &Workflow,
    event: &IntegrationEvent,
    scope: &Scope<'_>,
) -> (&'static str, String) {
    let Some(on) = workflow.on.iter().find(|on| is_on(on, event)) else {
        let all: Vec<String> = workflow.on.iter().map(word).collect();
        let kind = event.kind.as_deref().unwrap_or("no kind");
        let is = format!("{}:{} ({kind})", event.provider, event.event_type);
        return ("no", format!("on: {}   it is {is}", all.join(", ")));
    };
    let on = format!("on: {}", word(on));
    let Some(when) = &workflow.when else { return ("match", on) };
    match when.holds(scope) {
        Ok(true) => ("match", format!("{on}   when: {}", when.text())),
        Ok(false) => ("no", format!("when: {}", first_false(when, scope))),
        Err(error) => ("error", format!("when: {}", error.told_of(when.text()))),
    }
}

fn is_on(on: &On, event: &IntegrationEvent) -> bool {
    match on {
        On::Any => true,
        On::Kind(kind) => event.kind.as_deref() == Some(kind),
        On::Type { provider, event_type } => {
            **provider == *event.provider && *event_type == event.event_type
        }
    }
}

fn word(on: &On) -> String {
    match on {
        On::Any => "*".to_owned(),
        On::Kind(kind) => kind.clone(),
        On::Type { provider, event_type } => format!("{provider}:{event_type}"),
    }
}

/// Of several clauses joined by `and` the first that does not hold, with what it saw of the event.
fn first_false(when: &Expression, scope: &Scope<'_>) -> String {
    let clauses = clauses(when.text());
    let is_false = |clause: &&str| {
        Expression::new(clause).is_ok_and(|e| e.holds(scope).is_ok_and(|holds| !holds))
    };
    let clause = clauses.iter().copied().find(is_false).unwrap_or(when.text());
    let seen: Vec<String> = names(clause)
        .into_iter()
        .filter_map(|name| {
            let value = Expression::new(name).ok()?.eval(scope).ok()?;
            let mut text = value.to_string();
            truncate(&mut text, 80);
            Some(format!("{name} = {text}"))
        })
        .collect();
    match seen.as_slice() {
        [] => format!("{clause}   is false"),
        seen => format!("{clause}   is false: {}", seen.join(", ")),
    }
}

/// The parts of a text between its outer `and`s. With an outer `or` it is one part.
fn clauses(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut quote, mut start) = (0_usize, None, 0);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, ' ') if depth == 0 && text[at..].starts_with(" or ") => return vec![text],
            (None, ' ') if depth == 0 && text[at..].starts_with(" and ") => {
                parts.push(text[start..at].trim());
                start = at + " and ".len();
            }
            (None, _) => {}
        }
    }
    parts.push(text.get(start..).unwrap_or_default().trim());
    parts
}

/// The members of the event that a clause names: `event.attributes.amount_minor`.
fn names(clause: &str) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for (at, _) in clause.match_indices("event.") {
        let is_start =
            !clause[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.');
        let rest = &clause[at..];
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let name = rest[..end].trim_end_matches('.');
        // What is called is no member.
        if is_start && !rest[end..].starts_with('(') && !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

fn told_step(
    workflow: &Workflow,
    step: &Step,
    kept: &KeptEvent,
    scope: &Scope<'_>,
) -> ExplainedStep {
    let task = kept.tasks.iter().find(|t| {
        t.item.workflow.as_deref() == Some(&*workflow.name)
            && t.item.step.as_deref() == Some(&*step.name)
    });
    let mut told = ExplainedStep {
        step: step.name.to_string(),
        needs: step.needs.iter().map(ToString::to_string).collect(),
        destination: step.destination.as_deref().map(str::to_owned),
        request: None,
        body: None,
        error: None,
        task: task.map(|t| t.item.status.clone()),
    };
    let Action::Http(http) = &step.action else {
        told.request = told.destination.clone();
        return told;
    };
    match http.url.render(scope) {
        Ok(url) => {
            let shown = url.split(['?', '#']).next().unwrap_or_default();
            told.request = Some(format!("{} {shown}", http.method));
            if told.destination.is_none() {
                told.destination =
                    crate::workflow::destination_of(&url).ok().as_deref().map(str::to_owned);
            }
        }
        Err(error) => told.error = Some(format!("url: {}", error.told_of(http.url.text()))),
    }
    if let Some(body) = &http.body {
        match body.eval(scope) {
            Ok(value) => {
                let mut text = value.to_string();
                truncate(&mut text, BODY_BYTES_MAX);
                told.body = Some(text);
            }
            // What an earlier step answered is not known before it has.
            Err(_) if !step.needs.is_empty() => {}
            Err(error) => told.error = Some(format!("body: {}", error.told_of(body.text()))),
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_falls_into_its_outer_clauses() {
        for (text, wanted) in [
            ("a", &["a"][..]),
            ("a and b == 'x and y' and (c and d)", &["a", "b == 'x and y'", "(c and d)"]),
            ("a and b or c", &["a and b or c"]),
            ("x in [1, 2] and y", &["x in [1, 2]", "y"]),
        ] {
            assert_eq!(clauses(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_clause_shows_the_members_that_it_names() {
        let clause = "event.source in [\"x\"] and event.attributes.n > my_event.z";
        assert_eq!(names(clause), ["event.source", "event.attributes.n"]);
        assert!(names("event.x.lower() == 1").is_empty());
    }
}
