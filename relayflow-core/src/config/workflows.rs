//! `[workflows.NAME]`: read, compiled, and checked whole.

use std::collections::HashSet;
use std::sync::Arc;

use http::{HeaderName, Method};
use jiff::SignedDuration;
use toml::de::DeValue;

use super::reader::{Origin, Reader, Section, Setting};
use super::secrets::{Known, is_secret_name};
use super::settings::Dirs;
use super::units;
use crate::backoff::Backoff;
use crate::expr::{Escape, ExprError, Expression, Template, host_end};
use crate::filter::show_duration;
use crate::provider::Catalog;
use crate::text::nearest;
use crate::workflow::{
    Action, CommandAction, HttpAction, On, OrderBy, Step, Workflow, Workflows, command_destination,
    destination_of,
};

/// How long an attempt may take, unless its step says otherwise; and at most.
const TIMEOUT: SignedDuration = SignedDuration::from_secs(10);
const TIMEOUT_MAX: SignedDuration = SignedDuration::from_hours(24);
const STEPS_MAX: usize = 64;

/// What belongs to HTTP itself or to the promises about a task.
const OWN_HEADERS: [&str; 12] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "trailer",
    "idempotency-key",
    "relayflow-attempt",
    "x-correlation-id",
    "traceparent",
    "keep-alive",
];

const METHODS: [Method; 7] = [
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
];

/// A step as read: its names are checked although something else in it is wrong.
struct Read {
    name: String,
    needs: Vec<String>,
    needs_at: Origin,
    step: Option<Step>,
    /// The steps that its texts read; `None` if they may read any.
    reads: Vec<(Origin, Option<Vec<String>>)>,
}

impl Reader<'_> {
    pub(super) fn workflows(
        &mut self,
        root: &mut Section<'_>,
        dirs: &Dirs,
        retry: Backoff,
        catalog: &Catalog,
    ) -> Workflows {
        let mut list = Vec::new();
        for (name, mut section) in self.named(root, "workflows") {
            let on = self.on(&mut section, catalog);
            let when = self.when(&mut section);
            let steps = self.steps(&mut section, dirs, retry);
            self.not_yet(&mut section, &["delay", "connectors", "if"]);
            self.finish(&section);
            list.push(Arc::new(Workflow { name: name.into(), on, when, steps }));
        }
        Workflows::new(list)
    }

    fn on(&mut self, section: &mut Section<'_>, catalog: &Catalog) -> Vec<On> {
        let from = self.setting(section, "on").map_or(section.from.clone(), |s| s.from);
        let words = self.require(section, "on", units::texts).unwrap_or_default();
        if words.is_empty() {
            let message = format!("{} is on nothing", section.title());
            let fix = r#"`on` lists kinds, types as "provider:type", or "*""#.to_owned();
            self.error(&from, message, Some(fix));
        }
        words.iter().filter_map(|word| self.on_one(word, &from, catalog)).collect()
    }

    fn on_one(&mut self, word: &str, list: &Origin, catalog: &Catalog) -> Option<On> {
        let from = self.within(list, word, &(0..word.len()));
        if word == "*" {
            return Some(On::Any);
        }
        let Some((name, event_type)) = word.split_once(':') else {
            return self.on_kind(word, &from, catalog);
        };
        let Some(provider) = catalog.get(name) else {
            let near = nearest(name, catalog.iter().map(|p| &*p.name));
            let fix = near.map(|near| format!("did you mean `{near}:{event_type}`?"));
            self.error(&from, format!("unknown provider `{name}`"), fix);
            return None;
        };
        if event_type.is_empty() {
            self.error(&from, format!("`{word}` names no type"), None);
            return None;
        }
        let types = provider.types();
        let known = types.iter().map(|(known, _)| known.as_str());
        if !known.clone().any(|known| known == event_type) {
            // Vendors have more types than a definition names, so only a near miss is worth a word.
            if let Some(near) = nearest(event_type, known) {
                let message = format!("`{name}` is not known to send `{event_type}`");
                self.warn(&from, message, Some(format!("did you mean `{name}:{near}`?")));
            }
        }
        Some(On::Type { provider: name.to_owned(), event_type: event_type.to_owned() })
    }

    fn on_kind(&mut self, word: &str, from: &Origin, catalog: &Catalog) -> Option<On> {
        let kinds = crate::kind::kinds();
        if kinds.get(word).is_some() {
            return Some(On::Kind(word.to_owned()));
        }
        let of_type = catalog
            .iter()
            .find(|p| p.types().iter().any(|(known, _)| known == word))
            .map(|p| format!("did you mean the type `{}:{word}`?", p.name));
        let near = nearest(word, kinds.iter().map(|kind| &*kind.name));
        let fix = of_type.or_else(|| near.map(|near| format!("did you mean `{near}`?")));
        self.error(from, format!("unknown kind `{word}`"), fix);
        None
    }

    fn when(&mut self, section: &mut Section<'_>) -> Option<Expression> {
        let setting = self.setting(section, "when")?;
        let when = self.expression(&setting)?;
        if when.reads_steps().is_none_or(|steps| !steps.is_empty()) {
            let message = format!("`{}` cannot see steps: none has run yet", setting.key);
            self.error(&setting.from, message, None);
        }
        Some(when)
    }

    fn steps(&mut self, section: &mut Section<'_>, dirs: &Dirs, retry: Backoff) -> Vec<Arc<Step>> {
        let path = section.path.clone();
        let tables = self.list(section, "steps");
        if tables.is_empty() || STEPS_MAX < tables.len() {
            let message = format!("{} wants 1 to {STEPS_MAX} steps", section.title());
            self.error(&section.from.clone(), message, Some(format!("[[{path}.steps]]")));
        }
        let steps: Vec<Read> =
            tables.into_iter().map(|table| self.step(table, &path, dirs, retry)).collect();
        self.check_needs(&steps);
        steps.into_iter().filter_map(|read| read.step.map(Arc::new)).collect()
    }

    fn step(
        &mut self,
        mut section: Section<'_>,
        workflow: &str,
        dirs: &Dirs,
        retry: Backoff,
    ) -> Read {
        let s = &mut section;
        let name_at = self.setting(s, "name").map(|setting| setting.from);
        let name = self.require(s, "name", units::text);
        if let (Some(name), Some(from)) = (&name, &name_at) {
            self.check_name(name, from);
            // From here on its settings are known by its name: RELAYFLOW_WORKFLOWS__W__STEPS__NAME__….
            s.path = format!("{workflow}.steps.{name}");
        }
        let needs_at = self.setting(s, "needs").map(|setting| setting.from);
        let needs = self.get(s, "needs", units::texts).unwrap_or_default();
        let usual = (TIMEOUT, show_duration(TIMEOUT));
        let timeout = self.get_or(s, "timeout", units::duration_to(TIMEOUT_MAX), usual);
        let dedupes = self.get(s, "dedupes", units::boolean);
        let order = self.order(s);
        let mut policy = self.section(s, "retry");
        let backoff = self.backoff(&mut policy, Some(retry));
        self.finish(&policy);
        let (http, command) = (self.setting(s, "http"), self.setting(s, "command"));
        let mut reads = Vec::new();
        let action = match (&http, &command) {
            (Some(_), None) => self.http(s, dirs, &mut reads),
            (None, Some(_)) => self.command(s, dirs, &mut reads),
            (None, None) | (Some(_), Some(_)) => {
                let message = format!("{} wants one action: `http` or `command`", s.title());
                self.error(&s.from.clone(), message, None);
                None
            }
        };
        let later = ["delay", "if", "connector", "email", "concurrency", "rate"];
        self.not_yet(s, &later);
        self.finish(&section);
        let needs_at = needs_at.or(name_at).unwrap_or(section.from);
        let name = name.unwrap_or_default();
        let step = action.zip(backoff).map(|((action, destination), backoff)| Step {
            name: name.as_str().into(),
            needs: needs.iter().map(|need| need.as_str().into()).collect(),
            timeout,
            backoff,
            dedupes,
            order,
            action,
            destination,
        });
        Read { name, needs, needs_at, step, reads }
    }

    /// In which order a step's tasks run: told when an event is routed, before any step has run.
    fn order(&mut self, step: &mut Section<'_>) -> Option<OrderBy> {
        let after_at = self.setting(step, "after_dead").map(|setting| setting.from);
        let holds_dead = self.get(step, "after_dead", after_dead);
        let Some(setting) = self.setting(step, "order_by") else {
            if let Some(from) = after_at {
                let message = format!("{} has `after_dead` and no `order_by`", step.title());
                self.error(&from, message, None);
            }
            return None;
        };
        let key = self.expression(&setting)?;
        if key.reads_steps().is_none_or(|steps| !steps.is_empty()) {
            let message = format!("`{}` cannot see steps: none has run yet", setting.key);
            self.error(&setting.from, message, None);
        }
        Some(OrderBy { key, holds_dead: holds_dead.unwrap_or(false) })
    }

    fn http(
        &mut self,
        step: &mut Section<'_>,
        dirs: &Dirs,
        reads: &mut Vec<(Origin, Option<Vec<String>>)>,
    ) -> Option<(Action, Option<Arc<str>>)> {
        let mut section = self.section(step, "http");
        let s = &mut section;
        let method = self.get_or(s, "method", method, (Method::POST, Method::POST.to_string()));
        let no = (false, "false".to_owned());
        let dynamic_host = self.get_or(s, "dynamic_host", units::boolean, no);
        let url = self.url(s, dynamic_host, reads);
        let headers = self.headers(s, dirs, reads);
        let body = self.setting(s, "body").and_then(|setting| {
            let body = self.expression(&setting)?;
            reads.push((setting.from, body.reads_steps()));
            Some(body)
        });
        self.finish(&section);
        let (url, destination) = url?;
        Some((Action::Http(HttpAction { method, url, headers, body, dynamic_host }), destination))
    }

    fn url(
        &mut self,
        section: &mut Section<'_>,
        dynamic_host: bool,
        reads: &mut Vec<(Origin, Option<Vec<String>>)>,
    ) -> Option<(Template, Option<Arc<str>>)> {
        let text = self.require(section, "url", units::text)?;
        let setting = self.setting(section, "url")?;
        let compiled = if dynamic_host {
            Template::dynamic_url(&text)
        } else {
            Template::new(&text, Escape::Url)
        };
        let url = self.compiled(&setting, &text, compiled)?;
        let head = &text[..host_end(&text)];
        if head.contains('{') {
            if !dynamic_host {
                let from = self.within(&setting.from, &text, &(0..head.len()));
                let message = "an event may not choose the host of a call".to_owned();
                let fix =
                    "write the host out, or set `dynamic_host = true` beside `url`".to_owned();
                self.error(&from, message, Some(fix));
                return None;
            }
            if url.reads_steps().is_none_or(|steps| !steps.is_empty()) {
                let message =
                    "a host cannot come from a step: it is told before any runs".to_owned();
                self.error(&setting.from, message, None);
            }
            return Some((url, None));
        }
        reads.push((setting.from.clone(), url.reads_steps()));
        match destination_of(head) {
            Ok(destination) => Some((url, Some(destination))),
            Err(message) => {
                let from = self.within(&setting.from, &text, &(0..head.len()));
                self.error(&from, message, None);
                None
            }
        }
    }

    /// `{ env = "NAME" }` or `{ file = "PATH" }`, such as the token of an API.
    fn secret_header(&mut self, setting: &Setting<'_>, dirs: &Dirs) -> Option<Template> {
        let secret = self.secret(setting, dirs.of(setting), Known::Secret)?;
        let text = std::str::from_utf8(secret.expose()).ok();
        let template = text.and_then(|text| Template::secret(text, Escape::Header).ok());
        if template.is_none() {
            let message = format!("`{}` cannot be the value of a header", setting.key);
            self.error(&setting.from, message, None);
        }
        template
    }

    fn headers(
        &mut self,
        of: &mut Section<'_>,
        dirs: &Dirs,
        reads: &mut Vec<(Origin, Option<Vec<String>>)>,
    ) -> Vec<(HeaderName, Template)> {
        let section = self.section(of, "headers");
        let mut headers: Vec<(HeaderName, Template)> = Vec::new();
        for (name, setting) in self.free(&section) {
            let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
                self.error(&setting.from, format!("`{name}` cannot name a header"), None);
                continue;
            };
            let is_own = OWN_HEADERS.contains(&header.as_str());
            if is_own || header.as_str().starts_with("proxy-") {
                self.error(&setting.from, format!("the header `{name}` cannot be set"), None);
                continue;
            }
            if headers.iter().any(|(other, _)| *other == header) {
                self.error(&setting.from, format!("the header `{name}` is there twice"), None);
                continue;
            }
            let template = if matches!(setting.raw, units::Raw::Toml(DeValue::Table(_))) {
                self.secret_header(&setting, dirs)
            } else {
                let is_secret = is_secret_name(&name);
                let shown = units::shown(&setting.raw);
                self.explain(&setting, if is_secret { "•••".to_owned() } else { shown });
                self.template(&setting, Escape::Header)
            };
            if let Some(template) = template {
                reads.push((setting.from, template.reads_steps()));
                headers.push((header, template));
            }
        }
        headers
    }

    fn command(
        &mut self,
        step: &mut Section<'_>,
        dirs: &Dirs,
        reads: &mut Vec<(Origin, Option<Vec<String>>)>,
    ) -> Option<(Action, Option<Arc<str>>)> {
        let mut section = self.section(step, "command");
        let place = self.setting(&mut section, "argv");
        let argv = self.require(&mut section, "argv", units::texts);
        let env = self.get(&mut section, "env", units::texts).unwrap_or_default();
        self.finish(&section);
        let (argv, place) = (argv?, place?);
        if let Some(bad) = env.iter().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
            self.error(&section.from, format!("`{bad}` cannot name a variable"), None);
        }
        let Some(program) = argv.first().filter(|program| !program.is_empty()) else {
            self.error(&place.from, "`argv` names no program".to_owned(), None);
            return None;
        };
        let mut arguments = Vec::with_capacity(argv.len());
        for text in &argv {
            let from = self.within(&place.from, text, &(0..text.len()));
            let one = Setting { from, ..place.clone() };
            let template = self.compiled(&one, text, Template::new(text, Escape::Plain))?;
            reads.push((one.from, template.reads_steps()));
            arguments.push(template);
        }
        if !arguments[0].is_static() {
            let from = self.within(&place.from, program, &(0..program.len()));
            self.error(&from, "an event may not choose the program".to_owned(), None);
            return None;
        }
        let destination = command_destination(program);
        let action = CommandAction { argv: arguments, env, dir: dirs.file.clone() };
        Some((Action::Command(action), Some(destination)))
    }

    fn expression(&mut self, setting: &Setting<'_>) -> Option<Expression> {
        let text = self.read(setting, units::text)?;
        self.explain(setting, text.clone());
        self.compiled(setting, &text, Expression::new(&text))
    }

    fn template(&mut self, setting: &Setting<'_>, escape: Escape) -> Option<Template> {
        let text = self.read(setting, units::text)?;
        self.compiled(setting, &text, Template::new(&text, escape))
    }

    fn compiled<T>(
        &mut self,
        setting: &Setting<'_>,
        text: &str,
        compiled: Result<T, ExprError>,
    ) -> Option<T> {
        match compiled {
            Ok(compiled) => Some(compiled),
            Err(e) => {
                let from = self.within(&setting.from, text, &e.span);
                self.error(&from, format!("`{}`: {}", setting.key, e.message), None);
                None
            }
        }
    }

    /// Every need is another step of the workflow, none leads back to itself, and a text reads only
    /// steps that have run by then.
    fn check_needs(&mut self, steps: &[Read]) {
        let mut names = HashSet::new();
        for Read { name, needs, needs_at, .. } in steps {
            if !names.insert(name) && !name.is_empty() {
                self.error(needs_at, format!("two steps are named `{name}`"), None);
            }
            for need in needs.iter().filter(|need| !steps.iter().any(|s| s.name == **need)) {
                let near = nearest(need, steps.iter().map(|other| other.name.as_str()));
                let fix = near.map(|near| format!("did you mean `{near}`?"));
                let at = self.within(needs_at, need, &(0..need.len()));
                self.error(&at, format!("`{name}` needs the unknown step `{need}`"), fix);
            }
            if before(steps, name).contains(name.as_str()) {
                self.error(needs_at, format!("`{name}` needs itself, in the end"), None);
            }
        }
        for Read { name, reads, .. } in steps {
            let before = before(steps, name);
            for (from, reads) in reads {
                let outside = match reads {
                    None => before.is_empty().then_some("…"),
                    Some(reads) => reads.iter().map(String::as_str).find(|r| !before.contains(r)),
                };
                if let Some(outside) = outside {
                    let message =
                        format!("`{name}` reads `steps.{outside}`, which it does not need");
                    let fix = format!("needs = [\"{outside}\"]");
                    self.error(from, message, Some(fix));
                }
            }
        }
    }
}

/// Every step that must have run before the step `name`.
fn before<'s>(steps: &'s [Read], name: &str) -> HashSet<&'s str> {
    let needs_of = |name: &str| {
        let read = steps.iter().find(|read| read.name == name);
        read.into_iter().flat_map(|read| read.needs.iter().map(String::as_str))
    };
    let mut found: HashSet<&str> = HashSet::new();
    let mut next: Vec<&str> = needs_of(name).collect();
    while let Some(need) = next.pop() {
        if found.insert(need) {
            next.extend(needs_of(need));
        }
    }
    found
}

/// What a dead task means to those behind it: whether it holds them.
fn after_dead(raw: &units::Raw<'_>) -> Result<bool, String> {
    match units::text(raw)?.as_str() {
        "go_on" => Ok(false),
        "hold" => Ok(true),
        other => Err(format!("this is `{other}`, wanted \"go_on\" or \"hold\"")),
    }
}

fn method(raw: &units::Raw<'_>) -> Result<Method, String> {
    let text = units::text(raw)?;
    METHODS.iter().find(|method| method.as_str() == text).cloned().ok_or_else(|| {
        let known: Vec<_> = METHODS.iter().map(Method::as_str).collect();
        format!("`{text}` is no method: wanted one of {}", known.join(", "))
    })
}
