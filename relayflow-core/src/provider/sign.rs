//! stub
use http::Method;
use jiff::Timestamp;
pub struct Signed { pub method: Method, pub url: String, pub headers: Vec<(String, String)>, pub body: Vec<u8> }
#[derive(Debug, thiserror::Error)]
#[error("stub")]
pub struct SignError;
pub fn sign(
    _provider: &super::Provider, _secret: &crate::secret::Secret, _event_type: &str, _body: Vec<u8>, _url: &str, _now: Timestamp,
) -> Result<Signed, SignError> { Err(SignError) }
