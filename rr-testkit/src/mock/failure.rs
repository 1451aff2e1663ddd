//! Errors that a mock answers with: those of the test, and its own.

use rr_spi::{Code, Error, Reason, RetryHint};

/// Value that a mock can fail with: an [`Error`], or a [`Code`] with a general message.
///
/// An application error is converted first: `Error::from(OutOfStock { left: 2 })`.
pub trait MockFailure: sealed::Sealed {
    /// Returns the error.
    fn into_error(self) -> Error;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for rr_spi::Error {}
    impl Sealed for rr_spi::Code {}
}

impl MockFailure for Error {
    fn into_error(self) -> Error {
        self
    }
}

impl MockFailure for Code {
    fn into_error(self) -> Error {
        Error::new(self, "the mock fails as the test asked")
    }
}

/// Error of the mock itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    NoMatch,
    Exhausted,
    NoAnswer,
}

impl Refusal {
    /// Makes the error. It must not be retried: another attempt would hide the first.
    pub(super) fn error(self, message: String) -> Error {
        let (reason, hint) = match self {
            Self::NoMatch => ("mock-no-match", "add an expectation that matches the request"),
            Self::Exhausted => ("mock-exhausted", "add an answer, or expect more requests"),
            Self::NoAnswer => ("mock-no-answer", "answer the request"),
        };
        let error = Error::new(Code::Internal, message).with_retry(RetryHint::Never);
        match Reason::parse(reason) {
            Some(reason) => error.with_reason(reason).with_hint(hint),
            None => error,
        }
    }
}
