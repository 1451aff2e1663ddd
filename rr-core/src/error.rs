//! Error of a typed call.

use rr_spi::{AppError, Error, HandlerError};
use serde::{Deserialize, Serialize};

/// Error of a typed call.
///
/// An application error is an answer of the service, not a failure of the call, and has a separate
/// variant.
///
/// # In handlers
///
/// A handler may return a `CallError`. Either variant then counts as the outcome of a call that the
/// handler made and is re-scoped: a downstream's error is not the handler's, even if both have the
/// same type. To return the application error as the handler's own, use [`CallError::into_own`].
///
#[cfg_attr(feature = "json", doc = "```")]
#[cfg_attr(not(feature = "json"), doc = "```ignore")]
/// use rr_core::{AppError, CallError, Context, Requester, RequesterExt};
///
/// #[derive(Debug, serde::Serialize, serde::Deserialize)]
/// struct OutOfStock;
///
/// impl AppError for OutOfStock {
///     const TYPE: &'static str = "orders.OutOfStock";
/// }
///
/// async fn place(
///     stock: &dyn Requester,
///     ctx: &Context,
///     order: u32,
/// ) -> Result<u32, CallError<OutOfStock>> {
///     if order == 0 {
///         return Err(CallError::App(OutOfStock).into_own());
///     }
///     // By `?` alone, the caller would see an internal error.
///     let taken = stock.call(ctx, "stock.take", &order).app_error::<OutOfStock>().await;
///     taken.map_err(CallError::into_own)
/// }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "a call is answered by the service, or it is not")]
pub enum CallError<E = NoAppError> {
    /// The service answered with an application error.
    #[error("the service answered with an application error")]
    App(E),
    /// The call failed, or the service answered with an error that is not an `E`.
    #[error(transparent)]
    Rr(#[from] Error),
}

/// Application error of a call that expects none; an empty enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "having no values is its meaning")]
pub enum NoAppError {}

impl AppError for NoAppError {
    const TYPE: &'static str = "";
}

#[cfg(feature = "json")]
impl<E: AppError> CallError<E> {
    /// Converts to [`CallError::App`] if the error carries a detail that decodes as `E`, else to
    /// [`CallError::Rr`].
    pub(crate) fn sort(error: Error) -> Self {
        let own = error.details().iter().find(|detail| detail.kind == E::TYPE);
        match own.and_then(|detail| serde_json::from_slice(&detail.value).ok()) {
            Some(app) => Self::App(app),
            None => Self::Rr(error),
        }
    }
}

impl<E: AppError> CallError<E> {
    /// Makes an application error the handler's own, so that the handler's caller receives it.
    ///
    /// Otherwise, an application error that leaves a handler counts as the answer of a service that
    /// the handler called. [`CallError::Rr`] is unchanged: its error is re-scoped.
    #[must_use]
    pub fn into_own(self) -> Self {
        match self {
            Self::App(app) => Self::Rr(app.into()),
            Self::Rr(error) => Self::Rr(error),
        }
    }
}

/// An error that leaves a handler by `?` is a downstream's. It keeps its failure mark, and an
/// application error gets one, so that neither leaks.
impl<E: AppError> From<CallError<E>> for Error {
    fn from(error: CallError<E>) -> Self {
        match error {
            CallError::App(app) => Self::from(app).into_failure(),
            CallError::Rr(error) => error,
        }
    }
}

/// The error of a call that a handler returns is a downstream's, unless the handler applied
/// [`CallError::into_own`].
impl<E: AppError> HandlerError for CallError<E> {
    fn into_handler_error(self) -> Error {
        self.into()
    }
}
