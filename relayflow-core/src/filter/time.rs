//! Times and durations as people write them (`cli.md`, 4).

use jiff::civil;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

/// The moment and the place from which a relative time is read.
#[derive(Debug, Clone)]
pub struct Now {
    pub now: Timestamp,
    pub zone: TimeZone,
}

/// A text that is no time or duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TimeError(String);

const UNITS: [(&str, i64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
/// A century: longer is a slip, and stays far from the ends of what jiff can add.
const LONGEST_MS: i64 = 36_525 * 86_400_000;

/// How a moment can be written, each with what it means. A test reads every one of them.
pub const TIME_FORMS: [(&str, &str); 10] = [
    ("90s 15m 2h 3d 1d12h", "that long ago"),
    ("14:05 14:05:30", "today, local; yesterday where that is still to come"),
    ("2026-11-23", "local midnight"),
    ("2026-11-23T14:05", "local time"),
    ("2026-11-23T14:05:00Z", "exactly that"),
    ("2026-11-23T14:05:00+01:00", "exactly that"),
    ("@1763906700", "seconds since 1970"),
    ("now", "this moment"),
    ("today", "local midnight"),
    ("yesterday", "the local midnight before"),
];

/// `90s`, `15m`, `2h`, `3d`, `1d12h`, `500ms`: parts from the greatest to the least.
///
/// # Errors
///
/// Anything else, and more than a century.
pub fn parse_duration(text: &str) -> Result<SignedDuration, TimeError> {
    let wrong = || {
        TimeError(format!("`{text}` is not a duration: wanted such as 90s, 15m, 2h, 3d or 1d12h"))
    };
    let (mut rest, mut last_unit, mut total) = (text, i64::MAX, 0_i64);
    while !rest.is_empty() || last_unit == i64::MAX {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (name, after) = after.split_at(letters);
        let (_, unit) = UNITS.iter().find(|(unit, _)| *unit == name).ok_or_else(wrong)?;
        if last_unit <= *unit {
            return Err(wrong());
        }
        let number: i64 = number.parse().map_err(|_| wrong())?;
        total = number.checked_mul(*unit).and_then(|ms| ms.checked_add(total)).ok_or_else(wrong)?;
        (rest, last_unit) = (after, *unit);
    }
    if LONGEST_MS < total {
        return Err(TimeError(format!("`{text}` is longer than a century")));
    }
    Ok(SignedDuration::from_millis(total))
}

/// A duration in the form that [`parse_duration`] reads; what is less than a millisecond is lost.
#[must_use]
pub fn show_duration(duration: SignedDuration) -> String {
    let mut left = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).max(0);
    let mut out = String::new();
    for (name, unit) in UNITS.iter().rev() {
        if left >= *unit {
            out.push_str(&format!("{}{name}", left / unit));
            left %= unit;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

/// A moment: a duration ago, a time of today (of yesterday, where that is still to come), a local date
/// or time, an RFC 3339 moment, `@` seconds since 1970, `now`, `today`, `yesterday`.
///
/// # Errors
///
/// Anything else; a local time that a change of clocks left out is moved, not refused.
pub fn parse_time(text: &str, at: &Now) -> Result<Timestamp, TimeError> {
    let word = text.to_ascii_lowercase();
    let today = at.zone.to_datetime(at.now).date();
    match word.as_str() {
        "now" => return Ok(at.now),
        "today" => return local(today.to_datetime(civil::Time::midnight()), at),
        "yesterday" => {
            let date = today.saturating_sub(1.day());
            return local(date.to_datetime(civil::Time::midnight()), at);
        }
        _ => {}
    }
    if let Some(seconds) = word.strip_prefix('@') {
        return since_1970(seconds, text);
    }
    if let Ok(ago) = parse_duration(&word) {
        return at.now.checked_sub(ago).map_err(|_| wrong(text));
    }
    if let Some(time) = time_of_day(&word) {
        let of_today = local(today.to_datetime(time), at)?;
        if of_today <= at.now {
            return Ok(of_today);
        }
        return local(today.saturating_sub(1.day()).to_datetime(time), at);
    }
    if let Ok(moment) = text.to_ascii_uppercase().parse::<Timestamp>() {
        return Ok(moment);
    }
    let is_local = |c: char| c.is_ascii_digit() || matches!(c, '-' | ':' | '.' | 't');
    if word.len() >= 10
        && word.chars().all(is_local)
        && let Ok(date_time) = word.parse::<civil::DateTime>()
    {
        return local(date_time, at);
    }
    Err(wrong(text))
}

fn since_1970(seconds: &str, text: &str) -> Result<Timestamp, TimeError> {
    if !seconds.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong(text));
    }
    let seconds: i64 = seconds.parse().map_err(|_| wrong(text))?;
    Timestamp::from_second(seconds).map_err(|_| wrong(text))
}

/// `14:05` or `14:05:30`.
fn time_of_day(text: &str) -> Option<civil::Time> {
    let mut parts = text.split(':');
    let mut part = || {
        let part = parts.next()?;
        let fits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        if fits { part.parse::<i8>().ok() } else { None }
    };
    let (hour, minute, second) = (part()?, part()?, part());
    let second = if text.len() > 5 { second? } else { 0 };
    if parts.next().is_some() {
        return None;
    }
    civil::Time::new(hour, minute, second, 0).ok()
}

fn local(date_time: civil::DateTime, at: &Now) -> Result<Timestamp, TimeError> {
    at.zone.to_timestamp(date_time).map_err(|e| TimeError(format!("no such time here: {e}")))
}

fn wrong(text: &str) -> TimeError {
    TimeError(format!(
        "`{text}` is not a time: wanted such as 2h, 14:05, 2026-11-23, 2026-11-23T14:05:00Z or today"
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-24 09:30 in a zone that is an hour ahead of UTC.
    fn at() -> Now {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        Now { now: "2026-11-24T08:30:00Z".parse().unwrap(), zone }
    }

    #[test]
    fn a_time_is_read_in_every_form() {
        for (text, moment) in [
            ("now", "2026-11-24T08:30:00Z"),
            ("today", "2026-11-23T23:00:00Z"),
            ("Yesterday", "2026-11-22T23:00:00Z"),
            ("90s", "2026-11-24T08:28:30Z"),
            ("1d12h", "2026-11-22T20:30:00Z"),
            ("09:05", "2026-11-24T08:05:00Z"),
            ("14:05:30", "2026-11-23T13:05:30Z"),
            ("2026-11-23", "2026-11-22T23:00:00Z"),
            ("2026-11-23T14:05", "2026-11-23T13:05:00Z"),
            ("2026-11-23T14:05:00Z", "2026-11-23T14:05:00Z"),
            ("2026-11-23t14:05:00+02:00", "2026-11-23T12:05:00Z"),
            ("@1763906700", "2025-11-23T14:05:00Z"),
        ] {
            let expected: Timestamp = moment.parse().unwrap();
            assert_eq!(parse_time(text, &at()), Ok(expected), "{text}");
        }
        for text in [
            "",
            "soon",
            "25:00",
            "9:05",
            "14:5",
            "@-1",
            "@x",
            "2h3d",
            "2026",
            "2026-13-01",
            "-1h",
            "h",
            "1",
        ] {
            assert!(parse_time(text, &at()).is_err(), "{text}");
        }
    }

    #[test]
    fn every_form_that_is_told_is_read() {
        for form in TIME_FORMS.iter().flat_map(|(forms, _)| forms.split(' ')) {
            assert!(parse_time(form, &at()).is_ok(), "{form}");
        }
    }

    #[test]
    fn a_duration_is_read_and_shown() {
        for (text, ms) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("1d12h", 129_600_000),
            ("1m1s1ms", 61_001),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(SignedDuration::from_millis(ms)), "{text}");
            assert_eq!(show_duration(SignedDuration::from_millis(ms)), text);
        }
        for text in
            ["", "5", "s", "1h1d", "1s1s", "1.5s", "-1s", "99999999999999999999s", "40000d", " 1s"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text: String) {
            let _ = parse_time(&text, &at());
            let _ = parse_duration(&text);
        }

        #[test]
        fn a_shown_duration_reads_back(ms in 0..LONGEST_MS) {
            let duration = SignedDuration::from_millis(ms);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }
    }
}
