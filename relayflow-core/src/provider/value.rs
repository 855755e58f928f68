//! A vendor's text for a moment, an amount, an address … as RelayFlow writes it.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::definition::Unit;
use crate::clock::from_micros;
use crate::event::{micros, push_json};
use crate::kind::AttributeType;

/// From this number on, a count since 1970 is of milliseconds: as seconds it would be the year 5138.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// Currencies whose smallest unit is not a hundredth (ISO 4217).
const WITHOUT_MINOR: [&str; 17] = [
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND",
    "VUV", "XAF", "XOF", "XPF",
];
const WITH_THOUSANDTHS: [&str; 7] = ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];

/// A moment in a signature: ASCII digits and nothing else, few enough that sums cannot overflow; or
/// RFC 3339.
pub(super) fn signed_moment(text: &str, unit: Unit) -> Option<Timestamp> {
    match unit {
        Unit::Rfc3339 => return rfc3339(text),
        Unit::HttpDate => return http_date(text),
        Unit::Seconds | Unit::Milliseconds | Unit::SecondsOrMilliseconds => {}
    }
    let digits_max = if unit == Unit::Seconds { 12 } else { 15 };
    let are_digits = text.bytes().all(|b| b.is_ascii_digit());
    if text.is_empty() || digits_max < text.len() || !are_digits {
        return None;
    }
    count(text, unit)
}

/// A moment in an event, as forgiving as vendors are loose; in whole microseconds.
pub(super) fn moment(text: &str, unit: Unit) -> Option<Timestamp> {
    match unit {
        Unit::Rfc3339 => rfc3339(text.trim()),
        Unit::HttpDate => http_date(text.trim()),
        Unit::Seconds | Unit::Milliseconds | Unit::SecondsOrMilliseconds => {
            count(text.trim(), unit)
        }
    }
}

/// A count since 1970, with or without a fraction.
fn count(text: &str, unit: Unit) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let is_milliseconds = match unit {
        Unit::Seconds | Unit::Rfc3339 | Unit::HttpDate => false,
        Unit::Milliseconds => true,
        Unit::SecondsOrMilliseconds => MILLISECONDS_FROM <= whole.abs(),
    };
    let (per_unit, places) = if is_milliseconds { (1_000, 3) } else { (1_000_000, 6) };
    let part: i64 = match fraction.get(..fraction.len().min(places)) {
        None | Some("") => 0,
        Some(digits) => {
            let missing = u32::try_from(places - digits.len()).ok()?;
            digits.parse::<i64>().ok()?.checked_mul(10_i64.checked_pow(missing)?)?
        }
    };
    let part = if text.starts_with('-') { -part } else { part };
    let us = whole.checked_mul(per_unit)?.checked_add(part)?;
    Timestamp::from_microsecond(us).ok()
}

/// A date of RFC 9110 or RFC 2822.
fn http_date(text: &str) -> Option<Timestamp> {
    if 40 < text.len() {
        return None;
    }
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

/// RFC 3339 and its neighbours: a space for the `T`, ` UTC` for the `Z`, an offset without a colon or
/// behind a space, no zone at all (then it is UTC).
fn rfc3339(text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix(" UTC").unwrap_or(text);
    if !text.as_bytes().first().is_some_and(u8::is_ascii_digit) || 40 < text.len() {
        return None;
    }
    let joined = text.rsplit_once(' ').filter(|(_, zone)| zone.starts_with(['+', '-']));
    let text = &joined.map_or(Cow::Borrowed(text), |(at, zone)| Cow::Owned(format!("{at}{zone}")));
    let at = match text.parse::<Timestamp>() {
        Ok(at) => at,
        Err(_) => Offset::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok()?,
    };
    Some(from_micros(at.as_microsecond()))
}

/// Appends an attribute's value as JSON; `false`, and nothing, if the text is not one of its type.
pub(super) fn push(
    out: &mut String,
    text: &str,
    value: AttributeType,
    unit: Option<Unit>,
    major: Option<&str>,
) -> bool {
    let text = text.trim();
    if text.is_empty() {
        return false;
    }
    match value {
        AttributeType::Text | AttributeType::Phone | AttributeType::Url => push_json(out, text),
        AttributeType::Email => match address(text) {
            Some(address) => push_json(out, address),
            None => return false,
        },
        AttributeType::Currency => match currency(text) {
            Some(code) => push_json(out, &code),
            None => return false,
        },
        AttributeType::Integer => {
            let places = major.map_or(0, minor_digits);
            match decimal(text, places, major.is_some()) {
                Some(number) => out.push_str(&number.to_string()),
                None => return false,
            }
        }
        AttributeType::Boolean => match text {
            "true" | "false" => out.push_str(text),
            _ => return false,
        },
        AttributeType::Time => match moment(text, unit.unwrap_or(Unit::Rfc3339)) {
            Some(at) => push_json(out, &micros(at)),
            None => return false,
        },
    }
    true
}

/// The address in `Name <address>`, or the whole.
fn address(text: &str) -> Option<&str> {
    let inner = match (text.rfind('<'), text.rfind('>')) {
        (Some(from), Some(to)) if from < to => text.get(from + 1..to)?,
        _ => text,
    };
    let is_one = inner.contains('@') && !inner.contains(|c: char| c.is_whitespace() || c == ',');
    is_one.then_some(inner)
}

pub(super) fn currency(text: &str) -> Option<String> {
    let is_code = text.len() == 3 && text.bytes().all(|b| b.is_ascii_alphabetic());
    is_code.then(|| text.to_ascii_uppercase())
}

/// How many decimal places a currency's smallest unit is away from its unit.
fn minor_digits(currency: &str) -> usize {
    if WITHOUT_MINOR.contains(&currency) {
        0
    } else if WITH_THOUSANDTHS.contains(&currency) {
        3
    } else {
        2
    }
}

/// `text` times 10 to the power of `places`. A fraction beyond that must be zeros, unless it
/// `rounds` (a major amount with more places than the currency has is cut).
fn decimal(text: &str, places: usize, rounds: bool) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let (kept, rest) = fraction.split_at(fraction.len().min(places));
    if !rounds && rest.bytes().any(|b| b != b'0') {
        return None;
    }
    let padded = format!("{whole}{kept:0<places$}");
    padded.parse::<i64>().ok()?.checked_mul(sign)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check_moment(text: &str, unit: Unit, expected: Option<&str>) {
        assert_eq!(moment(text, unit).map(micros).as_deref(), expected, "{text} {unit:?}");
    }

    #[test]
    fn a_moment_is_read_as_vendors_write_it() {
        check_moment("1767607203", Unit::Seconds, Some("2026-01-05T10:00:03.000000Z"));
        check_moment("1534109600.089676", Unit::Seconds, Some("2018-08-12T21:33:20.089676Z"));
        check_moment("1564113600000", Unit::Milliseconds, Some("2019-07-26T04:00:00.000000Z"));
        check_moment(
            "Wed, 08 Mar 2023 06:12:22 GMT",
            Unit::HttpDate,
            Some("2023-03-08T06:12:22.000000Z"),
        );
        check_moment("2023-03-08T06:12:22Z", Unit::HttpDate, None);
        check_moment(
            "2021-04-28 21:50:00 +0200",
            Unit::Rfc3339,
            Some("2021-04-28T19:50:00.000000Z"),
        );
        check_moment(
            "1564113600000",
            Unit::SecondsOrMilliseconds,
            Some("2019-07-26T04:00:00.000000Z"),
        );
        check_moment(
            "1564113600",
            Unit::SecondsOrMilliseconds,
            Some("2019-07-26T04:00:00.000000Z"),
        );
        check_moment(
            "2021-02-19T23:47:00.8091512Z",
            Unit::Rfc3339,
            Some("2021-02-19T23:47:00.809151Z"),
        );
        check_moment(
            "2014-08-01T13:28:10.2735393-04:00",
            Unit::Rfc3339,
            Some("2014-08-01T17:28:10.273539Z"),
        );
        check_moment(
            "2024-10-18T14:42:53.064834",
            Unit::Rfc3339,
            Some("2024-10-18T14:42:53.064834Z"),
        );
        check_moment("2015-05-17 17:06:40 UTC", Unit::Rfc3339, Some("2015-05-17T17:06:40.000000Z"));
        check_moment(
            "2017-09-19T09:58:11+1000",
            Unit::Rfc3339,
            Some("2017-09-18T23:58:11.000000Z"),
        );
        check_moment(
            "2025-09-10T21:31:25.179851517Z",
            Unit::Rfc3339,
            Some("2025-09-10T21:31:25.179851Z"),
        );
        check_moment("99999999999999999999", Unit::Seconds, None);
        check_moment("9223372036854775807", Unit::Seconds, None);
        check_moment("1e9", Unit::Seconds, None);
        check_moment("yesterday", Unit::Rfc3339, None);
    }

    #[test]
    fn a_signed_moment_is_digits_alone() {
        for bad in
            ["", " 1767607203", "+1767607203", "-1", "1767607203.5", "1234567890123", "１７６"]
        {
            assert_eq!(signed_moment(bad, Unit::Seconds), None, "{bad}");
        }
        assert!(signed_moment("999999999999", Unit::Seconds).is_none_or(|at| at <= Timestamp::MAX));
        assert!(signed_moment("1680447533390", Unit::Milliseconds).is_some());
    }

    #[track_caller]
    fn check(text: &str, value: AttributeType, major: Option<&str>, expected: Option<&str>) {
        let mut out = String::new();
        let pushed = push(&mut out, text, value, Some(Unit::Seconds), major);
        assert_eq!(pushed.then_some(out.as_str()), expected, "{text} {value:?}");
    }

    #[test]
    fn a_value_is_written_as_its_type() {
        use AttributeType::{Boolean, Currency, Email, Integer, Text, Time};
        check("4200", Integer, None, Some("4200"));
        check("4200.00", Integer, None, Some("4200"));
        check("42.5", Integer, None, None);
        check("398.00", Integer, Some("EUR"), Some("39800"));
        check("398", Integer, Some("JPY"), Some("398"));
        check("1.5", Integer, Some("KWD"), Some("1500"));
        check("-0.05", Integer, Some("USD"), Some("-5"));
        check("9999999999999999999", Integer, None, None);
        check("usd", Currency, None, Some("\"USD\""));
        check("dollars", Currency, None, None);
        check("Ann <ann@example.com>", Email, None, Some("\"ann@example.com\""));
        check("nobody", Email, None, None);
        check("true", Boolean, None, Some("true"));
        check("yes", Boolean, None, None);
        check("1767607203", Time, None, Some("\"2026-01-05T10:00:03.000000Z\""));
        check("\u{9b}31m", Text, None, Some("\"\\u009b31m\""));
        check("", Text, None, None);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_written_is_json(text: String, digits in "-?[0-9.]{0,25}") {
            for text in [&text, &digits] {
                for unit in [Unit::Seconds, Unit::Milliseconds, Unit::SecondsOrMilliseconds, Unit::Rfc3339] {
                    let _ = moment(text, unit);
                    let _ = signed_moment(text, unit);
                }
                for value in [AttributeType::Text, AttributeType::Integer, AttributeType::Email, AttributeType::Time] {
                    let mut out = String::new();
                    if push(&mut out, text, value, Some(Unit::Seconds), Some("EUR")) {
                        prop_assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok());
                    }
                }
            }
        }
    }
}
