//! Types that can be routed: responders, async functions and closures.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use pin_project_lite::pin_project;
use rr_spi::{
    Context, Declared, Error, HandlerError, Request, Requester, Responder, Response, Route, Routes,
};

use super::method::Method;
use crate::forward::{Forward, Forwarder};

/// Conversion into a routable handler; see [`Router`](crate::Router) for the accepted forms.
///
/// `M` is a marker that distinguishes the forms and is always inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be routed",
    label = "not a handler",
    note = "a handler is `async fn(Context, Request)`, `async fn(Context, T)` or `async fn(T)`, with an owned Context",
    note = "it returns `Result<Response, E>` on bytes, or `Result<U, E>` or `Result<Reply<U>, E>` where `T: DeserializeOwned` and `U: Serialize`",
    note = "`E` is `Error`, an `AppError` or a `CallError`; a method without input takes `(): ()`",
    note = "its future must be `Send + 'static`; a closure names the types of its arguments",
    note = "methods over a state are a `Service`: a call such as `shop.place(order)` is not a handler",
    note = "`#[rr_core::handler]` on the function (feature `macros`) names what does not fit"
)]
#[cfg_attr(
    not(feature = "json"),
    diagnostic::on_unimplemented(
        note = "functions on typed values need the feature `json` of rr-core"
    )
)]
pub trait IntoHandler<M>: Sized {
    /// Converts `self` into a handler.
    fn into_handler(self) -> Handler;
}

/// Responder with the declared idempotency of its method.
pub struct Handler {
    responder: Arc<dyn Responder>,
    declared: Declared,
    /// Whether the responder sets the mark of the call itself.
    marks_itself: bool,
}

impl Handler {
    fn entered(responder: impl Responder) -> Self {
        let responder = Arc::new(responder);
        Self { responder, declared: Declared::Unspecified, marks_itself: false }
    }

    pub(super) fn marking_itself(responder: impl Responder) -> Self {
        Self { marks_itself: true, ..Self::entered(responder) }
    }

    pub(super) fn declare(mut self, declared: Declared) -> Self {
        self.declared = declared;
        self
    }

    pub(super) fn add(self, routes: &mut Routes, route: Route) -> Result<(), Error> {
        if self.marks_itself {
            return routes.insert_self_marking(route, self.declared, self.responder);
        }
        routes.insert(route, self.declared, self.responder)
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").field("declared", &self.declared).finish_non_exhaustive()
    }
}

impl IntoHandler<Self> for Handler {
    fn into_handler(self) -> Handler {
        self
    }
}

/// Marker of methods with a declared idempotency.
#[derive(Debug)]
pub struct AsDeclared<M>(PhantomData<M>);

impl<F: IntoHandler<M>, M> IntoHandler<AsDeclared<M>> for Method<F> {
    fn into_handler(self) -> Handler {
        self.function.into_handler().declare(self.declared)
    }
}

/// Marker of responders.
#[derive(Debug)]
pub struct AsResponder(());

impl<R: Responder> IntoHandler<AsResponder> for R {
    fn into_handler(self) -> Handler {
        Handler::entered(self)
    }
}

/// Marker of bridges.
#[derive(Debug)]
pub struct AsForward(());

impl<R: Requester> IntoHandler<AsForward> for Forward<R> {
    fn into_handler(self) -> Handler {
        Handler::marking_itself(Forwarder(self.0))
    }
}

/// Marker of functions on raw requests and responses.
#[derive(Debug)]
pub struct AsRaw<E>(PhantomData<E>);

impl<F, R, E> IntoHandler<AsRaw<E>> for F
where
    F: Fn(Context, Request) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Response, E>> + Send + 'static,
    E: HandlerError + 'static,
{
    fn into_handler(self) -> Handler {
        Handler::entered(RawFunction(self))
    }
}

/// Responder that wraps a function on raw requests.
struct RawFunction<F>(F);

impl<F, R, E> Responder for RawFunction<F>
where
    F: Fn(Context, Request) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Response, E>> + Send + 'static,
    E: HandlerError + 'static,
{
    rr_spi::boxed! {
        fn respond(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
            Box::pin(Answering { handler: (self.0)(ctx.clone(), request) })
        }
    }
}

pin_project! {
    /// Future of a handler with its error converted to [`Error`]. An `async` block would store the
    /// handler's future twice.
    struct Answering<R> {
        #[pin]
        handler: R,
    }
}

impl<R, E> Future for Answering<R>
where
    R: Future<Output = Result<Response, E>>,
    E: HandlerError,
{
    type Output = Result<Response, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        self.project().handler.poll(cx).map_err(HandlerError::into_handler_error)
    }
}
