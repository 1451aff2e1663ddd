//! One response.

use std::any::TypeId;

use bytes::Bytes;

use crate::headers::Headers;
use crate::idempotency::Dedup;

/// One response: its headers and its body.
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
    /// The body, as bytes. Middleware that replaces a text by other bytes should set a `content-type`.
    pub body: Bytes,
    pub(crate) dedup: Option<Dedup>,
    is_text: bool,
}

impl Response {
    /// Makes a response without headers.
    ///
    /// Where a transport has to name a content type and neither the request nor the response does,
    /// a body made of a `&str` or `String` goes as `text/plain; charset=utf-8` and any other as
    /// `application/octet-stream`.
    pub fn new<B: Into<Bytes> + 'static>(body: B) -> Self {
        let is_text = [TypeId::of::<&str>(), TypeId::of::<String>()].contains(&TypeId::of::<B>());
        Self { headers: Headers::new(), body: body.into(), dedup: None, is_text }
    }

    /// Tells whether the response was made of a `&str` or `String`. For transports.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.is_text
    }

    /// Copies headers and body out of the buffers that they came in.
    ///
    /// For whoever keeps responses: a small one that is kept as it is may hold a large buffer.
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

    /// Says what the responder does with duplicates; it travels beside the headers.
    ///
    /// For transports, which read it from the wire, and for middleware around routes. What a
    /// handler sets is dropped when its answer leaves: of a call that it made itself, it says
    /// nothing about its own.
    #[must_use]
    pub fn with_dedup(mut self, dedup: impl Into<Option<Dedup>>) -> Self {
        self.dedup = dedup.into();
        self
    }

    /// Returns what the responder said of duplicates of this request; `None` when it said nothing,
    /// and then a second one may run again.
    #[must_use]
    pub fn dedup(&self) -> Option<Dedup> {
        self.dedup
    }
}

/// Compares headers, body and deduplication. A text equals the same bytes, since transports deliver
/// bytes.
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
