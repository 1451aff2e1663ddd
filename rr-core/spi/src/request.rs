//! One request.

use bytes::Bytes;

use crate::headers::Headers;
use crate::idempotency::Idempotency;
use crate::target::Target;

/// One request: what it names, its headers and its body.
///
/// Plain data: cloning it for a retry bumps reference counts, and nothing in it is about time.
/// What bounds a call in time travels in the [`Context`](crate::Context).
///
/// # Examples
///
/// ```
/// # use rr_spi as rr_core;
/// use rr_core::{Request, Target};
///
/// let request = Request::new(Target::try_from("service.ping")?, "hello");
/// assert_eq!(request.target.method(), "ping");
/// # Ok::<(), rr_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// What the request names.
    pub target: Target,
    /// The application's headers; the transport's own never show here.
    pub headers: Headers,
    /// The body, as bytes.
    pub body: Bytes,
    /// What the request says about being run twice.
    pub idempotency: Idempotency,
}

impl Request {
    /// Makes a request without headers, of unspecified idempotency.
    pub fn new(target: Target, body: impl Into<Bytes>) -> Self {
        Self {
            target,
            headers: Headers::new(),
            body: body.into(),
            idempotency: Idempotency::Unspecified,
        }
    }

    /// Replaces the headers.
    #[must_use]
    pub fn with_headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }

    /// Says what happens if the request runs twice.
    #[must_use]
    pub fn with_idempotency(mut self, idempotency: Idempotency) -> Self {
        self.idempotency = idempotency;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_stays_small() {
        assert!(size_of::<Request>() <= 104, "{}", size_of::<Request>());
    }
}
