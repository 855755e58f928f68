//! Which workflows want an event, and why not the others.

use std::sync::Arc;

use serde_json::Map;

use super::ReplayError;
use super::candidate::candidate;
use super::made;
use super::reroute::{Tally, find, read};
use crate::api::{Explain, ExplainedStep, ExplainedWorkflow, Explanation, V};
use crate::config::is_secret_name;
use crate::event::IntegrationEvent;
use crate::expr::{Expression, Scope};
use crate::in_force::InForce;
use crate::ingest::truncate;
use crate::store::{KeptEvent, Picked, Store};
use crate::view;
use crate::workflow::{Action, HttpAction, On, Step, Workflow};

/// The longest body, and the longest header, that is shown, in bytes.
const BODY_BYTES_MAX: usize = 4096;
const HEADER_BYTES_MAX: usize = 400;
/// Stands for what may be a secret.
const MASKED: &str = "•••";

/// Reads an event, a stored one or one that is made up, with the configuration in force or with a
/// candidate, and says of each workflow whether it matches, or what decided that it does not. Nothing
/// runs.
///
/// # Errors
///
/// An event that does not exist or cannot be read so, a candidate that is wrong.
pub async fn explain(
    store: &Store,
    in_force: Arc<InForce>,
    asked: &Explain,
) -> Result<Explanation, ReplayError> {
    match &asked.event {
        Some(event) => {
            let config = wanted(in_force, asked)?;
            explain_stored(store, event, &config).await
        }
        None => explain_made(in_force, asked),
    }
}

/// The same of an event that is made up: no store is needed.
///
/// # Errors
///
/// As [`explain`].
pub fn explain_made(in_force: Arc<InForce>, asked: &Explain) -> Result<Explanation, ReplayError> {
    let config = wanted(in_force, asked)?;
    let made = made::event(&config, asked).map_err(ReplayError::BadRequest)?;
    let steps = Map::new();
    let scope = Scope { event: &made.event, headers: &made.headers, steps: &steps };
    let workflows =
        config.workflows.list.iter().map(|workflow| one(workflow, &[], &made.event, &scope));
    Ok(Explanation {
        v: V,
        object: "explanation".to_owned(),
        event: None,
        event_type: made.event.event_type.clone(),
        kind: made.event.kind.as_deref().map(str::to_owned),
        fields: vec![],
        workflows: workflows.collect(),
        routes_lost: vec![],
    })
}

fn wanted(in_force: Arc<InForce>, asked: &Explain) -> Result<Arc<InForce>, ReplayError> {
    match &asked.config {
        Some(text) => {
            let providers = asked.providers.as_deref().unwrap_or_default();
            candidate(text, providers).map(Arc::new)
        }
        None => Ok(in_force),
    }
}

async fn explain_stored(
    store: &Store,
    event: &str,
    config: &InForce,
) -> Result<Explanation, ReplayError> {
    let id = view::event_id(store, event).await?;
    let kept = store.kept_events(&[id]).await?.pop();
    let kept = kept.ok_or_else(|| view::ViewError::NotFound(event.to_owned()))?;
    let event = find(&kept, &read(&kept.request, config))
        .map_err(|why| ReplayError::BadRequest(format!("the event cannot be read so: {why}")))?;
    let event = IntegrationEvent { id, ..event };
    Ok(told(&kept, &event, config))
}

fn told(kept: &KeptEvent, event: &IntegrationEvent, config: &InForce) -> Explanation {
    let steps = Map::new();
    let scope = Scope { event, headers: &kept.request.row.headers, steps: &steps };
    let workflows: Vec<ExplainedWorkflow> = config
        .workflows
        .list
        .iter()
        .map(|workflow| one(workflow, &kept.tasks, event, &scope))
        .collect();
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
        event: Some(event.id.to_string()),
        event_type: event.event_type.clone(),
        kind: event.kind.as_deref().map(str::to_owned),
        fields: tally.done(1).difference.fields,
        workflows,
        routes_lost,
    }
}

pub(super) fn one(
    workflow: &Workflow,
    tasks: &[Picked],
    event: &IntegrationEvent,
    scope: &Scope<'_>,
) -> ExplainedWorkflow {
    let Judged { result, because, caret } = judge(workflow, event, scope);
    let steps = if result == "no" {
        vec![]
    } else {
        workflow.steps.iter().map(|step| told_step(workflow, step, tasks, scope)).collect()
    };
    ExplainedWorkflow {
        workflow: workflow.name.to_string(),
        result: result.to_owned(),
        because,
        caret,
        steps,
    }
}

/// What decided, and the characters of it that did not hold.
struct Judged {
    result: &'static str,
    because: String,
    caret: Option<(usize, usize)>,
}

impl Judged {
    fn new(result: &'static str, because: String) -> Self {
        Self { result, because, caret: None }
    }

    /// `before`, the clause that does not hold, `after`.
    fn no(before: &str, clause: &str, after: &str) -> Self {
        let from = before.chars().count();
        let caret = Some((from, from + clause.chars().count()));
        Self { result: "no", because: format!("{before}{clause}{after}"), caret }
    }
}

fn judge(workflow: &Workflow, event: &IntegrationEvent, scope: &Scope<'_>) -> Judged {
    let Some(on) = workflow.on.iter().find(|on| is_on(on, event)) else {
        let all: Vec<String> = workflow.on.iter().map(word).collect();
        let kind = event.kind.as_deref().unwrap_or("no kind");
        let is = format!("{}:{} ({kind})", event.provider, event.event_type);
        return Judged::no("on: ", &all.join(", "), &format!("   it is {is}"));
    };
    let on = format!("on: {}", word(on));
    let Some(when) = &workflow.when else { return Judged::new("match", on) };
    match when.holds(scope) {
        Ok(true) => Judged::new("match", format!("{on}   when: {}", when.text())),
        Ok(false) => first_false(when, scope),
        Err(error) => Judged::new("error", format!("when: {}", error.told_of(when.text()))),
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
fn first_false(when: &Expression, scope: &Scope<'_>) -> Judged {
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
    let after = match seen.as_slice() {
        [] => "   is false".to_owned(),
        seen => format!("   is false: {}", seen.join(", ")),
    };
    Judged::no("when: ", clause, &after)
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
    tasks: &[Picked],
    scope: &Scope<'_>,
) -> ExplainedStep {
    let task = tasks.iter().find(|t| {
        t.item.workflow.as_deref() == Some(&*workflow.name)
            && t.item.step.as_deref() == Some(&*step.name)
    });
    let mut told = ExplainedStep {
        step: step.name.to_string(),
        needs: step.needs.iter().map(ToString::to_string).collect(),
        destination: step.destination.as_deref().map(str::to_owned),
        request: None,
        headers: vec![],
        content_type: None,
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
    told_headers(http, step, scope, &mut told);
    told_body(http, step, scope, &mut told);
    told
}

fn told_headers(http: &HttpAction, step: &Step, scope: &Scope<'_>, told: &mut ExplainedStep) {
    for (name, template) in &http.headers {
        let is_secret = is_secret_name(name.as_str()) || template.is_secret();
        let value = match template.render(scope) {
            _ if is_secret => MASKED.to_owned(),
            Ok(mut value) => {
                truncate(&mut value, HEADER_BYTES_MAX);
                value
            }
            // What an earlier step answered is not known before it has.
            Err(_) if !step.needs.is_empty() => "…".to_owned(),
            Err(error) => {
                told.error = Some(format!("header {name}: {}", error.told_of(template.text())));
                continue;
            }
        };
        told.headers.push((name.to_string(), value));
    }
}

fn told_body(http: &HttpAction, step: &Step, scope: &Scope<'_>, told: &mut ExplainedStep) {
    let (content_type, mut text) = match &http.body {
        None if [http::Method::GET, http::Method::HEAD].contains(&http.method) => return,
        None => ("application/cloudevents+json", scope.event.to_cloudevent()),
        Some(body) => match body.eval(scope) {
            Ok(value) => ("application/json", value.to_string()),
            Err(_) if !step.needs.is_empty() => return,
            Err(error) => {
                told.error = Some(format!("body: {}", error.told_of(body.text())));
                return;
            }
        },
    };
    truncate(&mut text, BODY_BYTES_MAX);
    told.content_type = Some(content_type.to_owned());
    told.body = Some(text);
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
