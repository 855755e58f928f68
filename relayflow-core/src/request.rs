//! One inbound HTTP request: exact bytes, the headers that matter, arrival.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method};
use jiff::Timestamp;

use crate::id::RequestId;

/// The longest correlation id that is taken from a sender.
pub const CORRELATION_BYTES_MAX: usize = 128;

/// What ties a request, its events, tasks, attempts and replays together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CorrelationId(String);

impl CorrelationId {
    /// The id that a sender gave, if it can be shown and searched as it is: 1 to
    /// [`CORRELATION_BYTES_MAX`] visible ASCII characters.
    #[must_use]
    pub fn given(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= CORRELATION_BYTES_MAX;
        (fits && text.bytes().all(|b| b.is_ascii_graphic())).then(|| Self(text.to_owned()))
    }

    /// From a `traceparent` header: its trace id, unless the header is malformed.
    #[must_use]
    pub fn from_traceparent(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let (version, trace, parent) = (parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let zero = |text: &str| text.bytes().all(|b| b == b'0');
        let valid = version.len() == 2
            && version != "ff"
            && hex(version)
            && trace.len() == 32
            && hex(trace)
            && !zero(trace)
            && parent.len() == 16
            && hex(parent)
            && !zero(parent);
        valid.then(|| Self(trace.to_owned()))
    }

    /// The id of a request that brought none.
    #[must_use]
    pub fn of(request: RequestId) -> Self {
        Self(request.as_trace_id())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One inbound HTTP request, as it came in.
#[derive(Debug, Clone)]
pub struct Request {
    pub id: RequestId,
    pub method: Method,
    /// Path and query as received, such as `/in/stripe?x=1`.
    pub target: String,
    /// The URL that the vendor called and may have signed: the source's public URL, and the query
    /// as received.
    pub url: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub received_at: Timestamp,
}

impl Request {
    /// The header's value if it is there exactly once and is visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let only = values.next()?;
        if values.next().is_some() {
            return None;
        }
        only.to_str().ok()
    }

    /// The query as received, without the `?`; empty if there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The correlation id that the sender gave (`traceparent`, `X-Correlation-Id`), else this
    /// request's own.
    #[must_use]
    pub fn correlation_id(&self) -> CorrelationId {
        self.header("traceparent")
            .and_then(CorrelationId::from_traceparent)
            .or_else(|| self.header("x-correlation-id").and_then(CorrelationId::given))
            .unwrap_or_else(|| CorrelationId::of(self.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_gives_its_trace_id() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let id = CorrelationId::from_traceparent(good).unwrap();
        assert_eq!(id.as_str(), "4bf92f3577b34da6a3ce929d0e0e4736");
        for bad in [
            "",
            "00-short-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(CorrelationId::from_traceparent(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_correlation_id_that_could_mislead_is_not_taken() {
        for bad in ["", "a b", "a\u{1b}[31m", "é", &"x".repeat(129)] {
            assert_eq!(CorrelationId::given(bad), None, "{bad:?}");
        }
        assert!(CorrelationId::given("order-17").is_some());
    }
}
