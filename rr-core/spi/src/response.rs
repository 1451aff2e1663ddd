//! One response.

use bytes::Bytes;

use crate::headers::Headers;
use crate::idempotency::Dedup;

/// One response: its headers and its body.
///
/// # Examples
///
/// ```
/// let response = rr_spi::Response::new("pong");
/// assert_eq!(response.body, "pong");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// The application's headers.
    pub headers: Headers,
    /// The body, as bytes.
    pub body: Bytes,
    pub(crate) dedup: Option<Dedup>,
}

impl Response {
    /// Makes a response without headers.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { headers: Headers::new(), body: body.into(), dedup: None }
    }

    /// Copies headers and body out of the buffers that they came in.
    ///
    /// For whoever keeps responses: a small one that is kept as it is may hold a large buffer.
    #[must_use]
    pub fn compacted(&self) -> Self {
        let (headers, body) = (self.headers.compacted(), Bytes::copy_from_slice(&self.body));
        Self { headers, body, dedup: self.dedup }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn response_and_its_result_stay_small() {
        assert!(size_of::<Response>() <= 48, "{}", size_of::<Response>());
        assert!(size_of::<Result<Response, Error>>() <= 48);
    }
}
