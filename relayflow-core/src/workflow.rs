//! Workflows, checked whole: what is to be done about matching events.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::SignedDuration;
use sha2::{Digest as _, Sha256};

use crate::backoff::Backoff;
use crate::event::IntegrationEvent;
use crate::expr::{Expression, Template};

/// Every workflow in force, in the order of their names.
#[derive(Debug, Default)]
pub struct Workflows {
    pub list: Vec<Arc<Workflow>>,
    by_name: HashMap<String, Arc<Workflow>>,
    /// Places in `list`, so that an event finds its workflows without asking each.
    any: Vec<usize>,
    by_kind: HashMap<String, Vec<usize>>,
    by_type: HashMap<String, HashMap<String, Vec<usize>>>,
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
    /// In which order its tasks run; `None`: in any.
    pub order: Option<OrderBy>,
    /// Whether its destination drops a second call with the same key; `None` where nobody has said.
    pub dedupes: Option<bool>,
    /// Where its call goes, unless the URL's host is itself a template (`dynamic_host`).
    pub destination: Option<Arc<str>>,
}

/// Which of a step's tasks run one at a time, in the order in which their events were committed.
#[derive(Debug)]
pub struct OrderBy {
    /// Gives the key; null: this task is not ordered.
    pub key: Expression,
    /// Whether a dead task holds those behind it.
    pub holds_dead: bool,
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

impl Workflow {
    /// What tells it from any other workflow, and from itself with another setting. Two versions of the
    /// program may give the same workflow two digests: it then looks changed, which is the safe side.
    #[must_use]
    pub fn digest(&self) -> String {
        hex::encode(&Sha256::digest(format!("{self:?}"))[..8])
    }

    /// What its expressions and templates read: the place (`when`, `notify url`) and the name, as
    /// far as it is written out (`event.payload.data.id`).
    #[must_use]
    pub fn reads(&self) -> Vec<(String, String)> {
        let mut reads = Vec::new();
        let mut add = |place: String, names: Vec<String>| {
            reads.extend(names.into_iter().map(|name| (place.clone(), name)));
        };
        if let Some(when) = &self.when {
            add("when".to_owned(), when.names());
        }
        for step in &self.steps {
            if let Some(order) = &step.order {
                add(format!("{} order_by", step.name), order.key.names());
            }
            match &step.action {
                Action::Http(http) => {
                    add(format!("{} url", step.name), http.url.names());
                    for (name, value) in &http.headers {
                        add(format!("{} header {name}", step.name), value.names());
                    }
                    if let Some(body) = &http.body {
                        add(format!("{} body", step.name), body.names());
                    }
                }
                Action::Command(command) => {
                    for argument in &command.argv {
                        add(format!("{} argv", step.name), argument.names());
                    }
                }
            }
        }
        reads
    }
}

impl Workflows {
    /// `list` in the order of names.
    #[must_use]
    pub fn new(mut list: Vec<Arc<Workflow>>) -> Self {
        list.sort_by(|a, b| a.name.cmp(&b.name));
        let mut workflows = Self { list, ..Self::default() };
        for (place, workflow) in workflows.list.iter().enumerate() {
            workflows.by_name.insert(workflow.name.to_string(), Arc::clone(workflow));
            for on in &workflow.on {
                let places = match on {
                    On::Any => &mut workflows.any,
                    On::Kind(kind) => workflows.by_kind.entry(kind.clone()).or_default(),
                    On::Type { provider, event_type } => workflows
                        .by_type
                        .entry(provider.clone())
                        .or_default()
                        .entry(event_type.clone())
                        .or_default(),
                };
                places.push(place);
            }
        }
        workflows
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

    /// The workflows whose `on` names the event, in the order of their names, each once. Their
    /// `when` has not been asked.
    pub fn on(&self, event: &IntegrationEvent) -> impl Iterator<Item = &Arc<Workflow>> {
        let of_kind = event.kind.as_deref().and_then(|kind| self.by_kind.get(kind));
        let of_type =
            self.by_type.get(&*event.provider).and_then(|types| types.get(&event.event_type));
        let mut places = self.any.clone();
        places.extend(of_kind.into_iter().chain(of_type).flatten());
        places.sort_unstable();
        places.dedup();
        places.into_iter().filter_map(|place| self.list.get(place))
    }
}

/// The destination of a call to `url`: its host in lower case, and the port where that is not the
/// scheme's own.
///
/// # Errors
///
/// What is no absolute `http` or `https` URL with a host, or carries a user name or password.
pub fn destination_of(url: &str) -> Result<Arc<str>, String> {
    // The URL is not in the message: it may carry a password.
    let parsed = url::Url::parse(url).map_err(|e| format!("this is not a URL: {e}"))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(format!("the scheme `{}` is neither http nor https", parsed.scheme()));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err("a URL may not carry a user name or password".to_owned());
    }
    // WHATWG's reading passes over missing and superfluous slashes, and would find a host elsewhere.
    let authority = url.split_once("://").map_or("", |(_, rest)| rest);
    if authority.is_empty() || authority.starts_with(['/', '\\', '?', '#']) {
        return Err("the URL has no host".to_owned());
    }
    let host = parsed.host_str().filter(|host| !host.is_empty()).ok_or("the URL has no host")?;
    let host = host.to_ascii_lowercase();
    Ok(parsed.port().map_or_else(|| host.as_str().into(), |port| format!("{host}:{port}").into()))
}

/// The destination of a command: `command:` and the program's name without its folder.
#[must_use]
pub fn command_destination(program: &str) -> Arc<str> {
    let name = program.rsplit('/').next().unwrap_or(program);
    format!("command:{name}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_a_host_and_a_port_that_is_not_the_schemes_own() {
        for (url, destination) in [
            ("https://API.Example.com/x?y", "api.example.com"),
            ("https://api.example.com:443/", "api.example.com"),
            ("http://api.example.com:443/", "api.example.com:443"),
            ("http://127.0.0.1:9000/in", "127.0.0.1:9000"),
            ("http://[::1]:80/", "[::1]"),
            ("https://bücher.example/", "xn--bcher-kva.example"),
        ] {
            assert_eq!(destination_of(url).as_deref(), Ok(destination), "{url}");
        }
        for url in [
            "ftp://x/",
            "file:///etc/passwd",
            "/x",
            "https://",
            "https://a:b@x/",
            "x",
            "https:///x",
            "https:x",
        ] {
            assert!(destination_of(url).is_err(), "{url}");
        }
        assert_eq!(&*command_destination("./bin/notify.sh"), "command:notify.sh");
    }
}
