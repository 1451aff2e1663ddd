//! Builders of calls, sent by `.await`.

mod into_target;
mod many;
mod outcome;
#[cfg(feature = "json")]
mod reply_value;

use std::borrow::Cow;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use rr_spi::{
    BoxFuture, Context, Error, Idempotency, IdempotencyKey, Request, Requester, Response,
};

pub use into_target::IntoTarget;
pub use outcome::{Outcome, Raw};
#[cfg(feature = "json")]
pub use outcome::{Typed, TypedReply};
#[cfg(feature = "json")]
pub use reply_value::ReplyValue;

mod sealed {
    pub trait Sealed {}
    impl<R: rr_spi::Requester + ?Sized> Sealed for R {}
}

/// Call builders on any requester, including `dyn Requester`. Sealed: implemented for every
/// [`Requester`].
///
/// # Examples
///
#[cfg_attr(feature = "json", doc = "```")]
#[cfg_attr(not(feature = "json"), doc = "```ignore")]
/// use rr_core::{CallError, Context, Requester, RequesterExt};
///
/// async fn ping(client: &dyn Requester, ctx: &Context) -> Result<String, CallError> {
///     let pong: String = client.call(ctx, "service.ping", "hello").idempotent().await?;
///     let raw = client.call_raw(ctx, "service.ping", "{}").header("x-tag", "a").await?;
///     assert!(!raw.body.is_empty());
///     Ok(pong)
/// }
/// ```
pub trait RequesterExt: Requester + sealed::Sealed {
    /// Prepares a typed call: the body is encoded as JSON, and the reply decoded.
    ///
    /// The target is a name or a [`Target`](rr_spi::Target), owned or borrowed.
    ///
    /// # Errors
    ///
    /// Awaiting the call returns [`CallError::Rr`](crate::CallError::Rr) with `InvalidArgument`,
    /// not sent, when the target is malformed; `Internal`, processed, `decode` or `bad-response`,
    /// when the reply cannot be decoded (unknown if it is the acknowledgement of a JetStream
    /// stream); otherwise the error of the requester.
    ///
    /// # Cancel safety
    ///
    /// Dropping the call cancels it.
    #[cfg(feature = "json")]
    fn call<'a, T>(
        &'a self,
        ctx: &'a Context,
        target: impl IntoTarget,
        body: &(impl serde::Serialize + ?Sized),
    ) -> Call<'a, Self, Typed<T>>
    where
        T: ReplyValue,
    {
        Call::new(self, ctx, encoded::<crate::codec::Json>(target, body))
    }

    /// Selects the codec of typed calls, instead of JSON.
    ///
    /// # Examples
    ///
    /// ```
    /// use rr_core::codec::Text;
    /// use rr_core::{CallError, Context, Requester, RequesterExt};
    ///
    /// async fn shout(client: &dyn Requester, ctx: &Context) -> Result<String, CallError> {
    ///     client.codec(Text).call(ctx, "text.shout", "hello").await
    /// }
    /// ```
    #[cfg(feature = "json")]
    fn codec<C: crate::codec::Codec>(&self, codec: C) -> CodecCalls<'_, Self, C> {
        CodecCalls { requester: self, _codec: codec }
    }

    /// Prepares a call that sends and receives bytes as they are.
    ///
    /// # Errors
    ///
    /// Awaiting the call returns `InvalidArgument`, not sent, when the target is malformed;
    /// otherwise the error of the requester.
    ///
    /// # Cancel safety
    ///
    /// Dropping the call cancels it.
    fn call_raw<'a>(
        &'a self,
        ctx: &'a Context,
        target: impl IntoTarget,
        body: impl Into<Bytes>,
    ) -> Call<'a, Self, Raw> {
        Call::new(self, ctx, prepare(target, body.into()))
    }
}

impl<R: Requester + ?Sized> RequesterExt for R {}

/// Builder of typed calls in one codec; see [`RequesterExt::codec`].
#[cfg(feature = "json")]
pub struct CodecCalls<'a, R: ?Sized, C> {
    requester: &'a R,
    _codec: C,
}

#[cfg(feature = "json")]
impl<'a, R: Requester + ?Sized, C: crate::codec::Codec> CodecCalls<'a, R, C> {
    /// Prepares a typed call, as [`RequesterExt::call`], with the body and the reply in this codec.
    pub fn call<T>(
        &self,
        ctx: &'a Context,
        target: impl IntoTarget,
        body: &(impl crate::codec::EncodedBy<C> + ?Sized),
    ) -> Call<'a, R, Typed<T, crate::error::NoAppError, C>>
    where
        C: crate::codec::Decode<T>,
    {
        Call::new(self.requester, ctx, encoded::<C>(target, body))
    }
}

#[cfg(feature = "json")]
impl<R: ?Sized, C> fmt::Debug for CodecCalls<'_, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodecCalls").finish_non_exhaustive()
    }
}

#[cfg(feature = "json")]
fn encoded<C: crate::codec::Codec>(
    target: impl IntoTarget,
    body: &(impl crate::codec::EncodedBy<C> + ?Sized),
) -> Result<Request, Error> {
    crate::codec::transcode::encode_request::<C>(body, |body| prepare(target, body))
}

fn prepare(target: impl IntoTarget, body: Bytes) -> Result<Request, Error> {
    Ok(Request::new(target.into_target()?, body))
}

/// Builder of a call; `.await` sends it.
///
/// The call has the deadline of its context: set it with
/// [`Context::with_timeout`](rr_spi::Context::with_timeout). Without a deadline, the requester's
/// default applies: 10 s, unless configured otherwise.
#[must_use = "a call does nothing unless awaited"]
pub struct Call<'a, R: ?Sized, K> {
    requester: &'a R,
    ctx: &'a Context,
    request: Result<Request, Error>,
    outcome: PhantomData<fn() -> K>,
}

impl<'a, R: Requester + ?Sized, K> Call<'a, R, K> {
    fn new(requester: &'a R, ctx: &'a Context, request: Result<Request, Error>) -> Self {
        Self { requester, ctx, request, outcome: PhantomData }
    }

    /// Declares that the call changes nothing.
    pub fn safe(self) -> Self {
        self.idempotency(Idempotency::Safe)
    }

    /// Declares that running the call twice has the effect of running it once.
    pub fn idempotent(self) -> Self {
        self.idempotency(Idempotency::Idempotent)
    }

    /// Sets the key by which the responder recognises duplicates of this call.
    pub fn keyed(self, key: IdempotencyKey) -> Self {
        self.idempotency(Idempotency::Keyed(key))
    }

    /// Adds a header; a malformed or reserved one makes the call fail with `InvalidArgument`.
    pub fn header(
        self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.change(|request| request.headers.append(name, value))
    }

    /// Adds a header with a binary value; its name ends in `-bin`.
    pub fn header_bin(self, name: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) -> Self {
        self.change(|request| request.headers.append_bin(name, value))
    }

    fn idempotency(self, idempotency: Idempotency) -> Self {
        self.change(|request| {
            request.idempotency = idempotency;
            Ok(())
        })
    }

    fn change(mut self, change: impl FnOnce(&mut Request) -> Result<(), Error>) -> Self {
        self.request = self.request.and_then(|mut request| {
            change(&mut request)?;
            Ok(request)
        });
        self
    }
}

#[cfg(feature = "json")]
impl<'a, R: ?Sized, T, E, C> Call<'a, R, Typed<T, E, C>> {
    /// Sets the type of the application error that the service may answer with.
    ///
    /// # Examples
    ///
    /// ```
    /// use rr_core::{AppError, CallError, Context, Requester, RequesterExt};
    ///
    /// #[derive(Debug, serde::Serialize, serde::Deserialize)]
    /// struct OutOfStock;
    ///
    /// impl AppError for OutOfStock {
    ///     const TYPE: &'static str = "orders.OutOfStock";
    /// }
    ///
    /// async fn place(client: &dyn Requester, ctx: &Context) -> Result<bool, rr_core::Error> {
    ///     match client.call(ctx, "orders.place", &7).app_error::<OutOfStock>().await {
    ///         Ok(()) => Ok(true),
    ///         Err(CallError::App(OutOfStock)) => Ok(false),
    ///         Err(CallError::Rr(error)) => Err(error),
    ///     }
    /// }
    /// ```
    pub fn app_error<F: rr_spi::AppError>(self) -> Call<'a, R, Typed<T, F, C>> {
        self.with_outcome()
    }

    /// Makes the call return a [`Reply`](crate::Reply): the value with the headers of the reply.
    ///
    /// # Examples
    ///
    /// ```
    /// use rr_core::{CallError, Context, Reply, Requester, RequesterExt};
    ///
    /// async fn cached(client: &dyn Requester, ctx: &Context) -> Result<bool, CallError> {
    ///     let reply: Reply<u32> = client.call(ctx, "stock.left", &()).reply().await?;
    ///     Ok(reply.headers().contains("x-cached"))
    /// }
    /// ```
    pub fn reply(self) -> Call<'a, R, TypedReply<T, E, C>> {
        self.with_outcome()
    }
}

impl<'a, R: ?Sized, K> Call<'a, R, K> {
    #[cfg(feature = "json")]
    fn with_outcome<L>(self) -> Call<'a, R, L> {
        let Self { requester, ctx, request, .. } = self;
        Call { requester, ctx, request, outcome: PhantomData }
    }
}

impl<'a, R: Requester + ?Sized, K: Outcome> IntoFuture for Call<'a, R, K> {
    type Output = K::Output;
    type IntoFuture = Calling<'a, K>;

    fn into_future(self) -> Calling<'a, K> {
        let Self { requester, ctx, request, .. } = self;
        let state = match request {
            Err(error) => State::Failed(Some(error)),
            // Without a deadline, the default of the requester or of its stack applies.
            Ok(request) => State::Running(requester.request(ctx, request)),
        };
        Calling { state, outcome: PhantomData }
    }
}

/// Future of a call.
#[must_use = "futures do nothing unless polled"]
pub struct Calling<'a, K> {
    state: State<'a>,
    outcome: PhantomData<fn() -> K>,
}

enum State<'a> {
    Failed(Option<Error>),
    Running(BoxFuture<'a, Result<Response, Error>>),
}

impl<K: Outcome> Future for Calling<'_, K> {
    type Output = K::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<K::Output> {
        let outcome = match &mut self.state {
            State::Failed(error) => match error.take() {
                Some(error) => Err(error),
                None => return Poll::Pending,
            },
            State::Running(future) => {
                let outcome = ready!(future.as_mut().poll(cx));
                self.state = State::Failed(None);
                outcome
            }
        };
        // Marks the error as the outcome of a call, whatever the requester and middleware returned.
        Poll::Ready(K::convert(outcome.map_err(Error::into_failure)))
    }
}

impl<R: ?Sized, K> fmt::Debug for Call<'_, R, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("request", &self.request).finish_non_exhaustive()
    }
}

impl<K> fmt::Debug for Calling<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calling").finish_non_exhaustive()
    }
}
