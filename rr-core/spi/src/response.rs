//! One response.

use std::any::TypeId;

use bytes::Bytes;

use crate::dedup::Dedup;
use crate::headers::Headers;

/// Response: headers and body.
///
/// # Examples
///
/// ```
/// # use rr_spi as rr_core;
/// let response = rr_core::Response::new("pong");
/// assert_eq!(response.body, "pong");
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Response {
    /// The application's headers.
    pub headers: Headers,
    /// The body. Middleware that replaces text with other bytes should set a `content-type`.
    pub body: Bytes,
    pub(crate) dedup: Option<Dedup>,
    is_text: bool,
}

impl Response {
    /// Makes a response without headers.
    ///
    /// If a transport needs a content type and neither the request nor the response names one, a
    /// body made from a `&str` or `String` is sent as `text/plain; charset=utf-8`, any other body
    /// as `application/octet-stream`.
    pub fn new<B: Into<Bytes> + 'static>(body: B) -> Self {
        let is_text = [TypeId::of::<&str>(), TypeId::of::<String>()].contains(&TypeId::of::<B>());
        Self { headers: Headers::new(), body: body.into(), dedup: None, is_text }
    }

    /// Returns whether the body was made from a `&str` or `String`. For transports.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.is_text
    }

    /// Copies headers and body out of their receive buffers.
    ///
    /// For code that stores responses: without this, a small response may keep a large buffer in
    /// memory.
    #[must_use]
    pub fn compacted(&self) -> Self {
        let (headers, body) = (self.headers.compacted(), Bytes::copy_from_slice(&self.body));
        Self { headers, body, dedup: self.dedup, is_text: self.is_text }
    }

    /// Replaces the headers.
    #[must_use]
    pub fn with_headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }

    /// Sets the duplicate suppression of the responder; it travels separately from the headers.
    ///
    /// For transports, which read it from the wire, and for middleware around routes. A value set
    /// by a handler is removed when its reply leaves: it may come from a call that the handler
    /// made, and does not describe the handler's own request.
    #[must_use]
    pub fn with_dedup(mut self, dedup: impl Into<Option<Dedup>>) -> Self {
        self.dedup = dedup.into();
        self
    }

    /// Returns the duplicate suppression that the responder stated.
    ///
    /// `None` when it stated none; a second request may then run again.
    #[must_use]
    pub fn dedup(&self) -> Option<Dedup> {
        self.dedup
    }
}

/// Compares headers, body and duplicate suppression. Text equals the same bytes, since transports
/// deliver bytes.
impl PartialEq for Response {
    fn eq(&self, other: &Self) -> bool {
        let Self { headers, body, dedup, is_text: _ } = self;
        *headers == other.headers && *body == other.body && *dedup == other.dedup
    }
}

impl Eq for Response {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn text_is_told_from_bytes_and_is_equal_to_them() {
        assert!(Response::new("pong").is_text() && Response::new("pong".to_owned()).is_text());
        for bytes in [Response::new(b"pong".as_slice()), Response::new(b"pong".to_vec())] {
            assert!(!bytes.is_text());
            assert_eq!(bytes, Response::new("pong"));
        }
        assert!(Response::new("pong").compacted().is_text());
        assert!(!Response::default().is_text());
    }

    #[test]
    fn response_and_its_result_stay_small() {
        assert!(size_of::<Response>() <= 48, "{}", size_of::<Response>());
        assert!(size_of::<Result<Response, Error>>() <= 48);
    }
}
