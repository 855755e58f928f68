//! JSON in and out. What goes out is ASCII only: serde_json writes U+009B as it is, and a terminal
//! may take that for the beginning of a command.

use std::fmt::Write as _;

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use relayflow_core::api::codes::Code;
use relayflow_core::view::Page;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::problem::Problem;

/// The largest document that an operator may send.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How many rows a page has if nobody says, and at most.
const LIMIT: usize = 50;
const LIMIT_MAX: usize = 1000;
/// The longest filter.
const FILTER_BYTES_MAX: usize = 4 * 1024;

/// A document as ASCII: every other character, and DEL, as `\u` escapes.
pub(crate) fn ascii<T: Serialize>(document: &T) -> Vec<u8> {
    // Our own documents have text keys and finite numbers, which is all that can fail here.
    let text = serde_json::to_string(document).expect("a document of our own serializes");
    if text.bytes().all(|byte| byte.is_ascii() && byte != 0x7f) {
        return text.into_bytes();
    }
    let mut out = String::with_capacity(text.len() + text.len() / 2);
    for c in text.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            write!(out, "\\u{unit:04x}").expect("a String takes all that is written");
        }
    }
    out.into_bytes()
}

/// A document as an answer.
pub(crate) struct Json<T>(pub(crate) StatusCode, pub(crate) T);

impl<T> Json<T> {
    pub(crate) fn ok(document: T) -> Self {
        Self(StatusCode::OK, document)
    }

    pub(crate) fn created(document: T) -> Self {
        Self(StatusCode::CREATED, document)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let mut response = Response::new(ascii(&self.1).into());
        *response.status_mut() = self.0;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// A document that an operator sent. Unknown fields are refused by its type.
pub(crate) struct Sent<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Sent<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read(body).await?;
        if bytes.is_empty() {
            return Err(Problem::of(Code::BadRequest).detail("a JSON document was wanted"));
        }
        let essence = content_type(&parts).split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Problem::of(Code::MediaType).detail("send it as application/json"));
        }
        parse(&bytes).map(Self)
    }
}

/// The same where a document may be left out: `T`'s default then.
pub(crate) struct MaybeSent<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned + Default> FromRequest<S> for MaybeSent<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = read(request.into_body()).await?;
        if bytes.is_empty() { Ok(Self(T::default())) } else { parse(&bytes).map(Self) }
    }
}

fn content_type(parts: &Parts) -> &str {
    parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn read(body: axum::body::Body) -> Result<bytes::Bytes, Problem> {
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::of(Code::BodyTooLarge)),
        Err(_) => Err(Problem::of(Code::BadRequest).detail("the body could not be read")),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::of(Code::BadRequest).detail(error.to_string()))
}

/// The parameters of a list, within their limits. Unknown ones are refused, or a misspelt filter
/// would select everything.
pub(crate) struct Paged(pub(crate) Page);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageParams {
    q: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
    sort: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Paged {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let PageParams { q, limit, cursor, sort } = params(parts)?;
        page(q, limit, cursor).map(|page| Self(Page { sort, ..page }))
    }
}

/// A page as asked for, within its limits.
pub(crate) fn page(
    q: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
) -> Result<Page, Problem> {
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let detail = format!("`limit` is 1 to {LIMIT_MAX}");
        return Err(Problem::of(Code::BadRequest).detail(detail));
    }
    Ok(Page { q: filter(q)?, limit, cursor, sort: None })
}

/// A filter within its length; an empty one is none.
pub(crate) fn filter(q: Option<String>) -> Result<Option<String>, Problem> {
    match q {
        Some(q) if FILTER_BYTES_MAX < q.len() => Err(Problem::of(Code::BadFilter)
            .detail(format!("a filter has at most {FILTER_BYTES_MAX} bytes"))),
        q => Ok(q.filter(|q| !q.trim().is_empty())),
    }
}

/// The query's parameters as `T`, which says which there are.
pub(crate) fn params<T: DeserializeOwned>(parts: &Parts) -> Result<T, Problem> {
    Query::try_from_uri(&parts.uri).map(|Query(params)| params).map_err(|rejection| {
        let text = rejection.body_text();
        let why = text.rsplit("query string: ").next().unwrap_or_default().to_owned();
        Problem::of(Code::BadRequest).detail(why)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn what_goes_out_is_ascii_and_the_same_document() {
        let text = "a\u{9b}31m \u{202e} \u{2028} é 🎉 \u{7f}";
        let raw = RawValue::from_string(serde_json::to_string(text).unwrap()).unwrap();
        let out = ascii(&(text, raw));
        assert!(out.iter().all(|b| (0x20..0x7f).contains(b)));
        let back: (String, String) = serde_json::from_slice(&out).unwrap();
        assert_eq!(back, (text.to_owned(), text.to_owned()));
    }

    #[test]
    fn a_page_has_limits() {
        assert_eq!(page(None, None, None).unwrap().limit, 50);
        assert_eq!(page(Some(" ".into()), Some(1000), None).unwrap().q, None);
        for limit in [0, 1001, usize::MAX] {
            assert_eq!(page(None, Some(limit), None).unwrap_err().code, Code::BadRequest);
        }
        let long = "x".repeat(FILTER_BYTES_MAX + 1);
        assert_eq!(page(Some(long), None, None).unwrap_err().code, Code::BadFilter);
    }
}
