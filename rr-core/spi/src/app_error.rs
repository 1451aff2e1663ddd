//! Application errors: typed values, sent as a detail of an error.

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
    /// Type name in the detail; unique among the applications that call each other.
    const TYPE: &'static str;

    /// Returns the code for callers that do not know the type.
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

/// Error of a typed handler: [`Error`], an [`AppError`], or the error of a typed call.
///
/// An [`AppError`] counts as the handler's own error. The error of a call counts as a downstream
/// error and is re-scoped, unless the handler converts it into its own error.
pub trait HandlerError {
    /// Converts the value into the error that leaves the handler.
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
