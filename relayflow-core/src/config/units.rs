//! How single values are written: each reader takes one and says what was wanted.

use std::net::SocketAddr;

use ipnet::IpNet;
use jiff::SignedDuration;
use toml::de::{DeTable, DeValue};

use super::Tolerance;
use crate::filter::{parse_duration, show_duration};

/// A value as it was written: in the file, or as the text of a variable or flag.
#[derive(Debug, Clone)]
pub(super) enum Raw<'t> {
    Toml(&'t DeValue<'t>),
    Text(String),
}

impl Raw<'_> {
    /// What it is, for a message that wanted something else.
    fn what(&self) -> String {
        match self {
            Self::Text(_) => "a text".to_owned(),
            Self::Toml(value) => match value {
                DeValue::String(_) => "a text".to_owned(),
                DeValue::Integer(n) => format!("the number {n}"),
                DeValue::Float(n) => format!("the number {n}"),
                DeValue::Boolean(b) => format!("{b}"),
                DeValue::Datetime(_) => "a date".to_owned(),
                DeValue::Array(_) => "a list".to_owned(),
                DeValue::Table(_) => "a table".to_owned(),
            },
        }
    }
}

pub(super) fn text(raw: &Raw<'_>) -> Result<String, String> {
    match raw {
        Raw::Toml(DeValue::String(text)) => Ok(text.to_string()),
        Raw::Text(text) => Ok(text.clone()),
        Raw::Toml(_) => Err(format!("this is {}, wanted a text in quotes", raw.what())),
    }
}

/// A text, or a scalar as text: what a provider's settings may be.
pub(super) fn scalar(raw: &Raw<'_>) -> Result<String, String> {
    if matches!(raw, Raw::Toml(DeValue::Integer(_) | DeValue::Boolean(_))) {
        return Ok(shown(raw));
    }
    text(raw)
}

pub(super) fn boolean(raw: &Raw<'_>) -> Result<bool, String> {
    match raw {
        Raw::Toml(DeValue::Boolean(b)) => Ok(*b),
        Raw::Text(text) if text == "true" => Ok(true),
        Raw::Text(text) if text == "false" => Ok(false),
        Raw::Toml(_) | Raw::Text(_) => Err(format!("this is {}, wanted true or false", raw.what())),
    }
}

/// A whole number from 1 to a million.
pub(super) fn count(raw: &Raw<'_>) -> Result<u32, String> {
    let wanted = || format!("this is {}, wanted a whole number from 1 to 1000000", raw.what());
    let number = match raw {
        Raw::Toml(DeValue::Integer(n)) => u32::from_str_radix(n.as_str(), n.radix()).ok(),
        Raw::Text(text) => text.parse().ok(),
        Raw::Toml(_) => None,
    };
    number.filter(|n| (1..=1_000_000).contains(n)).ok_or_else(wanted)
}

/// `1MiB`, `64KiB`, `512B`, or a number of bytes.
pub(super) fn size(raw: &Raw<'_>) -> Result<usize, String> {
    let written = scalar(raw).map_err(|_| size_wanted(&raw.what()))?;
    let digits = written.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = written.split_at(digits);
    let factor: usize = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(size_wanted(&format!("`{written}`"))),
    };
    let bytes = number.parse::<usize>().ok().and_then(|n| n.checked_mul(factor));
    bytes.filter(|bytes| 0 < *bytes).ok_or_else(|| size_wanted(&format!("`{written}`")))
}

fn size_wanted(what: &str) -> String {
    format!("this is {what}, wanted a size such as \"64KiB\" or \"1MiB\"")
}

/// A duration above zero.
pub(super) fn duration(raw: &Raw<'_>) -> Result<SignedDuration, String> {
    let Ok(written) = text(raw) else {
        return Err(format!("this is {}, wanted a duration such as \"10s\" or \"5m\"", raw.what()));
    };
    let duration = parse_duration(&written).map_err(|e| e.to_string())?;
    if duration.is_zero() { Err("a duration of nothing".to_owned()) } else { Ok(duration) }
}

pub(super) fn tolerance(raw: &Raw<'_>) -> Result<Tolerance, String> {
    match text(raw) {
        Ok(word) if word == "off" => Ok(Tolerance::Off),
        _ => duration(raw).map(Tolerance::Within).map_err(|e| format!("{e}, or \"off\"")),
    }
}

/// A listener: an address of this machine and a port.
pub(super) fn address(raw: &Raw<'_>) -> Result<SocketAddr, String> {
    let written = text(raw)?;
    let named = written.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    named
        .as_deref()
        .unwrap_or(&written)
        .parse()
        .map_err(|_| format!("`{written}` is not an address: wanted such as 127.0.0.1:8787"))
}

/// An `http` or `https` URL without a query, and without the slash at its end.
pub(super) fn public_url(raw: &Raw<'_>) -> Result<String, String> {
    let written = text(raw)?;
    crate::workflow::destination_of(&written)?;
    if written.contains(['?', '#']) || written.contains(char::is_whitespace) {
        return Err(format!("`{written}` has a query or a fragment, wanted a plain URL"));
    }
    Ok(written.trim_end_matches('/').to_owned())
}

/// A list of texts; in a variable a TOML list, or texts with commas between them.
pub(super) fn texts(raw: &Raw<'_>) -> Result<Vec<String>, String> {
    match raw {
        Raw::Toml(DeValue::Array(items)) => {
            items.iter().map(|item| text(&Raw::Toml(item.get_ref()))).collect()
        }
        Raw::Text(written) if written.trim_start().starts_with('[') => {
            let parsed = DeValue::parse(written).map_err(|e| e.message().to_owned())?;
            texts(&Raw::Toml(parsed.get_ref()))
        }
        Raw::Text(written) => {
            let items = written.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(items.map(str::to_owned).collect())
        }
        Raw::Toml(_) => Err(format!("this is {}, wanted a list of texts", raw.what())),
    }
}

/// Networks as `10.0.0.0/8`; an address alone is the network of itself.
pub(super) fn networks(raw: &Raw<'_>) -> Result<Vec<IpNet>, String> {
    let network = |written: &String| {
        let alone = written.parse().map(|address: std::net::IpAddr| IpNet::from(address));
        written.parse().or(alone).map_err(|_| {
            format!("`{written}` is not a network: wanted such as 10.0.0.0/8 or 127.0.0.1/32")
        })
    };
    texts(raw)?.iter().map(network).collect()
}

pub(super) fn table<'t>(raw: &Raw<'t>) -> Result<&'t DeTable<'t>, String> {
    match raw {
        Raw::Toml(DeValue::Table(table)) => Ok(table),
        Raw::Toml(_) | Raw::Text(_) => Err(format!("this is {}, wanted a table", raw.what())),
    }
}

/// What a value is shown as where all settings are listed.
pub(super) fn shown(raw: &Raw<'_>) -> String {
    match raw {
        Raw::Text(text) => text.clone(),
        Raw::Toml(value) => match value {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(n) => n.to_string(),
            DeValue::Float(n) => n.to_string(),
            DeValue::Boolean(b) => b.to_string(),
            DeValue::Datetime(at) => at.to_string(),
            DeValue::Array(items) => {
                let items: Vec<_> = items.iter().map(|i| shown(&Raw::Toml(i.get_ref()))).collect();
                format!("[{}]", items.join(", "))
            }
            DeValue::Table(_) => "{…}".to_owned(),
        },
    }
}

/// A duration that may not be longer than `longest`.
pub(super) fn duration_to(
    longest: SignedDuration,
) -> impl Fn(&Raw<'_>) -> Result<SignedDuration, String> {
    move |raw| match duration(raw)? {
        given if longest < given => {
            Err(format!("{} is too long: at most {}", show_duration(given), show_duration(longest)))
        }
        given => Ok(given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `written` as TOML, and as the text of a variable.
    fn both<T>(written: &str, read: impl Fn(&Raw<'_>) -> Result<T, String>) -> [Option<T>; 2] {
        let value = DeValue::parse(written).unwrap();
        let plain = written.trim_matches('"').to_owned();
        [read(&Raw::Toml(value.get_ref())).ok(), read(&Raw::Text(plain)).ok()]
    }

    #[test]
    fn a_value_is_read_from_the_file_and_from_a_variable() {
        assert_eq!(both("true", boolean), [Some(true); 2]);
        assert_eq!(both("1", boolean), [None; 2]);
        assert_eq!(both("12", count), [Some(12); 2]);
        assert_eq!(both("0", count), [None; 2]);
        assert_eq!(both("\"64KiB\"", size), [Some(65536); 2]);
        assert_eq!(both("512", size), [Some(512); 2]);
        assert_eq!(both("\"1MB\"", size), [None; 2]);
        assert_eq!(both("\"999999999999999999GiB\"", size), [None; 2]);
        assert_eq!(both("\"5m\"", duration), [Some(SignedDuration::from_mins(5)); 2]);
        assert_eq!(both("\"off\"", tolerance), [Some(Tolerance::Off); 2]);
        assert_eq!(both("\"0s\"", tolerance), [None; 2]);
        assert_eq!(
            both("[\"a\", \"b\"]", texts),
            [(); 2].map(|()| Some(vec!["a".to_owned(), "b".to_owned()]))
        );
        assert_eq!(both("3", scalar), [Some("3".to_owned()), Some("3".to_owned())]);
        assert_eq!(
            both("\"https://x.example/y/\"", public_url)[0].as_deref(),
            Some("https://x.example/y")
        );
        assert_eq!(both("\"https://x.example/?a\"", public_url), [None, None]);
        assert_eq!(both("\"[::1]:80\"", address)[0].map(|a| a.port()), Some(80));
    }
}
