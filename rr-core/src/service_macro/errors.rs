//! Conversion between the error type of a method and [`Error`], by the kind of the type.
//!
//! The generated code calls a method on a reference to a reference to [`Failed`] or [`Leaving`],
//! with the type of the error written out. Method resolution tries the implementation for the most
//! references first and takes the first one whose bounds hold.

use std::marker::PhantomData;

use rr_spi::{AppError, Error, HandlerError};

use crate::error::CallError;

/// Conversion of the failure of a call into `E`, at the client.
#[derive(Debug)]
pub struct Failed<E>(PhantomData<fn() -> E>);

impl<E> Failed<E> {
    /// The conversion.
    pub const NEW: Self = Self(PhantomData);
}

/// First choice: an application error that can also hold a failure.
pub trait FromAppError<E> {
    /// Decodes the application error, or keeps the failure.
    fn to_error(&self, error: Error) -> E;
}

impl<E: AppError + From<Error>> FromAppError<E> for &&Failed<E> {
    fn to_error(&self, error: Error) -> E {
        match CallError::sort(error) {
            CallError::App(app) => app,
            CallError::Rr(error) => error.into(),
        }
    }
}

/// Second choice: the error of typed calls.
pub trait FromCallError<A> {
    /// Sorts the error.
    fn to_error(&self, error: Error) -> CallError<A>;
}

impl<A: AppError> FromCallError<A> for &Failed<CallError<A>> {
    fn to_error(&self, error: Error) -> CallError<A> {
        CallError::sort(error)
    }
}

/// Last choice: everything that an [`Error`] converts into, and [`Error`] itself.
pub trait FromError<E> {
    /// Converts the error.
    fn to_error(&self, error: Error) -> E
    where
        E: HoldsFailure;
}

impl<E> FromError<E> for Failed<E> {
    fn to_error(&self, error: Error) -> E
    where
        E: HoldsFailure,
    {
        E::from_failure(error)
    }
}

/// Error type that can hold the failure of a call.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot hold the failure of a call",
    label = "has no place for an `rr_core::Error`",
    note = "add a variant `Call(#[from] rr_core::Error)`; if `{Self}` is an `AppError`, with `#[serde(skip)]`, and return its error in `AppError::failed_call`",
    note = "or return `Result<T, CallError<{Self}>>`"
)]
pub trait HoldsFailure {
    /// Makes the error of a failure.
    fn from_failure(error: Error) -> Self;
}

#[diagnostic::do_not_recommend]
impl<E: From<Error>> HoldsFailure for E {
    fn from_failure(error: Error) -> Self {
        error.into()
    }
}

/// Conversion of the error of an implementation into the error that leaves the handler.
#[derive(Debug)]
pub struct Leaving<E>(PhantomData<fn() -> E>);

impl<E> Leaving<E> {
    /// The conversion.
    pub const NEW: Self = Self(PhantomData);
}

/// First choice: the errors of typed handlers.
pub trait LeaveHandler<E> {
    /// Converts the error.
    fn leave(&self, error: E) -> Error;
}

impl<E: HandlerError> LeaveHandler<E> for &Leaving<E> {
    fn leave(&self, error: E) -> Error {
        error.into_handler_error()
    }
}

/// Last choice: everything that converts into an [`Error`].
pub trait IntoOwnError<E> {
    /// Converts the error.
    fn leave(&self, error: E) -> Error
    where
        E: LeavesHandler;
}

impl<E> IntoOwnError<E> for Leaving<E> {
    fn leave(&self, error: E) -> Error
    where
        E: LeavesHandler,
    {
        error.into_left()
    }
}

/// Error type of an implementation that can be sent to the caller.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent to the caller of a method",
    label = "is neither an `AppError` nor converts into an `rr_core::Error`",
    note = "implement `rr_core::AppError` for it, so that the caller receives the value",
    note = "or implement `From<{Self}> for rr_core::Error`"
)]
pub trait LeavesHandler {
    /// Converts into the error that leaves the handler.
    fn into_left(self) -> Error;
}

#[diagnostic::do_not_recommend]
impl<E: Into<Error>> LeavesHandler for E {
    fn into_left(self) -> Error {
        self.into()
    }
}
