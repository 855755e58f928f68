//! The bodies of answers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::guard::Link;

/// An answer's body: whole, as everything on the way of an event is, or a router's.
pub(crate) enum Body {
    Whole(Bytes),
    Routed(axum::body::Body),
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Whole(bytes.into())
    }
}

/// A body that tells the connection when it has ended.
pub(crate) struct Answered {
    body: Body,
    link: Arc<Link>,
}

impl Answered {
    pub(crate) fn new(body: Body, link: Arc<Link>) -> Self {
        Self { body, link }
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.link.set_idle();
    }
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut self.body {
            Body::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Body::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Body::Routed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Body::Whole(bytes) => bytes.is_empty(),
            Body::Routed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Routed(body) => body.size_hint(),
        }
    }
}
