//! What is configured, as documents: sources, workflows, providers. What only a running daemon knows is
//! handed in.

use crate::api::{List, Provider, Source, Total, V, Workflow, WorkflowStep};
use crate::in_force::InForce;
use crate::provider;
use crate::workflow::{Action, On, Step};

/// A list that is never longer than a page.
#[must_use]
pub fn whole<T>(kind: &str, items: Vec<T>) -> List<T> {
    let total = Some(Total { value: items.len() as u64, exact: true });
    List { v: V, kind: kind.to_owned(), items, next_cursor: None, total, searched_to: None }
}

/// The sources in force. `base` is what their paths stand under where they have no URL of their own;
/// `learned` the fingerprints of what handshakes brought a source.
#[must_use]
pub fn sources(
    in_force: &InForce,
    base: &str,
    learned: impl Fn(&str) -> Vec<String>,
) -> List<Source> {
    let mut sources: Vec<_> = in_force.sources.values().collect();
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    let document = |source: &provider::Source| Source {
        v: V,
        object: "source".to_owned(),
        name: source.name.to_string(),
        provider: source.provider.name.to_string(),
        provider_status: source.provider.status.name().to_owned(),
        scheme: source.scheme_label.to_string(),
        url: source.public_url.clone().unwrap_or_else(|| format!("{base}/in/{}", source.name)),
        secrets: source.secret_fingerprints(),
        tolerance: source.tolerance_label(),
        reply_within: source.reply_within_label(),
        learned: learned(&source.name),
    };
    whole("source_list", sources.into_iter().map(|source| document(source)).collect())
}

/// The definitions in force.
#[must_use]
pub fn providers(in_force: &InForce) -> List<Provider> {
    let list = in_force.catalog.iter().map(|provider| provider.document());
    whole("provider_list", list.collect())
}

/// The workflows in force.
#[must_use]
pub fn workflows(in_force: &InForce) -> List<Workflow> {
    let list = in_force.workflows.list.iter().map(|workflow| Workflow {
        v: V,
        object: "workflow".to_owned(),
        name: workflow.name.to_string(),
        on: workflow.on.iter().map(on_text).collect(),
        when: workflow.when.as_ref().map(|when| when.text().to_owned()),
        steps: workflow.steps.iter().map(|step| step_document(step)).collect(),
    });
    whole("workflow_list", list.collect())
}

fn on_text(on: &On) -> String {
    match on {
        On::Any => "*".to_owned(),
        On::Kind(kind) => kind.clone(),
        On::Type { provider, event_type } => format!("{provider}:{event_type}"),
    }
}

fn step_document(step: &Step) -> WorkflowStep {
    WorkflowStep {
        name: step.name.to_string(),
        needs: step.needs.iter().map(ToString::to_string).collect(),
        action: match &step.action {
            Action::Http(_) => "http".to_owned(),
            Action::Command(_) => "command".to_owned(),
        },
        destination: step.destination.as_deref().unwrap_or("as the event says").to_owned(),
    }
}
