//! The requests of a bench: Stripe-like events of about 1.5 KB, each with an id and a signature of
//! its own. Only the tail of the body differs, so that signing one costs two or three blocks of
//! SHA-256 and not the whole body.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::failure::Failure;

/// How long a body is, in bytes.
const BODY_BYTES: usize = 1500;
const ID_DIGITS: usize = 12;

/// Writes whole HTTP requests.
#[derive(Clone)]
pub(crate) struct Events {
    head: String,
    body_start: String,
    keyed: Hmac<Sha256>,
    /// The second that the prefix below was signed in, and the state behind it.
    signed: Option<(i64, Hmac<Sha256>)>,
}

impl Events {
    /// Requests to `path` at `host`, signed with `secret`. `run` makes the ids of this run its own.
    ///
    /// # Errors
    ///
    /// None that a secret can reach: HMAC takes any length.
    pub(crate) fn new(host: &str, path: &str, secret: &[u8], run: &str) -> Result<Self, Failure> {
        let keyed = Hmac::new_from_slice(secret).map_err(|e| Failure::error(e.to_string()))?;
        let body_start = body_start(run);
        let length = body_start.len() + ID_DIGITS + 2;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: relayflow-bench\r\n\
             Content-Type: application/json; charset=utf-8\r\nContent-Length: {length}\r\n\
             Stripe-Signature: t="
        );
        Ok(Self { head, body_start, keyed, signed: None })
    }

    /// Replaces `out` by the request of event `number`, signed at the second `now`.
    pub(crate) fn write(&mut self, number: u64, now: i64, out: &mut Vec<u8>) {
        let tail = format!("{number:012}\"}}");
        let mut mac = self.state(now);
        mac.update(tail.as_bytes());
        let mut signature = [0_u8; 64];
        // 32 bytes are 64 digits, which fit.
        let _ = hex::encode_to_slice(mac.finalize().into_bytes(), &mut signature);
        out.clear();
        out.extend_from_slice(self.head.as_bytes());
        out.extend_from_slice(now.to_string().as_bytes());
        out.extend_from_slice(b",v1=");
        out.extend_from_slice(&signature);
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(self.body_start.as_bytes());
        out.extend_from_slice(tail.as_bytes());
    }

    /// The state of the signature behind what all events of this second begin with.
    fn state(&mut self, now: i64) -> Hmac<Sha256> {
        if let Some((second, state)) = &self.signed
            && *second == now
        {
            return state.clone();
        }
        let mut state = self.keyed.clone();
        state.update(format!("{now}.").as_bytes());
        state.update(self.body_start.as_bytes());
        self.signed = Some((now, state.clone()));
        state
    }
}

/// Everything of a body before the digits of its id.
fn body_start(run: &str) -> String {
    let mut body = String::from(
        r#"{"object":"event","api_version":"2025-08-27","created":1790000000,"livemode":false,"pending_webhooks":1,"request":{"id":"req_bench","idempotency_key":"bench"},"type":"charge.succeeded","data":{"object":{"id":"ch_3RelayBench0001","object":"charge","amount":4200,"amount_captured":4200,"amount_refunded":0,"balance_transaction":"txn_3RelayBench0001","billing_details":{"address":{"city":"Utrecht","country":"NL","line1":"Oudegracht 1","postal_code":"3511 AB"},"email":"jenny@example.com","name":"Jenny Rosen","phone":null},"captured":true,"currency":"eur","customer":"cus_RelayBench","description":"Order 1042","disputed":false,"failure_code":null,"failure_message":null,"invoice":"in_1RelayBench","paid":true,"payment_intent":"pi_3RelayBench","payment_method":"pm_1RelayBench","payment_method_details":{"card":{"brand":"visa","exp_month":12,"exp_year":2030,"last4":"4242"},"type":"card"},"receipt_email":"jenny@example.com","refunded":false,"status":"succeeded","metadata":{"note":""#,
    );
    let end = format!(r#""}}}}}},"id":"evt_{run}"#);
    let words = ["order ", "retail ", "annual ", "store ", "EMEA ", "net30 "];
    let wanted = BODY_BYTES.saturating_sub(end.len() + ID_DIGITS + 2);
    for word in words.iter().cycle() {
        if wanted <= body.len() + word.len() {
            break;
        }
        body.push_str(word);
    }
    let _ = write!(body, "{end}");
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_signed_and_its_own() {
        let mut events = Events::new("127.0.0.1:1", "/in/bench", b"whsec_x", "run").unwrap();
        let mut out = Vec::new();
        for (number, now) in [(7, 1_790_000_000), (8, 1_790_000_000), (9, 1_790_000_001)] {
            events.write(number, now, &mut out);
            let text = String::from_utf8(out.clone()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
            let json: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(json["id"], format!("evt_run{number:012}"));
            assert!((BODY_BYTES - 20..=BODY_BYTES).contains(&body.len()), "{}", body.len());
            let mut mac = Hmac::<Sha256>::new_from_slice(b"whsec_x").unwrap();
            mac.update(format!("{now}.{body}").as_bytes());
            let signature = hex::encode(mac.finalize().into_bytes());
            assert!(head.ends_with(&format!("t={now},v1={signature}")), "{head}");
        }
    }
}
