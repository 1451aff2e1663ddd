//! Traits whose messages say what a handler may have, and the functions that ask for them.

use std::future::Future;
use std::marker::PhantomData;

use rr_spi::{Context, HandlerError, Request, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{Decode, Encode};
use crate::reply::Reply;

/// Context of a handler.
#[diagnostic::on_unimplemented(
    message = "the first of two arguments of a handler is its `Context`, not `{Self}`",
    label = "not a context",
    note = "a handler is `async fn(Context, T)` or `async fn(T)`; put several inputs into a struct",
    note = "mark a function over a state by `#[handler(state)]`"
)]
pub trait HandlerContext {}

impl HandlerContext for Context {}

/// State of a service.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the state of a service",
    label = "each call receives a clone of the state",
    note = "a state is `Clone + Send + Sync + 'static`: take it as `Arc<T>`, such as `self: Arc<Self>`"
)]
pub trait HandlerState {}

#[diagnostic::do_not_recommend]
impl<S: Clone + Send + Sync + 'static> HandlerState for S {}

/// Input of a handler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the input of a handler",
    label = "cannot be decoded from a request",
    note = "derive `serde::Deserialize` for `{Self}`; it owns its data and is `Send`",
    note = "a handler on bytes is `async fn(Context, Request) -> Result<Response, E>`",
    note = "for another codec than JSON, write `#[handler(codec = ..)]`"
)]
pub trait HandlerInput {}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned + Send + 'static> HandlerInput for T {}

/// Input of a handler, in the codec `C`.
#[diagnostic::on_unimplemented(
    message = "`{C}` cannot decode `{Self}`, the input of a handler",
    label = "cannot be decoded by this codec",
    note = "an input owns its data and is `Send`; the codecs of serde need `serde::Deserialize`"
)]
pub trait HandlerInputBy<C> {}

#[diagnostic::do_not_recommend]
impl<T: Send + 'static, C: Decode<T>> HandlerInputBy<C> for T {}

/// Value that a handler returns. `M` tells whether it has headers.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the reply of a handler",
    label = "cannot be encoded",
    note = "derive `serde::Serialize` for it, or for `U` in a `Reply<U>`; it is `Send` and has no borrowed data",
    note = "a handler on bytes is `async fn(Context, Request) -> Result<Response, E>`",
    note = "for another codec than JSON, write `#[handler(codec = ..)]`"
)]
pub trait HandlerOutput<M> {}

#[diagnostic::do_not_recommend]
impl<U: Serialize + Send + 'static> HandlerOutput<Plain> for U {}

#[diagnostic::do_not_recommend]
impl<U: Serialize + Send + 'static> HandlerOutput<WithHeaders> for Reply<U> {}

/// Value that a handler returns, in the codec `C`.
#[diagnostic::on_unimplemented(
    message = "`{C}` cannot encode `{Self}`, the reply of a handler",
    label = "cannot be encoded by this codec",
    note = "a reply is `Send` and has no borrowed data; the codecs of serde need `serde::Serialize`"
)]
pub trait HandlerOutputBy<C, M> {}

#[diagnostic::do_not_recommend]
impl<U: Send + 'static, C: Encode<U>> HandlerOutputBy<C, Plain> for U {}

#[diagnostic::do_not_recommend]
impl<U: Send + 'static, C: Encode<U>> HandlerOutputBy<C, WithHeaders> for Reply<U> {}

/// Marker of values.
#[derive(Debug)]
pub struct Plain(());

/// Marker of values with headers.
#[derive(Debug)]
pub struct WithHeaders(());

/// What a handler returns.
#[diagnostic::on_unimplemented(
    message = "a handler returns a `Result`, not `{Self}`",
    label = "not a `Result`",
    note = "write `Result<T, rr_core::Error>`, or with an `AppError` of yours"
)]
pub trait HandlerOutcome<M> {}

impl<O: HandlerOutput<M>, E: HandlerError + 'static, M> HandlerOutcome<M> for Result<O, E> {}

/// As [`HandlerOutcome`], in the codec `C`.
#[diagnostic::on_unimplemented(
    message = "a handler returns a `Result`, not `{Self}`",
    label = "not a `Result`",
    note = "write `Result<T, rr_core::Error>`, or with an `AppError` of yours"
)]
pub trait HandlerOutcomeBy<C, M> {}

impl<O, E, C, M> HandlerOutcomeBy<C, M> for Result<O, E>
where
    O: HandlerOutputBy<C, M>,
    E: HandlerError + 'static,
{
}

/// Outcome of a handler whose input is `I`: `M` tells whether both are bytes or typed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the outcome of a handler of `{I}`",
    label = "neither a handler on bytes nor a typed one",
    note = "a handler on bytes is `async fn(Context, rr_core::Request) -> Result<rr_core::Response, E>`",
    note = "types of the same names derive `serde::Deserialize` and `serde::Serialize`"
)]
pub trait BytesOrTyped<I, M> {}

#[diagnostic::do_not_recommend]
impl<E> BytesOrTyped<Request, OnBytes> for Result<Response, E> {}

#[diagnostic::do_not_recommend]
impl<I: HandlerInput, O: HandlerOutput<M>, E, M> BytesOrTyped<I, Typed<M>> for Result<O, E> {}

/// As [`HandlerOutcome`], for the error alone.
#[diagnostic::on_unimplemented(
    message = "a handler returns a `Result`, not `{Self}`",
    label = "not a `Result`",
    note = "write `Result<T, rr_core::Error>`, or with an `AppError` of yours"
)]
pub trait HandlerFailure {}

impl<O, E: HandlerError + 'static> HandlerFailure for Result<O, E> {}

/// Marker of handlers on bytes.
#[derive(Debug)]
pub struct OnBytes(());

/// Marker of typed handlers.
#[derive(Debug)]
pub struct Typed<M>(PhantomData<M>);

/// Checks the type of a context.
pub const fn context<C: HandlerContext>() {}

/// Checks the type of a state.
pub const fn state<S: HandlerState>() {}

/// Checks the type of an input.
pub const fn input<T: HandlerInput>() {}

/// Checks the type of an input in a codec.
pub const fn input_by<C, T: HandlerInputBy<C>>() {}

/// Checks the type of a value.
pub const fn output<O: HandlerOutput<M>, M>() {}

/// Checks the type of a value in a codec.
pub const fn output_by<C, O: HandlerOutputBy<C, M>, M>() {}

/// Checks the type of an error.
pub const fn error<E: HandlerError + 'static>() {}

/// Checks the type of an outcome.
pub const fn outcome<R: HandlerOutcome<M>, M>() {}

/// Checks the type of an outcome in a codec.
pub const fn outcome_by<C, R: HandlerOutcomeBy<C, M>, M>() {}

/// Checks the types of a handler on bytes, and of a typed one whose types have the same names.
pub const fn bytes_or_typed<I, R: BytesOrTyped<I, M>, M>() {}

/// Checks the type of the error of an outcome.
pub const fn failure<R: HandlerFailure>() {}

/// Checks that the future of a handler can be sent to another thread.
pub fn future<F: Future + Send + 'static>(_: &F) {}
