//! What an expression sees. Which fields it names is known when it is compiled, so that an
//! evaluation copies only those, and a payload that nobody looks at is never parsed.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use minijinja::value::{Enumerator, Object, Value};
use minijinja::{Error, ErrorKind};
use serde::Deserialize as _;
use serde_json::Map;

use super::ExprError;
use crate::event::{IntegrationEvent, Payload, micros};
use crate::text::nearest;

/// What an expression or template sees: `event`, `request.headers`, `source`,
/// `steps.<name>.response`.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    pub event: &'a IntegrationEvent,
    /// The kept headers of its request, names in lower case.
    pub headers: &'a [(String, String)],
    /// The steps that succeeded: name → `{"response": …}`.
    pub steps: &'a Map<String, serde_json::Value>,
}

/// The members of `event`.
pub const FIELDS: [&str; 14] = [
    "id",
    "source",
    "provider",
    "type",
    "kind",
    "external_id",
    "idempotency_key",
    "subject",
    "occurred_at",
    "received_at",
    "correlation_id",
    "contract",
    "attributes",
    "payload",
];
const ATTRIBUTES: usize = 12;
const PAYLOAD: usize = 13;

/// The other names at the top, and what minijinja brings.
const ROOTS: [&str; 4] = ["event", "request", "source", "steps"];
const FUNCTIONS: [&str; 3] = ["range", "dict", "namespace"];

/// Which parts of a scope a text looks at: a bit for each field, and three more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Needs(u32);

const ALL_FIELDS: u32 = (1 << FIELDS.len()) - 1;
const HEADERS: u32 = 1 << 20;
const SOURCE: u32 = 1 << 21;
const STEPS: u32 = 1 << 22;

impl Needs {
    /// From the dotted names that a text uses.
    ///
    /// # Errors
    ///
    /// A name that no scope has, with a suggestion.
    pub(super) fn of(names: &HashSet<String>, text: &str) -> Result<Self, ExprError> {
        let mut needs = 0;
        // Sorted, so that the same text gives the same error each time.
        let mut names: Vec<&String> = names.iter().collect();
        names.sort();
        for name in names {
            let mut parts = name.split('.');
            let (root, member) = (parts.next().unwrap_or_default(), parts.next());
            needs |= match (root, member) {
                ("event", None) => ALL_FIELDS,
                ("event", Some(member)) => match FIELDS.iter().position(|f| *f == member) {
                    Some(place) => 1 << place,
                    None => return Err(unknown(text, "event.", member, &FIELDS)),
                },
                ("request", None | Some("headers")) => HEADERS,
                ("request", Some(member)) => {
                    return Err(unknown(text, "request.", member, &["headers"]));
                }
                ("source", _) => SOURCE,
                ("steps", _) => STEPS,
                (function, _) if FUNCTIONS.contains(&function) => 0,
                (other, _) => return Err(unknown(text, "", other, &ROOTS)),
            };
        }
        Ok(Self(needs))
    }

    pub(super) fn payload(self) -> bool {
        self.0 & (1 << PAYLOAD) != 0
    }

    pub(super) fn headers(self) -> bool {
        self.0 & HEADERS != 0
    }

    fn field(self, place: usize) -> bool {
        self.0 & (1 << place) != 0
    }
}

fn unknown(text: &str, before: &str, name: &str, known: &[&str]) -> ExprError {
    let whole = format!("{before}{name}");
    let start = text.find(&whole);
    let span = start.map_or(0..text.len(), |s| s..s + whole.len());
    let advice = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{before}{near}`?"),
        None => format!("known are {}", known.join(", ")),
    };
    ExprError::new(span, format!("unknown name `{whole}`: {advice}"))
}

/// The steps named in `names` (`steps.crm.response.id`); `None` if any could be meant.
pub(super) fn steps_of(names: &HashSet<String>) -> Option<Vec<String>> {
    let mut steps = Vec::new();
    for name in names.iter().filter(|n| *n == "steps" || n.starts_with("steps.")) {
        steps.push(name.split('.').nth(1)?.to_owned());
    }
    steps.sort();
    steps.dedup();
    Some(steps)
}

/// A scope with what was read of it so far, shared by all that is evaluated over one event.
#[derive(Debug)]
pub struct Bound<'a> {
    scope: Scope<'a>,
    payload: OnceCell<Arc<LazyJson>>,
    attributes: OnceCell<Arc<LazyJson>>,
    headers: OnceCell<Value>,
    steps: OnceCell<Value>,
}

impl<'a> Bound<'a> {
    #[must_use]
    pub fn new(scope: Scope<'a>) -> Self {
        Self {
            scope,
            payload: OnceCell::new(),
            attributes: OnceCell::new(),
            headers: OnceCell::new(),
            steps: OnceCell::new(),
        }
    }

    /// The scope as minijinja wants it, with the parts that `needs` names.
    pub(super) fn context(&self, needs: Needs) -> Value {
        let event = (needs.0 & ALL_FIELDS != 0).then(|| self.event(needs));
        let headers = needs.headers().then(|| {
            let of = || Value::from_object(Headers(self.scope.headers.to_vec()));
            self.headers.get_or_init(of).clone()
        });
        let steps = (needs.0 & STEPS != 0)
            .then(|| self.steps.get_or_init(|| steps_value(self.scope.steps)).clone());
        let source = (needs.0 & SOURCE != 0).then(|| Value::from(&*self.scope.event.source));
        Value::from_object(Root { event, headers, source, steps })
    }

    fn event(&self, needs: Needs) -> Value {
        let event = self.scope.event;
        let mut fields: [Field; FIELDS.len()] = std::array::from_fn(|_| Field::Unused);
        for (place, field) in fields.iter_mut().enumerate().filter(|(place, _)| needs.field(*place))
        {
            *field = match place {
                ATTRIBUTES => Field::Json(Arc::clone(self.attributes.get_or_init(|| {
                    Arc::new(LazyJson::new(JsonText::Text(event.attributes.clone())))
                }))),
                PAYLOAD => Field::Json(Arc::clone(self.payload.get_or_init(|| {
                    // A slice of the request's body is shared, not copied.
                    Arc::new(LazyJson::new(JsonText::Payload(event.payload.clone())))
                }))),
                _ => Field::Plain(plain(event, place)),
            };
        }
        Value::from_object(EventObject(fields))
    }
}

fn steps_value(steps: &Map<String, serde_json::Value>) -> Value {
    Value::deserialize(steps).unwrap_or_else(|e| {
        Value::from(Error::new(ErrorKind::BadSerialization, format!("steps cannot be read: {e}")))
    })
}

/// A field of the envelope, by its place in [`FIELDS`].
fn plain(event: &IntegrationEvent, place: usize) -> Value {
    let optional = |text: Option<&str>| text.map_or(Value::from(()), Value::from);
    match place {
        0 => Value::from(event.id.to_string()),
        1 => Value::from(&*event.source),
        2 => Value::from(&*event.provider),
        3 => Value::from(event.event_type.as_str()),
        4 => optional(event.kind.as_deref()),
        5 => Value::from(event.external_id.as_str()),
        6 => Value::from(event.idempotency_key()),
        7 => optional(event.subject.as_deref()),
        8 => Value::from(micros(event.occurred_at)),
        9 => Value::from(micros(event.received_at)),
        10 => Value::from(event.correlation_id.as_str()),
        11 => Value::from(&*event.contract),
        _ => Value::UNDEFINED,
    }
}

#[derive(Debug)]
struct Root {
    event: Option<Value>,
    headers: Option<Value>,
    source: Option<Value>,
    steps: Option<Value>,
}

impl Object for Root {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match key {
            "event" => self.event.clone(),
            "source" => self.source.clone(),
            "steps" => self.steps.clone(),
            "request" => Some(Value::from_object(RequestObject(self.headers.clone()?))),
            _ => None,
        }
    }
}

#[derive(Debug)]
enum Field {
    Unused,
    Plain(Value),
    Json(Arc<LazyJson>),
}

#[derive(Debug)]
struct EventObject([Field; FIELDS.len()]);

impl Object for EventObject {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let place = FIELDS.iter().position(|field| *field == key)?;
        match &self.0[place] {
            Field::Unused => None,
            Field::Plain(value) => Some(value.clone()),
            Field::Json(json) => Some(json.value()),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&FIELDS)
    }
}

#[derive(Debug)]
struct RequestObject(Value);

impl Object for RequestObject {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        (key.as_str() == Some("headers")).then(|| self.0.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["headers"])
    }
}

/// Headers by name, in any case; the values of one that came several times are joined.
#[derive(Debug)]
struct Headers(Vec<(String, String)>);

impl Object for Headers {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        let same = |header: &&(String, String)| header.0.eq_ignore_ascii_case(name);
        let values: Vec<&str> = self.0.iter().filter(same).map(|(_, v)| v.as_str()).collect();
        (!values.is_empty()).then(|| Value::from(values.join(", ")))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let mut names: Vec<Value> = Vec::new();
        for (name, _) in &self.0 {
            let name = Value::from(name.as_str());
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Enumerator::Values(names)
    }
}

/// JSON text that is parsed when somebody looks at it, once.
#[derive(Debug)]
struct LazyJson {
    text: JsonText,
    value: OnceLock<Value>,
}

#[derive(Debug)]
enum JsonText {
    Text(String),
    Payload(Payload),
}

impl LazyJson {
    fn new(text: JsonText) -> Self {
        Self { text, value: OnceLock::new() }
    }

    /// The value; where the text does not parse (a number that fits nowhere), one that fails
    /// whatever is done with it.
    fn value(&self) -> Value {
        let parse = || {
            let text = match &self.text {
                JsonText::Text(text) => text,
                JsonText::Payload(payload) => payload.json(),
            };
            serde_json::from_str::<Value>(text).unwrap_or_else(|e| {
                let why = format!("the JSON cannot be read here: {e}");
                Value::from(Error::new(ErrorKind::BadSerialization, why))
            })
        };
        self.value.get_or_init(parse).clone()
    }
}
