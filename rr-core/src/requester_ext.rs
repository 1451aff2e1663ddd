//! Builders of calls, sent by `.await`.

use std::borrow::Cow;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use rr_spi::{
    BoxFuture, Context, Error, Idempotency, IdempotencyKey, Request, Requester, Response, Target,
};

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
    /// The target is a name or a [`Target`], owned or borrowed.
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
        target: impl TryInto<Target, Error: Into<Error>>,
        body: &(impl serde::Serialize + ?Sized),
    ) -> Call<'a, Self, Typed<T>>
    where
        T: serde::de::DeserializeOwned,
    {
        use crate::codec::{Codec, Json};
        let request = prepare(target, Json::encode(body)).and_then(|mut request| {
            request.headers.insert(rr_spi::wire::CONTENT_TYPE, Json::CONTENT_TYPE)?;
            Ok(request)
        });
        Call::new(self, ctx, request)
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
        target: impl TryInto<Target, Error: Into<Error>>,
        body: impl Into<Bytes>,
    ) -> Call<'a, Self, Raw> {
        Call::new(self, ctx, prepare(target, Ok(body.into())))
    }
}

impl<R: Requester + ?Sized> RequesterExt for R {}

fn prepare(
    target: impl TryInto<Target, Error: Into<Error>>,
    body: Result<Bytes, Error>,
) -> Result<Request, Error> {
    Ok(Request::new(target.try_into().map_err(Into::into)?, body?))
}

/// Conversion of a reply into the output of a call. Sealed: implemented by [`Raw`] and [`Typed`].
pub trait Reply: reply::Sealed + Send + 'static {
    /// Output of the call's future.
    type Output;

    #[doc(hidden)]
    fn convert(outcome: Result<Response, Error>) -> Self::Output;
}

mod reply {
    pub trait Sealed {}
}

/// Reply without conversion.
#[derive(Debug)]
#[non_exhaustive]
pub struct Raw;

impl reply::Sealed for Raw {}

impl Reply for Raw {
    type Output = Result<Response, Error>;

    fn convert(outcome: Result<Response, Error>) -> Self::Output {
        outcome
    }
}

/// Reply decoded as `T`, or an application error `E`.
#[cfg(feature = "json")]
#[derive(Debug)]
pub struct Typed<T, E = crate::error::NoAppError>(PhantomData<fn() -> (T, E)>);

#[cfg(feature = "json")]
impl<T, E> reply::Sealed for Typed<T, E> {}

#[cfg(feature = "json")]
impl<T, E> Reply for Typed<T, E>
where
    T: serde::de::DeserializeOwned + 'static,
    E: rr_spi::AppError + 'static,
{
    type Output = Result<T, crate::CallError<E>>;

    fn convert(outcome: Result<Response, Error>) -> Self::Output {
        let response = outcome.map_err(crate::CallError::sort)?;
        let decode = crate::codec::decode_response::<crate::Json, T>;
        Ok(decode(&response.headers, &response.body).map_err(Error::into_failure)?)
    }
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
    reply: PhantomData<fn() -> K>,
}

impl<'a, R: Requester + ?Sized, K> Call<'a, R, K> {
    fn new(requester: &'a R, ctx: &'a Context, request: Result<Request, Error>) -> Self {
        Self { requester, ctx, request, reply: PhantomData }
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
impl<'a, R: ?Sized, T, E> Call<'a, R, Typed<T, E>> {
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
    pub fn app_error<F: rr_spi::AppError>(self) -> Call<'a, R, Typed<T, F>> {
        let Self { requester, ctx, request, .. } = self;
        Call { requester, ctx, request, reply: PhantomData }
    }
}

impl<'a, R: Requester + ?Sized, K: Reply> IntoFuture for Call<'a, R, K> {
    type Output = K::Output;
    type IntoFuture = Calling<'a, K>;

    fn into_future(self) -> Calling<'a, K> {
        let Self { requester, ctx, request, .. } = self;
        let state = match request {
            Err(error) => State::Failed(Some(error)),
            // Without a deadline, the default of the requester or of its stack applies.
            Ok(request) => State::Running(requester.request(ctx, request)),
        };
        Calling { state, reply: PhantomData }
    }
}

/// Future of a call.
#[must_use = "futures do nothing unless polled"]
pub struct Calling<'a, K> {
    state: State<'a>,
    reply: PhantomData<fn() -> K>,
}

enum State<'a> {
    Failed(Option<Error>),
    Running(BoxFuture<'a, Result<Response, Error>>),
}

impl<K: Reply> Future for Calling<'_, K> {
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
