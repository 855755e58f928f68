//! Ids: UUIDv7 behind a type each, shown with a prefix.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Crockford's base 32: no I, L, O or U, so that a digit read aloud is the digit that was meant.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const DIGIT_COUNT: usize = 26;

/// Text that is not an id of the wanted type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is not an id: wanted {prefix}_ and 26 digits, such as {prefix}_01J9ZC4K3V8XW2T5Q7R9S0ABCD"
)]
pub struct IdError {
    given: String,
    prefix: &'static str,
}

#[expect(clippy::disallowed_methods, reason = "the one place that draws ids")]
fn draw() -> Uuid {
    Uuid::now_v7()
}

/// When an id of these bytes was drawn, to the millisecond.
#[must_use]
pub fn drawn_at(bytes: &[u8; 16]) -> jiff::Timestamp {
    let ms = bytes[..6].iter().fold(0_i64, |ms, byte| ms << 8 | i64::from(*byte));
    crate::clock::from_micros(ms.saturating_mul(1000))
}

/// Declares an id type: a UUIDv7, shown as `prefix_` and 26 Crockford base-32 digits. Bytes and text
/// both sort by age.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// What its text begins with, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// The next id. Later calls in this process give greater ids.
            #[must_use]
            pub fn next() -> Self {
                Self(draw())
            }

            /// The sixteen bytes, as the store keeps them.
            #[must_use]
            pub fn bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// From the store's sixteen bytes; `None` for any other length.
            #[must_use]
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                Some(Self(Uuid::from_slice(bytes).ok()?))
            }

            /// The 128 bits as a number: a stable seed for decisions that must be repeatable.
            #[must_use]
            pub fn seed(&self) -> u64 {
                let (high, low) = self.0.as_u64_pair();
                high ^ low
            }

            /// The least and the greatest id that begin with `text`, which may be a whole id or the
            /// beginning of one, prefix included. `None` if no id can begin so.
            #[must_use]
            pub fn range(text: &str) -> Option<(Self, Self)> {
                let digits = strip(text, $prefix)?;
                let (low, high) = number_range(digits)?;
                Some((Self(Uuid::from_u128(low)), Self(Uuid::from_u128(high))))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!($prefix, "_"))?;
                write_digits(f, self.0.as_u128())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                strip(text, $prefix)
                    .filter(|digits| digits.len() == DIGIT_COUNT)
                    .and_then(number_range)
                    .map(|(number, _)| Self(Uuid::from_u128(number)))
                    .ok_or_else(|| IdError {
                        given: text.chars().take(64).collect(),
                        prefix: $prefix,
                    })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// One inbound HTTP request.
    RequestId, "req");
id!(
    /// One event.
    EventId, "evt");
id!(
    /// One step, for one event.
    TaskId, "tsk");
id!(
    /// One plan: a frozen set.
    PlanId, "pln");
id!(
    /// One replay.
    ReplayId, "rpl");
id!(
    /// One comparison of what a vendor says it sent with what arrived.
    ReconcileId, "rcn");
id!(
    /// One observed difference from a contract.
    DriftId, "drf");
id!(
    /// One process that runs tasks; drawn anew at every start, so that a restarted worker has no
    /// rights of its former life.
    WorkerId, "wrk");

impl RequestId {
    /// The correlation id of a request that brought none: a W3C trace id, which is this id's own
    /// 32 hexadecimal digits.
    #[must_use]
    pub fn as_trace_id(&self) -> String {
        self.0.simple().to_string()
    }

    /// The request whose correlation id `trace_id` is, if it has the form of one of ours.
    #[must_use]
    pub fn from_trace_id(trace_id: &str) -> Option<Self> {
        if trace_id.len() != 32 || trace_id.bytes().any(|b| b.is_ascii_uppercase()) {
            return None;
        }
        Uuid::try_parse(trace_id).ok().map(Self)
    }
}

fn strip<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let head = text.get(..prefix.len())?;
    let rest = text.get(prefix.len()..)?.strip_prefix('_')?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn write_digits(f: &mut fmt::Formatter<'_>, number: u128) -> fmt::Result {
    (0..DIGIT_COUNT).rev().try_for_each(|place| {
        let digit = usize::try_from((number >> (5 * place)) & 31).unwrap_or(0);
        f.write_char(char::from(DIGITS[digit]))
    })
}

/// The least and the greatest 128-bit number whose digits begin with `digits`.
fn number_range(digits: &str) -> Option<(u128, u128)> {
    if digits.len() > DIGIT_COUNT {
        return None;
    }
    let mut number: u128 = 0;
    for byte in digits.bytes() {
        let digit = DIGITS.iter().position(|d| *d == byte.to_ascii_uppercase())?;
        // 26 digits hold 130 bits: the first digit of a 128-bit number is at most 7.
        number = number.checked_mul(32)?.checked_add(u128::try_from(digit).ok()?)?;
    }
    let missing = DIGIT_COUNT - digits.len();
    if missing == 0 {
        return Some((number, number));
    }
    let shift = u32::try_from(5 * missing).ok()?;
    if shift >= 128 {
        return Some((0, u128::MAX));
    }
    if number >> (128 - shift) != 0 {
        return None;
    }
    let low = number << shift;
    Some((low, low | ((1_u128 << shift) - 1)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_and_bytes_sort_by_age() {
        let ids: Vec<_> = (0..100).map(|_| EventId::next()).collect();
        let texts: Vec<_> = ids.iter().map(ToString::to_string).collect();
        assert!(ids.is_sorted() && texts.is_sorted());
    }

    #[test]
    fn an_id_of_another_type_is_refused_with_what_was_wanted() {
        let error = RequestId::next().to_string().parse::<EventId>().unwrap_err();
        assert!(error.to_string().contains("wanted evt_"), "{error}");
    }

    #[test]
    fn the_first_digit_of_an_id_is_at_most_seven() {
        assert!("evt_8ZZZZZZZZZZZZZZZZZZZZZZZZZ".parse::<EventId>().is_err());
        assert!(EventId::range("evt_8").is_none());
    }

    #[test]
    fn a_trace_id_names_its_request() {
        let id = RequestId::next();
        assert_eq!(RequestId::from_trace_id(&id.as_trace_id()), Some(id));
        assert_eq!(RequestId::from_trace_id("not one"), None);
    }

    proptest! {
        #[test]
        fn every_id_reads_back_in_either_case(number: u128) {
            let id = EventId(Uuid::from_u128(number));
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(id.to_string().to_lowercase().parse(), Ok(id));
        }

        #[test]
        fn every_prefix_of_an_id_ranges_over_it(number: u128, digits in 0_usize..=26) {
            let id = TaskId(Uuid::from_u128(number));
            let (low, high) = TaskId::range(&id.to_string()[..4 + digits]).unwrap();
            prop_assert!(low <= id && id <= high);
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = text.parse::<EventId>();
            let _ = EventId::range(&text);
        }
    }
}
