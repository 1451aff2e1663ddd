//! Typed handlers: the forms of functions, and the responder that decodes and encodes for them.

use std::future::{Future, ready};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use pin_project_lite::pin_project;
use rr_spi::{Context, Error, HandlerError, Responder, Response, rescope};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::handler::{Handler, IntoHandler};
use super::method::Method;
use crate::codec::transcode::{Chosen, decode_request, encode_reply};
use crate::codec::{CodecSet, Json};
use crate::reply::Reply;
use crate::services::IntoMethod;

/// Output of a typed function: a value, or a value with headers.
trait Output<O> {
    type Value;

    fn into_reply(output: O) -> Reply<Self::Value>;
}

/// Marker of functions that return a value.
#[derive(Debug)]
pub struct Value(());

impl<U> Output<U> for Value {
    type Value = U;

    fn into_reply(output: U) -> Reply<U> {
        Reply::new(output)
    }
}

/// Marker of functions that return a [`Reply`].
#[derive(Debug)]
pub struct WithHeaders(());

impl<U> Output<Reply<U>> for WithHeaders {
    type Value = U;

    fn into_reply(output: Reply<U>) -> Reply<U> {
        output
    }
}

/// Makes the handler of a typed function, whose output has the shape `K`.
fn typed<C, K, F, R, T, O, E>(function: F) -> Handler
where
    F: Fn(Context, T) -> R + Send + Sync + 'static,
    R: Future<Output = Result<O, E>> + Send + 'static,
    T: Send + 'static,
    O: Send + 'static,
    E: HandlerError + 'static,
    K: Output<O> + 'static,
    K::Value: 'static,
    C: CodecSet<T, K::Value>,
{
    Handler::marking_itself(TypedFunction { function, form: PhantomData::<fn() -> (C, K, T, O)> })
}

/// Responder that wraps a typed function.
struct TypedFunction<F, M> {
    function: F,
    form: PhantomData<fn() -> M>,
}

impl<F, R, C, K, T, O, E> Responder for TypedFunction<F, (C, K, T, O)>
where
    F: Fn(Context, T) -> R + Send + Sync + 'static,
    R: Future<Output = Result<O, E>> + Send + 'static,
    T: Send + 'static,
    O: Send + 'static,
    E: HandlerError + 'static,
    K: Output<O> + 'static,
    K::Value: 'static,
    C: CodecSet<T, K::Value>,
{
    rr_spi::boxed! {
        fn respond(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
            let (value, chosen) = match decode_request::<C, T, K::Value>(&request) {
                Ok(decoded) => decoded,
                Err(error) => return Box::pin(ready(Err(error))),
            };
            drop(request);
            // Decoding succeeded. From here on, errors are the handler's.
            ctx.mark_ran();
            let handler = (self.function)(ctx.clone(), value);
            Box::pin(Answering { handler, chosen, form: PhantomData::<fn() -> (C, K, T)> })
        }
    }
}

pin_project! {
    /// Future of a typed handler, with its output encoded.
    struct Answering<R, M> {
        #[pin]
        handler: R,
        chosen: Chosen,
        form: PhantomData<fn() -> M>,
    }
}

impl<R, C, K, T, O, E> Future for Answering<R, (C, K, T)>
where
    R: Future<Output = Result<O, E>>,
    E: HandlerError,
    K: Output<O>,
    C: CodecSet<T, K::Value>,
{
    type Output = Result<Response, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let output = match ready!(this.handler.poll(cx)) {
            Ok(output) => output,
            Err(error) => return Poll::Ready(Err(rescope(error.into_handler_error()))),
        };
        let encoded = encode_reply::<C, T, _>(*this.chosen, K::into_reply(output));
        Poll::Ready(encoded.map_err(rescope))
    }
}

/// Implements the conversions of one form of function: as it is, where it accepts JSON, and with a
/// set of codecs.
macro_rules! form {
    (
        $(#[$on_marker:meta])* $Marker:ident,
        fn($($Argument:ty),*),
        $function:ident => $call:expr,
    ) => {
        $(#[$on_marker])*
        #[derive(Debug)]
        pub struct $Marker<T, U, E, K>(PhantomData<(T, U, E, K)>);

        form!(@handler $Marker, Value, U, fn($($Argument),*), $function => $call);
        form!(@handler $Marker, WithHeaders, Reply<U>, fn($($Argument),*), $function => $call);
    };
    (@handler $Marker:ident, $Shape:ty, $Output:ty, fn($($Argument:ty),*), $function:ident => $call:expr) => {
        impl<F, R, T, U, E> IntoHandler<$Marker<T, U, E, $Shape>> for F
        where
            F: Fn($($Argument),*) -> R + Send + Sync + 'static,
            R: Future<Output = Result<$Output, E>> + Send + 'static,
            T: DeserializeOwned + Send + 'static,
            U: Serialize + Send + 'static,
            E: HandlerError + 'static,
        {
            fn into_handler(self) -> Handler {
                let $function = self;
                typed::<Json, $Shape, _, _, T, $Output, E>($call)
            }
        }

        impl<F, R, T, U, E, C> IntoHandler<($Marker<T, U, E, $Shape>, C)> for Method<F, C>
        where
            F: Fn($($Argument),*) -> R + Send + Sync + 'static,
            R: Future<Output = Result<$Output, E>> + Send + 'static,
            C: CodecSet<T, U>,
            T: Send + 'static,
            U: Send + 'static,
            E: HandlerError + 'static,
        {
            fn into_handler(self) -> Handler {
                let $function = self.function;
                typed::<C, $Shape, _, _, T, $Output, E>($call).declare(self.declared)
            }
        }
    };
}

/// As `form!`, for functions whose first argument is the state of a service.
macro_rules! method_form {
    (
        $(#[$on_marker:meta])* $Marker:ident,
        fn($($Argument:ty),*),
        ($function:ident, $state:ident) => $call:expr,
    ) => {
        $(#[$on_marker])*
        #[derive(Debug)]
        pub struct $Marker<T, U, E, K>(PhantomData<(T, U, E, K)>);

        method_form!(@method $Marker, Value, U, fn($($Argument),*), ($function, $state) => $call);
        method_form!(
            @method $Marker, WithHeaders, Reply<U>, fn($($Argument),*), ($function, $state) => $call
        );
    };
    (
        @method $Marker:ident, $Shape:ty, $Output:ty, fn($($Argument:ty),*),
        ($function:ident, $state:ident) => $call:expr
    ) => {
        impl<S, F, R, T, U, E> IntoMethod<S, $Marker<T, U, E, $Shape>> for F
        where
            S: Clone + Send + Sync + 'static,
            F: Fn(S $(, $Argument)*) -> R + Send + Sync + 'static,
            R: Future<Output = Result<$Output, E>> + Send + 'static,
            T: DeserializeOwned + Send + 'static,
            U: Serialize + Send + 'static,
            E: HandlerError + 'static,
        {
            fn into_handler_of(self, $state: S) -> Handler {
                let $function = self;
                typed::<Json, $Shape, _, _, T, $Output, E>($call)
            }
        }

        impl<S, F, R, T, U, E, C> IntoMethod<S, ($Marker<T, U, E, $Shape>, C)> for Method<F, C>
        where
            S: Clone + Send + Sync + 'static,
            F: Fn(S $(, $Argument)*) -> R + Send + Sync + 'static,
            R: Future<Output = Result<$Output, E>> + Send + 'static,
            C: CodecSet<T, U>,
            T: Send + 'static,
            U: Send + 'static,
            E: HandlerError + 'static,
        {
            fn into_handler_of(self, $state: S) -> Handler {
                let $function = self.function;
                typed::<C, $Shape, _, _, T, $Output, E>($call).declare(self.declared)
            }
        }
    };
}

form! {
    /// Marker of typed functions with a context.
    WithContext,
    fn(Context, T),
    function => function,
}

form! {
    /// Marker of typed functions without a context.
    OfValue,
    fn(T),
    function => move |_: Context, value: T| function(value),
}

method_form! {
    /// Marker of typed methods with a context.
    StateWithContext,
    fn(Context, T),
    (function, state) => move |ctx: Context, value: T| function(state.clone(), ctx, value),
}

method_form! {
    /// Marker of typed methods without a context.
    StateOfValue,
    fn(T),
    (function, state) => move |_: Context, value: T| function(state.clone(), value),
}
