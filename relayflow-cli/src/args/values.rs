//! Values of flags.

use jiff::SignedDuration;
use relayflow_core::filter;

/// `--yes`, and the context that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Yes {
    Bare,
    For(String),
}

/// `--wait`, and for how long at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait(pub(crate) Option<SignedDuration>);

/// After how many failures a job pauses itself, as the API takes it: `N` or `N%`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StopAfter(pub(crate) String);

pub(crate) fn yes(text: &str) -> Result<Yes, String> {
    Ok(if text.is_empty() { Yes::Bare } else { Yes::For(text.to_owned()) })
}

pub(crate) fn wait(text: &str) -> Result<Wait, String> {
    if text.is_empty() { Ok(Wait(None)) } else { duration(text).map(|d| Wait(Some(d))) }
}

/// `90s`, `15m`, `1d12h`, `300ms`.
pub(crate) fn duration(text: &str) -> Result<SignedDuration, String> {
    if let Some(ms) = text.strip_suffix("ms") {
        return ms
            .parse::<u32>()
            .map(|ms| SignedDuration::from_millis(i64::from(ms)))
            .map_err(|_| format!("`{text}` is not a duration, such as 90s, 15m or 300ms"));
    }
    filter::parse_duration(text).map_err(|e| e.to_string())
}

/// A duration as the API takes it: `30m`.
pub(crate) fn pause(text: &str) -> Result<String, String> {
    filter::parse_duration(text).map(|_| text.to_owned()).map_err(|e| e.to_string())
}

/// A duration that may be negative: `-10m`.
pub(crate) fn skew(text: &str) -> Result<SignedDuration, String> {
    match text.strip_prefix('-') {
        Some(rest) => duration(rest).map(|d| -d),
        None => duration(text.strip_prefix('+').unwrap_or(text)),
    }
}

/// `200`, `200/s`, `600/m`: per second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let (number, seconds) = match text.split_once('/') {
        None | Some((_, "s")) => (text.split('/').next().unwrap_or(text), 1.0),
        Some((number, "m")) => (number, 60.0),
        Some((number, "h")) => (number, 3600.0),
        Some(_) => ("", 1.0),
    };
    match number.parse::<f64>() {
        Ok(n) if n.is_finite() && 0.0 < n => Ok(n / seconds),
        _ => Err(format!("`{text}` is not a rate, such as 10/s or 600/m")),
    }
}

/// `5%` or `5`: as a share, 0 to 1.
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').unwrap_or(text).parse::<f64>() {
        Ok(n) if (0.0..=100.0).contains(&n) => Ok(n / 100.0),
        _ => Err(format!("`{text}` is not a share, such as 5%")),
    }
}

pub(crate) fn stop_after(text: &str) -> Result<StopAfter, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    let fits = number.parse::<u64>().is_ok_and(|n| 0 < n && (number == text || n <= 100));
    if fits {
        Ok(StopAfter(text.to_owned()))
    } else {
        Err(format!("`{text}` is neither a number nor a share, such as 10 or 5%"))
    }
}

/// `PATH=VALUE`.
pub(crate) fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((path, value)) if !path.is_empty() => Ok((path.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not PATH=VALUE, such as data.object.amount=4200")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_shares_read_as_written() {
        assert_eq!(rate("10"), Ok(10.0));
        assert_eq!(rate("10/s"), Ok(10.0));
        assert_eq!(rate("600/m"), Ok(10.0));
        assert_eq!(percent("5%"), Ok(0.05));
        assert_eq!(percent("0"), Ok(0.0));
        for bad in ["", "x", "0", "-1", "1/w", "inf", "/s"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
        for bad in ["", "101%", "-1%", "5%%", "NaN"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_job_stops_after_a_number_or_a_share() {
        assert_eq!(stop_after("5%"), Ok(StopAfter("5%".to_owned())));
        assert_eq!(stop_after("12"), Ok(StopAfter("12".to_owned())));
        for bad in ["0", "101%", "x", "1.5", "%"] {
            assert!(stop_after(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_assignment_splits_at_the_first_equals_sign() {
        assert_eq!(assignment("a.b=c=d"), Ok(("a.b".to_owned(), "c=d".to_owned())));
        assert!(assignment("=x").is_err() && assignment("x").is_err());
    }

    #[test]
    fn milliseconds_are_durations_too() {
        assert_eq!(duration("300ms"), Ok(SignedDuration::from_millis(300)));
        assert!(duration("xms").is_err());
    }
}
