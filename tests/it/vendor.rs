//! Requests as vendors send them: payloads of our own after their documented shapes, signed as their
//! pages say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use relayflow_core::clock::Clock;
use sha2::Sha256;

use crate::wire::headers;

pub(crate) const STRIPE_SECRET: &str = "whsec_end_to_end_0123456789abcdef";
pub(crate) const GITHUB_SECRET: &str = "github-end-to-end-0123456789abcdef";
pub(crate) const HUBSPOT_SECRET: &str = "hubspot-end-to-end-0123456789abcdef";
pub(crate) const SLACK_SECRET: &str = "slack-end-to-end-0123456789abcdef";
pub(crate) const HUBSPOT_URL: &str = "https://hooks.example.com/in/hubspot";

/// The sources that the requests below belong to.
pub(crate) fn sources() -> String {
    format!(
        "[sources.stripe]\nprovider = \"stripe\"\nsecrets = [\"{STRIPE_SECRET}\"]\n\
         [sources.github]\nprovider = \"github\"\nsecrets = [\"{GITHUB_SECRET}\"]\n\
         [sources.slack]\nprovider = \"slack\"\nsecrets = [\"{SLACK_SECRET}\"]\n\
         [sources.hubspot]\nprovider = \"hubspot\"\nsecrets = [\"{HUBSPOT_SECRET}\"]\n\
         public_url = \"{HUBSPOT_URL}\"\n"
    )
}

/// A request ready to be posted.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Signed {
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    Clock::Wall.now().as_second()
}

pub(crate) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

/// A Stripe event: `id` is the vendor's own, as in `evt_1`.
pub(crate) fn stripe_body(id: &str, event_type: &str) -> String {
    format!(
        "{{\n  \"id\": \"{id}\",\n  \"object\": \"event\",\n  \"api_version\": \"2024-06-20\",\n  \
         \"created\": {},\n  \"type\": \"{event_type}\",\n  \"livemode\": false,\n  \"data\": {{\n    \
         \"object\": {{ \"id\": \"ch_{id}\", \"object\": \"charge\", \"amount\": 4200, \
         \"currency\": \"eur\", \"customer\": \"cus_{id}\", \"status\": \"failed\", \
         \"failure_code\": \"card_declined\", \"failure_message\": \"Your card was declined.\" }}\n  }}\n}}",
        now()
    )
}

pub(crate) fn stripe(id: &str, event_type: &str) -> Signed {
    sign_stripe(STRIPE_SECRET, stripe_body(id, event_type).as_bytes(), now())
}

pub(crate) fn sign_stripe(secret: &str, body: &[u8], at: i64) -> Signed {
    let at = at.to_string();
    let signature = hex::encode(hmac_sha256(secret.as_bytes(), &[at.as_bytes(), b".", body]));
    Signed {
        target: "/in/stripe".to_owned(),
        headers: headers(&[
            ("content-type", "application/json; charset=utf-8"),
            ("stripe-signature", &format!("t={at},v1={signature}")),
        ]),
        body: body.to_vec(),
    }
}

/// A GitHub delivery; the vendor signs the body, not the delivery's id.
pub(crate) fn github(delivery: &str, event: &str, body: &[u8]) -> Signed {
    let signature = hex::encode(hmac_sha256(GITHUB_SECRET.as_bytes(), &[body]));
    Signed {
        target: "/in/github".to_owned(),
        headers: headers(&[
            ("content-type", "application/json"),
            ("x-github-event", event),
            ("x-github-delivery", delivery),
            ("x-hub-signature-256", &format!("sha256={signature}")),
        ]),
        body: body.to_vec(),
    }
}

pub(crate) fn github_issue(number: u32) -> String {
    format!(
        "{{\"action\":\"opened\",\"issue\":{{\"id\":{},\"number\":{number},\"title\":\"A title\",\
         \"state\":\"open\",\"html_url\":\"https://github.com/acme/shop/issues/{number}\",\
         \"updated_at\":\"2026-01-05T10:00:00Z\",\"created_at\":\"2026-01-05T10:00:00Z\",\
         \"user\":{{\"id\":7,\"login\":\"ana\"}}}},\"repository\":{{\"id\":11,\"name\":\"shop\",\
         \"full_name\":\"acme/shop\"}},\"sender\":{{\"id\":7,\"login\":\"ana\"}}}}",
        2_000_000_000_u64 + u64::from(number)
    )
}

/// One element of a HubSpot batch.
pub(crate) fn hubspot_event(id: u64, event_type: &str) -> String {
    format!(
        "{{\"eventId\":{id},\"subscriptionId\":77,\"portalId\":62515,\"appId\":54321,\
         \"occurredAt\":{},\"subscriptionType\":\"{event_type}\",\"attemptNumber\":0,\
         \"objectId\":{},\"changeFlag\":\"CREATED\",\"changeSource\":\"CRM\"}}",
        1_767_607_200_000_u64 + id,
        9000 + id
    )
}

/// A HubSpot batch, signed over method, URL, body and time (v3).
pub(crate) fn hubspot(events: &[String]) -> Signed {
    let body = format!("[{}]", events.join(",")).into_bytes();
    let at = Clock::Wall.now().as_millisecond().to_string();
    let signature = STANDARD.encode(hmac_sha256(
        HUBSPOT_SECRET.as_bytes(),
        &[b"POST", HUBSPOT_URL.as_bytes(), &body, at.as_bytes()],
    ));
    Signed {
        target: "/in/hubspot".to_owned(),
        headers: headers(&[
            ("content-type", "application/json"),
            ("x-hubspot-signature-v3", &signature),
            ("x-hubspot-request-timestamp", &at),
        ]),
        body,
    }
}

/// A Slack request, signed over version, time and body.
pub(crate) fn slack(body: &[u8]) -> Signed {
    let at = now().to_string();
    let signature =
        hex::encode(hmac_sha256(SLACK_SECRET.as_bytes(), &[b"v0:", at.as_bytes(), b":", body]));
    Signed {
        target: "/in/slack".to_owned(),
        headers: headers(&[
            ("content-type", "application/json"),
            ("x-slack-request-timestamp", &at),
            ("x-slack-signature", &format!("v0={signature}")),
        ]),
        body: body.to_vec(),
    }
}
