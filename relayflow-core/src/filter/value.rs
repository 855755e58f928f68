//! What the values of a field are, and what they stand for.

use jiff::{SignedDuration, Timestamp};

use super::field::{self, Values};
use super::parse::{Parsed, Parser, Value};
use super::time::{parse_duration, parse_time, show_duration};
use super::{Field, Test, Word};
use crate::clock::from_micros;
use crate::event::micros;
use crate::id::{DriftId, EventId, PlanId, ReplayId, RequestId, TaskId};
use crate::text::nearest;

impl Parser<'_> {
    /// What one value stands for: several words where it is `status:failed`.
    pub(super) fn words(&self, field: &Field, values: Values, value: &Value) -> Parsed<Vec<Word>> {
        let plain = |text: String| vec![Word { text, is_wild: false }];
        let wrong = |message: String, advice: Option<String>| {
            Err(self.wrong(value.span.clone(), message, advice))
        };
        let name = if values == Values::Age { "age".to_owned() } else { field.name() };
        let shown = &value.text;
        match values {
            Values::Text | Values::Content => {
                let is_wild = !value.is_quoted && shown.contains('*');
                Ok(vec![Word { text: shown.clone(), is_wild }])
            }
            Values::Id(prefixes) => match id(shown, prefixes) {
                Some(id) => Ok(plain(id)),
                None => {
                    let wanted: Vec<_> = prefixes.iter().map(|p| format!("{p}_…")).collect();
                    let message = format!("'{shown}' is not an id that '{name}' can have");
                    wrong(message, Some(format!("such as {}", wanted.join(", "))))
                }
            },
            Values::Words(known) => {
                let lower = shown.to_ascii_lowercase();
                let several = match (field, lower.as_str()) {
                    (Field::Status, "failed") => field::FAILED.as_slice(),
                    (Field::Status, "open") => field::OPEN.as_slice(),
                    _ => &[],
                };
                if !several.is_empty() {
                    return Ok(several.iter().flat_map(|s| plain(s.as_str().to_owned())).collect());
                }
                if known.contains(&lower.as_str()) {
                    return Ok(plain(lower));
                }
                let more: &[&str] = if *field == Field::Status { &["failed", "open"] } else { &[] };
                let advice = nearest(&lower, known.iter().chain(more).copied()).map_or_else(
                    || format!("known are {}", known.join(", ")),
                    |near| format!("did you mean '{near}'?"),
                );
                wrong(format!("'{shown}' is not a value of '{name}'"), Some(advice))
            }
            Values::Number => match number(shown) {
                Some(number) => Ok(plain(number.to_string())),
                None => {
                    let advice = format!("such as {name}:3 or {name}:3..");
                    wrong(format!("'{shown}' is not a number"), Some(advice))
                }
            },
            Values::Age | Values::Time | Values::Duration | Values::Size => {
                let advice = format!("such as {name}:{}", values.example());
                wrong(format!("'{name}' wants a range"), Some(advice))
            }
            Values::Where => Ok(Vec::new()),
        }
    }

    /// `low..high`, where the field has ranges; elsewhere two dots are text.
    pub(super) fn range(&self, values: Values, value: &Value) -> Parsed<Option<Test>> {
        let read: &dyn Fn(&str) -> Result<i64, String> = match values {
            Values::Number => {
                &|text| number(text).ok_or_else(|| format!("'{text}' is not a number"))
            }
            Values::Time => &|text| {
                let moment = parse_time(text, self.now).map_err(|e| e.to_string())?;
                Ok(moment.as_microsecond())
            },
            Values::Age | Values::Duration => &|text| {
                let length =
                    parse_duration(&text.to_ascii_lowercase()).map_err(|e| e.to_string())?;
                i64::try_from(length.as_micros()).map_err(|e| e.to_string())
            },
            Values::Size => &|text| size(text).ok_or_else(|| format!("'{text}' is not a size")),
            Values::Text | Values::Id(_) | Values::Words(_) | Values::Content | Values::Where => {
                return Ok(None);
            }
        };
        let Some((low, high)) = value.text.split_once("..") else { return Ok(None) };
        let end = |text: &str, from: usize| {
            let span = value.span.start + from..value.span.start + from + text.len();
            let read = (!text.is_empty()).then(|| read(text)).transpose();
            read.map_err(|message| self.wrong(span, message, None))
        };
        let (low, high) = (end(low, 0)?, end(high, low.len() + 2)?);
        if low.is_none() && high.is_none() {
            return Err(self.wrong(value.span.clone(), "the range has no end at all", None));
        }
        let ago = |length: i64| self.now.now.as_microsecond().saturating_sub(length);
        let (low, high) = if values == Values::Age {
            // The older end is the earlier moment.
            (high.map(ago), low.map(ago))
        } else {
            (low, high)
        };
        if let (Some(low), Some(high)) = (low, high)
            && high < low
        {
            return Err(self.wrong(value.span.clone(), "the range ends before it begins", None));
        }
        let show: fn(i64) -> String = if matches!(values, Values::Age | Values::Time) {
            moment_text
        } else if values == Values::Duration {
            |us| show_duration(SignedDuration::from_micros(us))
        } else {
            |number| number.to_string()
        };
        Ok(Some(between(low, high, show)))
    }

    pub(super) fn moment(&self, value: &Value) -> Parsed<i64> {
        parse_time(&value.text, self.now)
            .map(Timestamp::as_microsecond)
            .map_err(|e| self.wrong(value.span.clone(), e.to_string(), None))
    }
}

pub(super) fn between(low: Option<i64>, high: Option<i64>, show: fn(i64) -> String) -> Test {
    let text = |end: Option<i64>| end.map(show).unwrap_or_default();
    let shown = format!("{}..{}", text(low), text(high));
    Test::Between { low, high, shown }
}

pub(super) fn moment_text(us: i64) -> String {
    micros(from_micros(us))
}

fn number(text: &str) -> Option<i64> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// `64KiB`, `1MiB`, `512B`, or a number of bytes.
fn size(text: &str) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = lower.split_at(digits);
    let factor = match unit {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    number(digits)?.checked_mul(factor)
}

/// An id of one of these prefixes, or the beginning of one, as ids are written.
pub(super) fn id(text: &str, prefixes: &[&str]) -> Option<String> {
    let (prefix, digits) = text.split_once('_')?;
    let prefix = prefix.to_ascii_lowercase();
    if digits.is_empty() || !prefixes.contains(&prefix.as_str()) {
        return None;
    }
    let is_one = match prefix.as_str() {
        EventId::PREFIX => EventId::range(text).is_some(),
        TaskId::PREFIX => TaskId::range(text).is_some(),
        RequestId::PREFIX => RequestId::range(text).is_some(),
        ReplayId::PREFIX => ReplayId::range(text).is_some(),
        PlanId::PREFIX => PlanId::range(text).is_some(),
        DriftId::PREFIX => DriftId::range(text).is_some(),
        _ => false,
    };
    is_one.then(|| format!("{prefix}_{}", digits.to_ascii_uppercase()))
}
