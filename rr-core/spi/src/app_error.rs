//! Application errors: typed outcomes that travel as a detail.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Code, Detail, Error, Reason};

/// An application's own error type, carried as a detail of its declared name.
///
/// It reaches a typed caller as a value again. It is an answer, not a failure of the call: retry
/// and breaker count it as a success. Encoded it may take 8 KiB
/// ([`ERROR_DETAIL_BYTES_MAX`](crate::defaults::ERROR_DETAIL_BYTES_MAX)); a larger one arrives without
/// its value, as an ordinary error.
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
pub trait AppError: Serialize + DeserializeOwned {
    /// The name that the detail carries; unique within the applications that talk to each other.
    const TYPE: &'static str;

    /// Returns the code that callers without the type see.
    fn code(&self) -> Code {
        Code::FailedPrecondition
    }
}

impl<E: AppError> From<E> for Error {
    fn from(app: E) -> Self {
        match serde_json::to_vec(&app) {
            Ok(value) => Self::new(app.code(), format!("application error {}", E::TYPE))
                .with_reason(Reason::APP)
                .with_detail(Detail::new(E::TYPE, value)),
            Err(source) => Self::new(Code::Internal, "an application error could not be encoded")
                .with_source(source),
        }
    }
}

/// What a typed handler may return as its error: [`Error`], an [`AppError`], or a typed call's error.
///
/// It is the handler's own statement: an application error given this way is the handler's, while
/// the error of a call is a downstream's, and re-scoped, until the handler makes it its own.
pub trait HandlerError {
    /// Returns the error that leaves the handler.
    fn into_handler_error(self) -> Error;
}

impl HandlerError for Error {
    fn into_handler_error(self) -> Error {
        self
    }
}

impl<E: AppError> HandlerError for E {
    fn into_handler_error(self) -> Error {
        self.into()
    }
}
