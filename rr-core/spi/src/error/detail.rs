//! What an error carries beside code and message.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use super::{Code, Delivery, Error, Reason};

/// One typed detail of an error, as Connect carries them: a type name and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Detail {
    /// The declared name of the type, such as `orders.OutOfStock`.
    pub kind: Cow<'static, str>,
    /// The encoded value; JSON for application errors.
    pub value: Bytes,
}

impl Detail {
    /// Makes a detail of the given type name and bytes.
    pub fn new(kind: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) -> Self {
        Self { kind: kind.into(), value: value.into() }
    }
}

/// What one attempt of a call did, for the account of a call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptRecord {
    /// The code that the attempt ended with.
    pub code: Code,
    /// Whether the handler may have run in this attempt.
    pub delivery: Delivery,
    /// The reason token, when there was one.
    pub reason: Option<Reason>,
    /// How long the attempt took.
    pub elapsed: Duration,
}

impl AttemptRecord {
    /// Records how an attempt failed.
    #[must_use]
    pub fn of(error: &Error, elapsed: Duration) -> Self {
        Self {
            code: error.code(),
            delivery: error.delivery(),
            reason: error.reason().cloned(),
            elapsed,
        }
    }
}
