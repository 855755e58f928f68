//! The W3C trace context that outgoing calls bear.

use sha2::{Digest as _, Sha256};

use crate::request::CorrelationId;
use crate::task::Task;

/// `traceparent` of one attempt: the trace is the correlation id if that is a trace id, else derived
/// from it; the span is the attempt's own, the same whenever it is asked for.
pub(super) fn traceparent(correlation_id: &CorrelationId, task: &Task) -> String {
    let id = correlation_id.as_str();
    let span = span(task);
    if is_trace_id(id) {
        return format!("00-{id}-{span:016x}-01");
    }
    let digest: [u8; 32] = Sha256::digest(id.as_bytes()).into();
    format!("00-{}-{span:016x}-01", hex::encode(&digest[..16]))
}

fn is_trace_id(text: &str) -> bool {
    let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    text.len() == 32 && text.bytes().all(is_hex) && text.bytes().any(|b| b != b'0')
}

/// splitmix64 of task and attempt; never 0, which stands for no span.
fn span(task: &Task) -> u64 {
    let mut z = task.id.seed() ^ (u64::from(task.attempt) << 32);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::testing;

    #[test]
    fn a_correlation_id_that_is_no_trace_id_gives_one() {
        let task = testing::task();
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (given, kept) in [(trace, true), ("order-17", false), (&"0".repeat(32), false)] {
            let id = CorrelationId::given(given).unwrap();
            let header = traceparent(&id, &task);
            let trace_id = CorrelationId::from_traceparent(&header).unwrap();
            assert_eq!(trace_id == id, kept, "{header}");
            assert_eq!(traceparent(&id, &task), header);
        }
    }

    #[test]
    fn each_attempt_is_a_span_of_its_own() {
        let id = CorrelationId::given("order-17").unwrap();
        let first = testing::task();
        let mut second = first.clone();
        second.attempt += 1;
        assert_ne!(traceparent(&id, &first), traceparent(&id, &second));
    }
}
