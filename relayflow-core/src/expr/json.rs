//! Values of an expression as JSON: everything that JSON cannot say is an error.

use minijinja::value::{Value as Engine, ValueKind};
use minijinja::{Error, ErrorKind};
use serde_json::{Map, Number, Value};

/// How deep a result may nest: less than what serde_json reads back (128).
const DEPTH_MAX: usize = 64;
/// How many values a result may hold, and how many bytes of text.
const VALUES_MAX: usize = 100_000;
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// `value` as JSON.
///
/// # Errors
///
/// Undefined anywhere in it, what is no data, infinities, a depth above 64, more than 100,000 values
/// or 4 MiB.
pub(super) fn from_engine(value: &Engine) -> Result<Value, String> {
    Budget { values: VALUES_MAX, bytes: BYTES_MAX }.convert(value, DEPTH_MAX)
}

/// `|tojson`: without minijinja's `indent`, which can ask for gigabytes, and not for what is undefined.
pub(super) fn filter(value: &Engine) -> Result<String, Error> {
    let json = from_engine(value).map_err(|m| Error::new(ErrorKind::InvalidOperation, m))?;
    Ok(json.to_string())
}

struct Budget {
    values: usize,
    bytes: usize,
}

impl Budget {
    #[expect(clippy::wildcard_enum_match_arm, reason = "minijinja's list is open")]
    fn convert(&mut self, value: &Engine, depth: usize) -> Result<Value, String> {
        self.values = self.values.checked_sub(1).ok_or("the value is too large")?;
        match value.kind() {
            ValueKind::Undefined => Err("a value in it is undefined".to_owned()),
            ValueKind::None => Ok(Value::Null),
            ValueKind::Bool => Ok(Value::Bool(value.is_true())),
            ValueKind::Number => number(value),
            ValueKind::String => self.text(value).map(Value::String),
            ValueKind::Seq | ValueKind::Iterable => self.list(value, inner(depth)?),
            ValueKind::Map => self.map(value, inner(depth)?),
            kind => Err(format!("a {kind} is no JSON value")),
        }
    }

    fn text(&mut self, value: &Engine) -> Result<String, String> {
        let text = value.as_str().ok_or("a text that is not UTF-8")?;
        self.bytes = self.bytes.checked_sub(text.len()).ok_or("the value is longer than 4 MiB")?;
        Ok(text.to_owned())
    }

    fn list(&mut self, value: &Engine, depth: usize) -> Result<Value, String> {
        let items = value.try_iter().map_err(|e| told(&e))?;
        let list: Result<Vec<_>, _> =
            items.checked().map(|item| self.convert(&item.map_err(|e| told(&e))?, depth)).collect();
        list.map(Value::Array)
    }

    fn map(&mut self, value: &Engine, depth: usize) -> Result<Value, String> {
        let mut map = Map::new();
        for key in value.try_iter().map_err(|e| told(&e))?.checked() {
            let key = key.map_err(|e| told(&e))?;
            if key.kind() != ValueKind::String {
                return Err(format!("`{key}` is not a text, so it cannot name a member"));
            }
            let name = self.text(&key)?;
            let member = value.get_item(&key).map_err(|e| told(&e))?;
            map.insert(name, self.convert(&member, depth)?);
        }
        Ok(Value::Object(map))
    }
}

fn inner(depth: usize) -> Result<usize, String> {
    depth.checked_sub(1).ok_or_else(|| "the value nests too deep".to_owned())
}

fn number(value: &Engine) -> Result<Value, String> {
    if value.is_integer() {
        if let Ok(n) = i64::try_from(value.clone()) {
            return Ok(Value::from(n));
        }
        if let Ok(n) = u64::try_from(value.clone()) {
            return Ok(Value::from(n));
        }
        return Err(format!("the number {value} does not fit in 64 bits"));
    }
    let float = f64::try_from(value.clone()).map_err(|e| told(&e))?;
    Number::from_f64(float).map(Value::Number).ok_or_else(|| format!("{float} is no JSON number"))
}

fn told(error: &Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)
}
