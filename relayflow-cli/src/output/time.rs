//! Times and amounts of time, as people read them.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use relayflow_core::text;

use crate::args::TimeKind;

/// A moment of the wire, as asked for; what is no moment is shown as it is.
pub(crate) fn show(wire: &str, kind: TimeKind, now: Timestamp, zone: &TimeZone) -> String {
    let Ok(at) = wire.parse::<Timestamp>() else {
        return text::line(wire).into_owned();
    };
    match kind {
        TimeKind::Utc => wire.to_owned(),
        TimeKind::Local => {
            at.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
        }
        TimeKind::Rel => {
            let age = now.duration_since(at);
            if age.is_negative() && SignedDuration::from_secs(1) < age.abs() {
                format!("in {}", amount(age.abs()))
            } else {
                format!("{} ago", amount(age.max(SignedDuration::ZERO)))
            }
        }
    }
}

/// The time of day, where the day is clear.
pub(crate) fn clock(wire: &str, zone: &TimeZone) -> String {
    match wire.parse::<Timestamp>() {
        Ok(at) => at.to_zoned_datetime(zone.clone()).strftime("%H:%M:%S").to_string(),
        Err(_) => text::line(wire).into_owned(),
    }
}

/// The time of day, with the day where that is not the day of `seen`.
pub(crate) fn moment(wire: &str, seen: &str, zone: &TimeZone) -> String {
    let (Ok(at), Ok(seen)) = (wire.parse::<Timestamp>(), seen.parse::<Timestamp>()) else {
        return clock(wire, zone);
    };
    let (at, seen) = (at.to_zoned_datetime(zone.clone()), seen.to_zoned_datetime(zone.clone()));
    let pattern = if at.date() == seen.date() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M" };
    at.strftime(pattern).to_string()
}

/// When something to come ends, seen from `now`: the time of day, with the day where that is another
/// one.
pub(crate) fn until(wire: &str, zone: &TimeZone, now: Timestamp) -> String {
    let Ok(at) = wire.parse::<Timestamp>() else {
        return text::line(wire).into_owned();
    };
    let (at, now) = (at.to_zoned_datetime(zone.clone()), now.to_zoned_datetime(zone.clone()));
    let pattern = if at.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    at.strftime(pattern).to_string()
}

/// An amount of time in at most two units: `9m`, `2h 3m`, `51s`, `3d 2h`.
pub(crate) fn amount(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| {
        if small == 0 {
            format!("{big}{big_unit}")
        } else {
            format!("{big}{big_unit} {small}{small_unit}")
        }
    };
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3600 => two(minutes, "m", seconds % 60, "s"),
        3600..86_400 => two(hours, "h", minutes, "m"),
        _ => two(days, "d", hours, "h"),
    }
}

/// Milliseconds at the precision that they are worth: `0.4 ms`, `131 ms`, `2.1 s`, `2m 14s`.
pub(crate) fn millis(ms: f64) -> String {
    if ms < 10.0 {
        format!("{ms:.1} ms")
    } else if ms < 1000.0 {
        format!("{ms:.0} ms")
    } else if ms < 60_000.0 {
        format!("{:.1} s", ms / 1000.0)
    } else {
        amount(SignedDuration::try_from_secs_f64(ms / 1000.0).unwrap_or(SignedDuration::MAX))
    }
}

/// A count with thousands separated: `8,412`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if 0 < place && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count of things, with the word in the number that it needs.
pub(crate) fn things(number: u64, word: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {word}{s}", count(number))
}

/// How long from one moment of the wire to another, in milliseconds.
pub(crate) fn between_ms(from: &str, to: &str) -> Option<i64> {
    let (from, to) = (from.parse::<Timestamp>().ok()?, to.parse::<Timestamp>().ok()?);
    i64::try_from(to.duration_since(from).as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_has_at_most_two_units() {
        for (seconds, shown) in [
            (0, "0s"),
            (51, "51s"),
            (60, "1m"),
            (662, "11m 2s"),
            (3600, "1h"),
            (7380, "2h 3m"),
            (86_400, "1d"),
            (266_400, "3d 2h"),
        ] {
            assert_eq!(amount(SignedDuration::from_secs(seconds)), shown);
        }
    }

    #[test]
    fn counts_are_separated_by_thousands() {
        for (number, shown) in [(0, "0"), (412, "412"), (1204, "1,204"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), shown);
        }
    }

    #[test]
    fn another_day_is_said() {
        let seen = "2026-11-23T14:03:11Z";
        for (wire, shown) in [
            ("2026-11-23T00:00:00Z", "00:00:00"),
            ("2026-11-22T23:59:59Z", "2026-11-22 23:59"),
            ("2025-11-23T14:03:11Z", "2025-11-23 14:03"),
            ("no time", "no time"),
        ] {
            assert_eq!(moment(wire, seen, &TimeZone::UTC), shown);
        }
    }

    #[test]
    fn a_moment_is_shown_as_asked() {
        let now: Timestamp = "2026-11-23T14:03:11Z".parse().unwrap();
        let wire = "2026-11-23T14:02:20.000001Z";
        assert_eq!(show(wire, TimeKind::Utc, now, &TimeZone::UTC), wire);
        assert_eq!(show(wire, TimeKind::Local, now, &TimeZone::UTC), "2026-11-23 14:02:20");
        assert_eq!(show(wire, TimeKind::Rel, now, &TimeZone::UTC), "50s ago");
        assert_eq!(show("2026-11-23T14:05:11Z", TimeKind::Rel, now, &TimeZone::UTC), "in 2m");
        assert_eq!(show("never\u{1b}", TimeKind::Rel, now, &TimeZone::UTC), "never␛");
    }

    #[test]
    fn milliseconds_have_the_precision_that_they_are_worth() {
        for (ms, shown) in
            [(0.42, "0.4 ms"), (131.2, "131 ms"), (2100.0, "2.1 s"), (134_000.0, "2m 14s")]
        {
            assert_eq!(millis(ms), shown);
        }
    }
}
