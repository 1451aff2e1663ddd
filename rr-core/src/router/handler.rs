//! What can be routed: responders, async functions and closures.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use pin_project_lite::pin_project;
use rr_spi::{
    BoxFuture, Context, Declared, Error, HandlerError, Request, Requester, Responder, Response,
    Route, Routes,
};

use crate::forward::{Forward, Forwarder};

/// Something that can be routed; see [`Router`](crate::Router) for the forms.
///
/// `M` only tells the forms apart and is always inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be routed",
    label = "not a handler",
    note = "a handler is `async fn(Context, Request)`, `async fn(Context, T)` or `async fn(T)`, with an owned Context",
    note = "it returns `Result<Response, E>` on bytes, or `Result<U, E>` where `T: DeserializeOwned` and `U: Serialize`",
    note = "`E` is `Error`, an `AppError` or a `CallError`; a method without input takes `(): ()`",
    note = "its future must be `Send + 'static`; a closure names the types of its arguments"
)]
pub trait IntoHandler<M>: Sized {
    /// Turns it into a handler.
    fn into_handler(self) -> Handler;

    /// Declares that the method changes nothing; HTTP then answers GET.
    fn safe(self) -> Handler {
        self.into_handler().declare(Declared::Safe)
    }

    /// Declares that running the method twice has the effect of running it once.
    fn idempotent(self) -> Handler {
        self.into_handler().declare(Declared::Idempotent)
    }

    /// Declares that the method recognises a second request by its idempotency key.
    fn keyed(self) -> Handler {
        self.into_handler().declare(Declared::Keyed)
    }
}

/// A handler and what its method is declared to be.
pub struct Handler {
    responder: Arc<dyn Responder>,
    declared: Declared,
    /// Whether it marks the call as run by itself.
    marks_itself: bool,
}

impl Handler {
    fn entered(responder: impl Responder) -> Self {
        let responder = Arc::new(responder);
        Self { responder, declared: Declared::Unspecified, marks_itself: false }
    }

    fn marking_itself(responder: impl Responder) -> Self {
        Self { marks_itself: true, ..Self::entered(responder) }
    }

    fn declare(mut self, declared: Declared) -> Self {
        self.declared = declared;
        self
    }

    pub(super) fn add(self, routes: &mut Routes, route: Route) -> Result<(), Error> {
        if self.marks_itself {
            return routes.insert_unmarked(route, self.declared, self.responder);
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

/// Tells responders apart from functions.
#[derive(Debug)]
pub struct AsResponder(());

impl<R: Responder> IntoHandler<AsResponder> for R {
    fn into_handler(self) -> Handler {
        Handler::entered(self)
    }
}

/// Tells bridges apart from responders.
#[derive(Debug)]
pub struct AsForward(());

impl<R: Requester> IntoHandler<AsForward> for Forward<R> {
    fn into_handler(self) -> Handler {
        Handler::marking_itself(Forwarder(self.0))
    }
}

/// Tells functions on bytes apart from typed ones.
#[derive(Debug)]
pub struct AsRaw<E>(PhantomData<E>);

impl<F, R, E> IntoHandler<AsRaw<E>> for F
where
    F: Fn(Context, Request) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Response, E>> + Send + 'static,
    E: HandlerError + 'static,
{
    fn into_handler(self) -> Handler {
        Handler::entered(Function { call: self, form: PhantomData::<fn() -> AsRaw<E>> })
    }
}

/// A function, as the responder that it is routed as.
struct Function<F, M> {
    call: F,
    form: PhantomData<fn() -> M>,
}

impl<F, R, E> Responder for Function<F, AsRaw<E>>
where
    F: Fn(Context, Request) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Response, E>> + Send + 'static,
    E: HandlerError + 'static,
{
    fn respond<'a, 'c, 'f>(
        &'a self,
        ctx: &'c Context,
        request: Request,
    ) -> BoxFuture<'f, Result<Response, Error>>
    where
        'a: 'f,
        'c: 'f,
    {
        Box::pin(Answering { handler: (self.call)(ctx.clone(), request) })
    }
}

pin_project! {
    /// A handler's future, whose error becomes ours. An `async` block would have room for the
    /// future twice.
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

#[cfg(feature = "json")]
mod typed {
    use rr_spi::{rescope, wire};
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::codec::{Codec, Json, decode_request};

    /// Tells typed functions with a context apart.
    #[derive(Debug)]
    pub struct WithContext<T, U, E>(PhantomData<(T, U, E)>);

    /// Tells typed functions of one value apart.
    #[derive(Debug)]
    pub struct OfValue<T, U, E>(PhantomData<(T, U, E)>);

    impl<F, R, T, U, E> IntoHandler<WithContext<T, U, E>> for F
    where
        F: Fn(Context, T) -> R + Send + Sync + 'static,
        R: Future<Output = Result<U, E>> + Send + 'static,
        T: DeserializeOwned + Send + 'static,
        U: Serialize + Send + 'static,
        E: HandlerError + 'static,
    {
        fn into_handler(self) -> Handler {
            Handler::marking_itself(Function {
                call: self,
                form: PhantomData::<fn() -> WithContext<T, U, E>>,
            })
        }
    }

    impl<F, R, T, U, E> IntoHandler<OfValue<T, U, E>> for F
    where
        F: Fn(T) -> R + Send + Sync + 'static,
        R: Future<Output = Result<U, E>> + Send + 'static,
        T: DeserializeOwned + Send + 'static,
        U: Serialize + Send + 'static,
        E: HandlerError + 'static,
    {
        fn into_handler(self) -> Handler {
            let call = move |_: Context, value: T| self(value);
            Handler::marking_itself(Function {
                call,
                form: PhantomData::<fn() -> WithContext<T, U, E>>,
            })
        }
    }

    impl<F, R, T, U, E> Responder for Function<F, WithContext<T, U, E>>
    where
        F: Fn(Context, T) -> R + Send + Sync + 'static,
        R: Future<Output = Result<U, E>> + Send + 'static,
        T: DeserializeOwned + Send + 'static,
        U: Serialize + Send + 'static,
        E: HandlerError + 'static,
    {
        fn respond<'a, 'c, 'f>(
            &'a self,
            ctx: &'c Context,
            request: Request,
        ) -> BoxFuture<'f, Result<Response, Error>>
        where
            'a: 'f,
            'c: 'f,
        {
            Box::pin(async move {
                let value = decode_request::<Json, T>(&request.headers, &request.body)?;
                let untyped = !request.headers.contains(wire::CONTENT_TYPE);
                drop(request);
                // Decoded: from here on it is the handler that answers.
                ctx.mark_ran();
                let outcome = (self.call)(ctx.clone(), value).await;
                let value = outcome.map_err(|error| rescope(error.into_handler_error()))?;
                let mut response = Response::new(Json::encode(&value).map_err(rescope)?);
                if untyped {
                    // A transport answers in the request's own type, and there was none.
                    response.headers.insert(wire::CONTENT_TYPE, Json::CONTENT_TYPE)?;
                }
                Ok(response)
            })
        }
    }
}
