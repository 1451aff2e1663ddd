//! One request.

use bytes::Bytes;

use crate::headers::Headers;
use crate::idempotency::Idempotency;
use crate::target::Target;

/// Request: target, headers, body and idempotency.
///
/// Cloning a request, as for a retry, only increments reference counts. Deadline and cancellation
/// are in the [`Context`](crate::Context).
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
    /// The service and method to call.
    pub target: Target,
    /// The application's headers, without those of the transport.
    pub headers: Headers,
    /// The body, as bytes.
    pub body: Bytes,
    /// Whether the request may run more than once.
    pub idempotency: Idempotency,
}

impl Request {
    /// Makes a request without headers and with unspecified idempotency.
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

    /// Replaces the idempotency.
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
