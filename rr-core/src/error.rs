//! What a typed call returns when it does not return its value.

use std::fmt;

use rr_spi::{AppError, Error, HandlerError};
use serde::{Deserialize, Serialize};

/// What a typed call returns when it does not return its value.
///
/// An application's own error is an answer, not a failure of the call; it is kept apart.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a call is answered by the service, or it is not")]
pub enum CallError<E = NoAppError> {
    /// The service answered with an error of its own.
    App(E),
    /// The call failed, or the service answered with an error that is not an `E`.
    Rr(Error),
}

impl<E> From<Error> for CallError<E> {
    fn from(error: Error) -> Self {
        Self::Rr(error)
    }
}

impl<E> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App(_) => f.write_str("the service answered with an application error"),
            Self::Rr(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug> std::error::Error for CallError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::App(_) => None,
            Self::Rr(error) => error.source(),
        }
    }
}

/// The application error of a call that expects none; it has no values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "having no values is its meaning")]
pub enum NoAppError {}

impl AppError for NoAppError {
    const TYPE: &'static str = "";
}

#[cfg(feature = "json")]
impl<E: AppError> CallError<E> {
    /// Sorts an error: into the application's own where its detail is there.
    pub(crate) fn sort(error: Error) -> Self {
        let own = error.details().iter().find(|detail| detail.kind == E::TYPE);
        match own.and_then(|detail| serde_json::from_slice(&detail.value).ok()) {
            Some(app) => Self::App(app),
            None => Self::Rr(error),
        }
    }
}

/// An error that leaves a handler by `?` is a downstream's: it keeps the mark of a failure, and
/// an application error gets it, so that neither leaks.
impl<E: AppError> From<CallError<E>> for Error {
    fn from(error: CallError<E>) -> Self {
        match error {
            CallError::App(app) => Self::from(app).into_failure(),
            CallError::Rr(error) => error,
        }
    }
}

/// A handler that returns `CallError<A>` states its own application error by it.
impl<E: AppError> HandlerError for CallError<E> {
    fn into_handler_error(self) -> Error {
        match self {
            Self::App(app) => app.into(),
            Self::Rr(error) => error,
        }
    }
}
