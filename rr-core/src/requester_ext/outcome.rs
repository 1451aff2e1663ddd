//! What a call returns: the response as it is, or a value decoded from it.

#[cfg(feature = "json")]
use std::marker::PhantomData;

#[cfg(feature = "json")]
use rr_spi::AppError;
use rr_spi::{Error, Response};

#[cfg(feature = "json")]
use crate::codec::transcode::receive;
#[cfg(feature = "json")]
use crate::codec::{Decode, Json};
#[cfg(feature = "json")]
use crate::error::{CallError, NoAppError};
#[cfg(feature = "json")]
use crate::reply::Reply;

#[cfg(feature = "json")]
type Marker<T> = PhantomData<fn() -> T>;

/// Conversion of a response into the output of a call. Sealed: implemented by [`Raw`], [`Typed`] and
/// [`TypedReply`].
pub trait Outcome: sealed::Sealed + Send + 'static {
    /// Output of the call's future.
    type Output;

    #[doc(hidden)]
    fn convert(outcome: Result<Response, Error>) -> Self::Output;
}

mod sealed {
    pub trait Sealed {}
}

/// Reply without conversion.
#[derive(Debug)]
#[non_exhaustive]
pub struct Raw;

impl sealed::Sealed for Raw {}

impl Outcome for Raw {
    type Output = Result<Response, Error>;

    fn convert(outcome: Result<Response, Error>) -> Self::Output {
        outcome
    }
}

/// Reply decoded as `T` by the codec `C`, or an application error `E`.
#[cfg(feature = "json")]
#[derive(Debug)]
pub struct Typed<T, E = NoAppError, C = Json>(Marker<(T, E, C)>);

#[cfg(feature = "json")]
impl<T, E, C> sealed::Sealed for Typed<T, E, C> {}

#[cfg(feature = "json")]
impl<T, E, C> Outcome for Typed<T, E, C>
where
    C: Decode<T>,
    T: 'static,
    E: AppError + 'static,
{
    type Output = Result<T, CallError<E>>;

    fn convert(outcome: Result<Response, Error>) -> Self::Output {
        TypedReply::<T, E, C>::convert(outcome).map(Reply::into_value)
    }
}

/// As [`Typed`], with the headers of the reply.
#[cfg(feature = "json")]
#[derive(Debug)]
pub struct TypedReply<T, E = NoAppError, C = Json>(Marker<(T, E, C)>);

#[cfg(feature = "json")]
impl<T, E, C> sealed::Sealed for TypedReply<T, E, C> {}

#[cfg(feature = "json")]
impl<T, E, C> Outcome for TypedReply<T, E, C>
where
    C: Decode<T>,
    T: 'static,
    E: AppError + 'static,
{
    type Output = Result<Reply<T>, CallError<E>>;

    fn convert(outcome: Result<Response, Error>) -> Self::Output {
        Ok(receive::<C, T>(outcome.map_err(CallError::sort)?)?)
    }
}
