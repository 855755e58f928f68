//! A request as a vendor would send it, with a key that nobody trusts: to see how it reads.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::cases::request_of;
use super::sign::{key_pair_for, sign_for};
use super::source::Source;
use crate::request::Request;

/// When what is made up happened: the same each time, so that two explanations can be compared.
#[must_use]
pub fn sample_time() -> Timestamp {
    Timestamp::from_second(1_767_607_203).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// `body` as a request of `event_type` to this source, with `more` headers.
///
/// # Errors
///
/// The body is none that this vendor sends.
pub fn as_sent(
    source: &Source,
    event_type: &str,
    body: Vec<u8>,
    more: &BTreeMap<String, String>,
) -> Result<Request, String> {
    let key = key_pair_for(source, [7; 32]).signing;
    let own = || format!("https://localhost/in/{}", source.name);
    let url = source.public_url.clone().unwrap_or_else(own);
    let mut letter = sign_for(source, &key, event_type, body, &url, sample_time())
        .map_err(|error| error.to_string())?;
    letter.headers.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
    request_of(letter, sample_time())
}
