//! Error with which a request is answered, and its HTTP details.

use http::StatusCode;
use rr_spi::{Delivery, Error};

/// Error with which a request is answered, and its HTTP details.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: Error,
    /// Status that replaces that of the error's code, where it is more precise.
    pub(crate) status: Option<StatusCode>,
    /// Methods that the target accepts.
    pub(crate) allow: Option<&'static str>,
    /// Content encodings that the server accepts.
    pub(crate) accept_encoding: Option<&'static str>,
    /// Whether the HTTP/1 connection closes after the reply.
    pub(crate) closes: bool,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, status: None, allow: None, accept_encoding: None, closes: false }
    }
}

impl Refusal {
    pub(super) fn with_status(error: Error, status: StatusCode) -> Self {
        Self { status: Some(status), ..Self::from(error) }
    }

    /// Raises the delivery of the error; see [`Error::raised_to`].
    pub(crate) fn raised_to(self, delivery: Delivery) -> Self {
        Self { error: self.error.raised_to(delivery), ..self }
    }

    pub(super) fn closing(self) -> Self {
        Self { closes: true, ..self }
    }
}
