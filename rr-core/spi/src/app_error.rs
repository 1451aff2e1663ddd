//! Application errors: typed values, sent as a detail of an error.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Code, Detail, Error, Reason};

/// Error type of an application, sent as a detail under its declared name.
///
/// A typed caller receives the value again. Retry and breaker count an application error as a
/// success, since it is a reply and not a failure of the call. The encoded value may take 8 KiB
/// ([`ERROR_DETAIL_BYTES_MAX`](crate::defaults::ERROR_DETAIL_BYTES_MAX)); with a larger value, the
/// caller receives an ordinary error without it.
///
/// On the wire the value is base64, as Connect requires. The error body also shows it as JSON, in
/// the member `debug`, for people who read a reply of `curl`.
///
/// # Examples
///
/// ```
/// # use rr_spi as rr_core;
/// use rr_core::{AppError, Code, Error};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct OutOfStock {
///     left: u32,
/// }
///
/// impl AppError for OutOfStock {
///     const TYPE: &'static str = "orders.OutOfStock";
/// }
///
/// let error = Error::from(OutOfStock { left: 2 });
/// assert_eq!(error.code(), Code::FailedPrecondition);
/// assert_eq!(error.details()[0].kind, "orders.OutOfStock");
/// ```
///
/// A handler that also makes calls may have one error type for both. The variant of the failed call
/// is never encoded, so that serde skips it:
///
/// ```
/// # use rr_spi as rr_core;
/// use std::borrow::Cow;
///
/// use rr_core::{AppError, Code, Delivery, Error, HandlerError};
///
/// #[derive(Debug, thiserror::Error, serde::Serialize, serde::Deserialize)]
/// enum PlaceError {
///     #[error("{left} left")]
///     OutOfStock { left: u32 },
///     #[error(transparent)]
///     #[serde(skip)]
///     Call(#[from] rr_core::Error),
/// }
///
/// impl AppError for PlaceError {
///     const TYPE: &'static str = "orders.PlaceError";
///
///     fn message(&self) -> Cow<'static, str> {
///         self.to_string().into()
///     }
///
///     fn failed_call(&self) -> Option<&Error> {
///         match self {
///             Self::Call(error) => Some(error),
///             Self::OutOfStock { .. } => None,
///         }
///     }
/// }
///
/// let error = PlaceError::OutOfStock { left: 2 }.into_handler_error();
/// assert_eq!((error.code(), error.message()), (Code::FailedPrecondition, "2 left"));
///
/// let failed = Error::failure(Code::Unavailable, Delivery::NotSent, None, "refused");
/// let error = PlaceError::from(failed).into_handler_error();
/// assert_eq!((error.code(), error.message()), (Code::Unavailable, "refused"));
/// // The server re-scopes the failed call, so that the handler's caller does not read "refused".
/// assert_ne!(rr_core::rescope(error).message(), "refused");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an `AppError`",
    label = "not an `AppError`; convert an error of a library by `.map_err(|error| Error::new(Code::Internal, \"what failed\").with_source(error))?`",
    note = "a type of yours that callers tell apart implements `AppError`"
)]
pub trait AppError: Serialize + DeserializeOwned {
    /// Type name in the detail; unique among the applications that call each other.
    const TYPE: &'static str;

    /// Returns the code for callers that do not know the type.
    fn code(&self) -> Code {
        Code::FailedPrecondition
    }

    /// Returns the message, for people who read the reply or a log; `application error` and the
    /// type by default.
    ///
    /// The message travels to every caller, so that it must not have anything that a caller may not
    /// read. More than 1 KiB of it is cut.
    fn message(&self) -> Cow<'static, str> {
        format!("application error {}", Self::TYPE).into()
    }

    /// Returns the failed call that this value wraps; none by default.
    ///
    /// The conversion into [`Error`] then returns a clone of that error and does not encode the
    /// value. It leaves the handler as if the handler had returned the error itself: the failure of
    /// a call is re-scoped, and an error that the handler made with [`Error::new`] is its own.
    fn failed_call(&self) -> Option<&Error> {
        None
    }
}

impl<E: AppError> From<E> for Error {
    fn from(app: E) -> Self {
        if let Some(failed) = app.failed_call() {
            return failed.clone();
        }
        match serde_json::to_vec(&app) {
            Ok(value) => Self::new(app.code(), app.message())
                .with_reason(Reason::APP)
                .with_detail(Detail::new(E::TYPE, value)),
            Err(source) => Self::new(Code::Internal, "an application error could not be encoded")
                .with_hint(
                    "return the error of a variant that serde skips in `AppError::failed_call`",
                )
                .with_source(source),
        }
    }
}

/// Error of a typed handler: [`Error`], an [`AppError`], or the error of a typed call.
///
/// An [`AppError`] counts as the handler's own error, unless it wraps a
/// [failed call](AppError::failed_call). The error of a call counts as a downstream error and is
/// re-scoped, unless the handler converts it into its own error.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a handler",
    label = "neither `Error`, nor an `AppError`, nor a `CallError`",
    note = "an error of a library becomes one by `.map_err(|error| Error::new(Code::Internal, \"what failed\").with_source(error))`",
    note = "a type of yours that callers tell apart implements `AppError`"
)]
pub trait HandlerError {
    /// Converts the value into the error that leaves the handler.
    fn into_handler_error(self) -> Error;
}

impl HandlerError for Error {
    fn into_handler_error(self) -> Error {
        self
    }
}

#[diagnostic::do_not_recommend]
impl<E: AppError> HandlerError for E {
    fn into_handler_error(self) -> Error {
        self.into()
    }
}
