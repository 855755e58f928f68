//! Logs: one line per record on stderr, whatever it holds, as logfmt or as JSON.

use std::fmt::{self, Write as _};
use std::io;

use relayflow_core::clock::Clock;
use relayflow_core::text;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::http::json::ascii;

/// How a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// Begins to log. What is logged is `RELAYFLOW_LOG` in the syntax of `tracing`'s filters, else
/// `default`. A panic is one record too.
pub fn start(format: Format, default: &str) {
    let filter =
        EnvFilter::try_from_env("RELAYFLOW_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .event_format(Line(format));
    // That somebody began before is no error: two tests in one process do.
    let _ = builder.try_init();
    std::panic::set_hook(Box::new(|info| {
        let at = info.location().map(ToString::to_string).unwrap_or_default();
        let what = info.payload_as_str().unwrap_or_default();
        tracing::error!(at, what, "a panic, which is a bug");
    }));
}

/// A record as one line.
struct Line(Format);

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields(vec![
            ("time", Value::from(Clock::Wall.now().to_string())),
            ("level", Value::from(event.metadata().level().as_str().to_ascii_lowercase())),
            ("target", Value::from(event.metadata().target())),
        ]);
        event.record(&mut fields);
        out.write_str(&fields.line(self.0))?;
        out.write_char('\n')
    }
}

/// Names and values in the order in which they are shown.
struct Fields(Vec<(&'static str, Value)>);

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.push((field.name(), value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.push((field.name(), value.into()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.push((field.name(), value.into()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.into()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push((field.name(), format!("{value:?}").into()));
    }
}

impl Fields {
    fn line(self, format: Format) -> String {
        match format {
            Format::Text => self.logfmt(),
            Format::Json => {
                let object: Map<_, _> =
                    self.0.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
                String::from_utf8(ascii(&object)).unwrap_or_default()
            }
        }
    }

    fn logfmt(self) -> String {
        let mut line = String::new();
        for (at, (name, value)) in self.0.iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            let name = if *name == "message" { "msg" } else { name };
            // Writing to a String does not fail.
            let _ = match value.as_str() {
                Some(text) => write!(line, "{space}{name}={}", quoted(text)),
                None => write!(line, "{space}{name}={value}"),
            };
        }
        line
    }
}

/// A value on its own, or between quotes where a reader could not tell its end.
fn quoted(value: &str) -> String {
    let shown = text::line(value);
    let is_plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '=' | '\\');
    if !shown.is_empty() && shown.chars().all(is_plain) {
        return shown.into_owned();
    }
    format!("\"{}\"", shown.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_whatever_it_holds() {
        let fields = || {
            Fields(vec![
                ("level", "info".into()),
                ("message", "two words".into()),
                ("source", "a\nlevel=error \"b\" \u{1b}[31m\u{9b}".into()),
                ("attempt", 3.into()),
                ("empty", "".into()),
            ])
        };
        assert_eq!(
            fields().line(Format::Text),
            "level=info msg=\"two words\" \
             source=\"a␊level=error \\\"b\\\" ␛[31m<U+009B>\" attempt=3 empty=\"\""
        );
        let json = fields().line(Format::Json);
        assert!(json.is_ascii() && !json.contains('\n'), "{json}");
        let back: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(back["source"], "a\nlevel=error \"b\" \u{1b}[31m\u{9b}");
    }
}
