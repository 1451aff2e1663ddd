//! Declarations of a method: its idempotency, and the codecs that it accepts.

use std::fmt;
use std::marker::PhantomData;

use rr_spi::Declared;

/// Declarations on a handler, in [`Router::route`](crate::Router::route) and
/// [`Service::method`](crate::Service::method).
///
/// # Examples
///
#[cfg_attr(feature = "json", doc = "```")]
#[cfg_attr(not(feature = "json"), doc = "```ignore")]
/// use rr_core::codec::{Json, Text};
/// use rr_core::{Error, HandlerExt, Router};
///
/// async fn echo(text: String) -> Result<String, Error> {
///     Ok(text)
/// }
///
/// let router = Router::new().route("text.echo", echo.safe().accepts((Json, Text)));
/// ```
pub trait HandlerExt: Sized {
    /// Declares that the method changes nothing; HTTP then answers GET.
    fn safe(self) -> Method<Self> {
        Method::new(self).safe()
    }

    /// Declares that running the method twice has the effect of running it once.
    fn idempotent(self) -> Method<Self> {
        Method::new(self).idempotent()
    }

    /// Declares that the method recognises duplicate requests by their idempotency key.
    fn keyed(self) -> Method<Self> {
        Method::new(self).keyed()
    }

    /// Sets the codec that the method accepts, or a tuple of up to six: the method answers in that of
    /// the request. Without this, a typed method accepts JSON.
    #[cfg(feature = "json")]
    fn accepts<C>(self, codecs: C) -> Method<Self, C> {
        Method::new(self).accepts(codecs)
    }
}

impl<F> HandlerExt for F {}

/// Handler with declarations; see [`HandlerExt`].
#[must_use = "declarations do nothing unless the handler is routed"]
pub struct Method<F, C = ()> {
    pub(super) function: F,
    pub(super) declared: Declared,
    codec: PhantomData<fn() -> C>,
}

impl<F> Method<F> {
    const fn new(function: F) -> Self {
        Self { function, declared: Declared::Unspecified, codec: PhantomData }
    }
}

impl<F, C> Method<F, C> {
    /// Declares that the method changes nothing; HTTP then answers GET.
    pub fn safe(self) -> Self {
        Self { declared: Declared::Safe, ..self }
    }

    /// Declares that running the method twice has the effect of running it once.
    pub fn idempotent(self) -> Self {
        Self { declared: Declared::Idempotent, ..self }
    }

    /// Declares that the method recognises duplicate requests by their idempotency key.
    pub fn keyed(self) -> Self {
        Self { declared: Declared::Keyed, ..self }
    }

    pub(crate) fn map<G>(self, map: impl FnOnce(F) -> G) -> Method<G, C> {
        Method { function: map(self.function), declared: self.declared, codec: PhantomData }
    }

    /// Replaces the codecs; see [`HandlerExt::accepts`].
    #[cfg(feature = "json")]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a codec is a marker; its type is what counts"
    )]
    pub fn accepts<D>(self, codecs: D) -> Method<F, D> {
        let _ = codecs;
        Method { function: self.function, declared: self.declared, codec: PhantomData }
    }
}

impl<F, C> fmt::Debug for Method<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Method").field("declared", &self.declared).finish_non_exhaustive()
    }
}
