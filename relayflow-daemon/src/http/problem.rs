//! Errors as `application/problem+json` (RFC 9457), with a closed list of codes.

use std::borrow::Cow;
use std::error::Error;

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use relayflow_core::api;
use relayflow_core::api::codes::Code;

use super::json::ascii;

/// An answer that is not what was asked for. Its text never holds what the sender sent, but for an
/// operator's own filter or document.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    status: StatusCode,
    detail: Option<Cow<'static, str>>,
    retry_after_seconds: Option<u32>,
    allow: Option<String>,
    challenge: Option<&'static str>,
}

impl Problem {
    pub(crate) fn of(code: Code) -> Self {
        Self {
            code,
            status: status(code),
            detail: None,
            retry_after_seconds: retry_after_seconds(code),
            allow: None,
            challenge: None,
        }
    }

    pub(crate) fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The methods that the path takes: `GET, HEAD`.
    pub(crate) fn allow(mut self, methods: String) -> Self {
        self.allow = Some(methods);
        self
    }

    /// How to authenticate, which a 401 must say.
    pub(crate) fn challenge(mut self, scheme: &'static str) -> Self {
        self.challenge = Some(scheme);
        self
    }

    /// An error of a core room under its code. What is our own trouble goes to the log, whole, and
    /// not to the caller.
    pub(crate) fn from_error(code: Code, error: &(dyn Error + 'static)) -> Self {
        let problem = Self::of(code);
        if problem.status.is_server_error() {
            tracing::error!(code = %code, error = %chain(error), "a request could not be answered");
            return problem;
        }
        problem.detail(chain(error))
    }

    fn body(&self) -> Vec<u8> {
        ascii(&api::Problem {
            problem_type: format!("urn:relayflow:problem:{}", self.code),
            title: title(self.code).to_owned(),
            status: self.status.as_u16(),
            code: self.code.as_str().to_owned(),
            detail: self.detail.as_deref().map(str::to_owned),
            hint: None,
            request_id: None,
        })
    }

    /// The headers besides the length.
    fn headers(&self) -> impl Iterator<Item = (http::HeaderName, HeaderValue)> {
        let text = |text: &str| HeaderValue::from_str(text).ok();
        [
            Some((CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))),
            Some((CACHE_CONTROL, HeaderValue::from_static("no-store"))),
            self.retry_after_seconds.map(|seconds| (RETRY_AFTER, HeaderValue::from(seconds))),
            self.allow.as_deref().and_then(text).map(|methods| (ALLOW, methods)),
            self.challenge.map(|scheme| (WWW_AUTHENTICATE, HeaderValue::from_static(scheme))),
        ]
        .into_iter()
        .flatten()
    }

    /// The answer with any body type.
    pub(crate) fn answer<B: From<Vec<u8>>>(&self) -> http::Response<B> {
        let mut response = http::Response::new(B::from(self.body()));
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers());
        response
    }

    /// The answer as bytes, for a conversation that never reached HTTP; it ends the connection.
    pub(crate) fn wire(&self) -> Vec<u8> {
        let body = self.body();
        let reason = self.status.canonical_reason().unwrap_or_default();
        let mut out = format!("HTTP/1.1 {} {reason}\r\n", self.status.as_u16()).into_bytes();
        for (name, value) in self.headers() {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend(format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len()).bytes());
        out.extend(body);
        out
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.answer()
    }
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn status(code: Code) -> StatusCode {
    match code {
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Code::BadRequest
        | Code::BadFilter
        | Code::BadCursor
        | Code::BadId
        | Code::NotConfigured
        | Code::ReasonRequired
        | Code::EmptySelection => StatusCode::BAD_REQUEST,
        Code::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Code::UriTooLong => StatusCode::URI_TOO_LONG,
        Code::LengthRequired => StatusCode::LENGTH_REQUIRED,
        Code::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::Method => StatusCode::METHOD_NOT_ALLOWED,
        Code::Timeout => StatusCode::REQUEST_TIMEOUT,
        Code::NoSuchRoute
        | Code::NoSuchSource
        | Code::NoSuchObject
        | Code::Ambiguous
        | Code::VendorNotFound => StatusCode::NOT_FOUND,
        Code::Signature | Code::NoToken => StatusCode::UNAUTHORIZED,
        Code::RoleTooLow | Code::Host | Code::VendorRefused => StatusCode::FORBIDDEN,
        Code::TooManyFailures => StatusCode::TOO_MANY_REQUESTS,
        Code::Overloaded | Code::Store | Code::DiskFull | Code::Vendor | Code::Stopping => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Code::PlanUsed
        | Code::PlanExpired
        | Code::PlanChanged
        | Code::Late
        | Code::OverMax
        | Code::StateChanged => StatusCode::CONFLICT,
        Code::VendorAnswer => StatusCode::BAD_GATEWAY,
        Code::NotYet => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

fn retry_after_seconds(code: Code) -> Option<u32> {
    let can_help = matches!(
        code,
        Code::Overloaded
            | Code::Store
            | Code::DiskFull
            | Code::Vendor
            | Code::Stopping
            | Code::TooManyFailures
    );
    can_help.then_some(1)
}

fn title(code: Code) -> &'static str {
    match code {
        Code::Internal => "something went wrong here",
        Code::BadRequest => "the request is not well formed",
        Code::BadFilter => "the filter is not well formed",
        Code::BadCursor => "the cursor is not one of this list",
        Code::BadId => "that is not an id",
        Code::BodyTooLarge => "the body is too large",
        Code::HeadersTooLarge => "the header is too large",
        Code::UriTooLong => "the request target is too long",
        Code::LengthRequired => "the body's length must be given",
        Code::MediaType => "the body's type or coding is not taken here",
        Code::NotConfigured => "the source is not configured for this",
        Code::VendorAnswer => "the vendor's answer is not understood",
        Code::VendorRefused => "the vendor refuses the token",
        Code::VendorNotFound => "the vendor has nothing there",
        Code::Method => "the method is not taken here",
        Code::Timeout => "the request took too long to arrive",
        Code::NoSuchRoute => "there is nothing at this path",
        Code::NoSuchSource => "there is no such source",
        Code::NoSuchObject => "there is no such object",
        Code::Ambiguous => "more than one object begins so",
        Code::Signature => "the request could not be verified",
        Code::NoToken => "a valid token is needed",
        Code::RoleTooLow => "the token's role does not allow this",
        Code::TooManyFailures => "too much from this address",
        Code::Host => "the Host is not one that is served here",
        Code::Overloaded => "too much at once; send it again",
        Code::Store => "the store does not answer; send it again",
        Code::Vendor => "the vendor's own host does not answer; send it again",
        Code::DiskFull => "the disk is full; send it again",
        Code::Stopping => "stopping; send it again",
        Code::EmptySelection => "nothing was selected",
        Code::PlanUsed => "the plan was used already",
        Code::PlanExpired => "the plan has expired",
        Code::PlanChanged => "the plan no longer holds",
        Code::Late => "a later event is done already",
        Code::OverMax => "more is selected than allowed",
        Code::StateChanged => "the state changed meanwhile",
        Code::ReasonRequired => "a reason is needed",
        Code::NotYet => "not supported yet",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_status_that_is_an_error() {
        for code in Code::ALL {
            let problem = Problem::of(*code);
            let status = problem.status;
            assert!(status.is_client_error() || status.is_server_error(), "{code}");
            // 503 is the one server error that a sender meets, and it says when to come back.
            if status == StatusCode::SERVICE_UNAVAILABLE {
                assert_eq!(problem.retry_after_seconds, Some(1), "{code}");
            }
        }
    }

    #[test]
    fn a_problem_is_a_problem_on_the_wire() {
        let wire = String::from_utf8(Problem::of(Code::UriTooLong).wire()).unwrap();
        insta::assert_snapshot!(wire.replace("\r\n", "\n"), @r#"
        HTTP/1.1 414 URI Too Long
        content-type: application/problem+json
        cache-control: no-store
        content-length: 133
        connection: close

        {"type":"urn:relayflow:problem:usage.uri_too_long","title":"the request target is too long","status":414,"code":"usage.uri_too_long"}
        "#);
    }
}
