//! Workflows, checked whole: what is to be done about matching events.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::SignedDuration;

use crate::backoff::Backoff;
use crate::expr::{Expression, Template};

/// Every workflow in force, in the order of their names.
#[derive(Debug, Default)]
pub struct Workflows {
    pub list: Vec<Arc<Workflow>>,
    by_name: HashMap<String, Arc<Workflow>>,
}

/// A filter and a few steps.
#[derive(Debug)]
pub struct Workflow {
    pub name: Arc<str>,
    /// Kinds, provider types as `stripe:charge.failed`, or `*`.
    pub on: Vec<On>,
    pub when: Option<Expression>,
    pub steps: Vec<Arc<Step>>,
}

/// One of the things that a workflow is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum On {
    Any,
    Kind(String),
    Type { provider: String, event_type: String },
}

/// One action in a workflow.
#[derive(Debug)]
pub struct Step {
    pub name: Arc<str>,
    /// Steps of this workflow that must succeed first.
    pub needs: Vec<Arc<str>>,
    pub timeout: SignedDuration,
    pub backoff: Backoff,
    pub action: Action,
    /// Where its call goes, unless the URL's host is itself a template (`dynamic_host`).
    pub destination: Option<Arc<str>>,
}

/// What a step does.
#[derive(Debug)]
pub enum Action {
    Http(HttpAction),
    Command(CommandAction),
}

#[derive(Debug)]
pub struct HttpAction {
    pub method: http::Method,
    pub url: Template,
    pub headers: Vec<(http::HeaderName, Template)>,
    /// An expression that gives a JSON value; without one the event goes out as a CloudEvent.
    pub body: Option<Expression>,
    pub dynamic_host: bool,
}

#[derive(Debug)]
pub struct CommandAction {
    pub argv: Vec<Template>,
    /// Names of our environment variables that it gets.
    pub env: Vec<String>,
    /// Relative programs are found from here: the folder of the config.
    pub dir: std::path::PathBuf,
}

impl Workflows {
    /// `list` in the order of names.
    #[must_use]
    pub fn new(mut list: Vec<Arc<Workflow>>) -> Self {
        list.sort_by(|a, b| a.name.cmp(&b.name));
        let by_name = list.iter().map(|w| (w.name.to_string(), Arc::clone(w))).collect();
        Self { list, by_name }
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Workflow>> {
        self.by_name.get(name)
    }

    /// The step `step` of the workflow `workflow`, if both still exist.
    #[must_use]
    pub fn step(&self, workflow: &str, step: &str) -> Option<(&Arc<Workflow>, &Arc<Step>)> {
        let workflow = self.by_name.get(workflow)?;
        let step = workflow.steps.iter().find(|s| &*s.name == step)?;
        Some((workflow, step))
    }
}
