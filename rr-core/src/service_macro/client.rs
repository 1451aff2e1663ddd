//! Calls of a generated client.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rr_spi::{
    Context, Declared, Entropy, Error, Headers, Idempotency, IdempotencyKey, OsEntropy, Request,
    Requester, Response, Target,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call_options::CallOptions;
use super::description::MethodDescription;
use crate::codec::transcode::{encode_request, receive};
use crate::codec::{Decode, Encode};
use crate::reply::Reply;

/// Parts of the outcome of a method.
#[diagnostic::on_unimplemented(
    message = "a method of a service returns a `Result`",
    label = "not a `Result`",
    note = "any call may fail: return `Result<T, rr_core::Error>`, or an error type of yours"
)]
pub trait Outcome {
    /// Value of a success.
    type Value;
    /// Error of a failure.
    type Error;
}

impl<T, E> Outcome for Result<T, E> {
    type Value = T;
    type Error = E;
}

/// Type that is sent: an argument, or the value of an outcome.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent",
    label = "must be encoded at one end and decoded at the other",
    note = "derive `serde::Serialize` and `serde::Deserialize` for `{Self}`",
    note = "it owns its data and is `Send`: `String` instead of `&str`, `Arc<T>` instead of `Rc<T>`"
)]
pub trait Sent {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Sent for T {}

/// Checks at compile time that a type is sent, for the error that it is not.
pub const fn sent<T: Sent>() {}

/// Method of a service, as calls and routes use it.
#[derive(Debug)]
pub struct Method {
    pub(super) description: &'static MethodDescription,
    /// Parsed at the first call.
    target: OnceLock<Target>,
}

impl Method {
    /// Makes a method.
    #[must_use]
    pub const fn new(description: &'static MethodDescription) -> Self {
        Self { description, target: OnceLock::new() }
    }

    /// Returns the target; a clone of it costs no allocation.
    fn target(&self) -> Result<Target, Error> {
        if let Some(target) = self.target.get() {
            return Ok(target.clone());
        }
        let target = Target::from_static(self.description.target)?;
        Ok(self.target.get_or_init(|| target).clone())
    }
}

/// Requester of a generated client, with the options of its calls.
#[derive(Clone)]
pub struct Client {
    requester: Arc<dyn Requester>,
    options: CallOptions,
    /// Source of idempotency keys.
    entropy: Arc<dyn Entropy>,
}

impl Client {
    /// Makes a client without options.
    pub fn new(requester: impl Requester) -> Self {
        let (options, entropy) = (CallOptions::new(), Arc::new(OsEntropy::new()));
        Self { requester: Arc::new(requester), options, entropy }
    }

    /// Returns a client with these options.
    #[must_use]
    pub fn with(&self, options: CallOptions) -> Self {
        Self { options, ..self.clone() }
    }

    /// Returns the idempotency of one call.
    fn idempotency(&self, declared: Declared) -> Result<Idempotency, Error> {
        Ok(match (declared, &self.options.key) {
            (Declared::Safe, _) => Idempotency::Safe,
            (Declared::Idempotent, _) => Idempotency::Idempotent,
            (_, Some(key)) => Idempotency::Keyed(key.clone()),
            (Declared::Keyed, None) => Idempotency::Keyed(self.fresh_key()?),
            _ => Idempotency::Unspecified,
        })
    }

    /// Makes a key of 128 random bits, so that keys of different processes do not collide.
    fn fresh_key(&self) -> Result<IdempotencyKey, Error> {
        let (high, low) = (self.entropy.next_u64(), self.entropy.next_u64());
        IdempotencyKey::new(&format!("{high:016x}{low:016x}"))
    }

    /// Returns a context that leaves no more time than the method and the options allow.
    fn shortened(&self, ctx: &Context, method: &Method) -> Option<Context> {
        let timeouts = [method.description.timeout, self.options.timeout];
        let shortest = timeouts.into_iter().flatten().min()?;
        Some(ctx.with_timeout(shortest))
    }

    fn store_headers(&self, outcome: &Result<Response, Error>) {
        let Some(place) = &self.options.reply_headers else { return };
        let headers: &Headers = match outcome {
            Ok(response) => &response.headers,
            Err(error) => error.headers(),
        };
        place.store(headers);
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Makes the request of a call, in the codec `C`.
///
/// # Errors
///
/// Not sent: `InvalidArgument` when a header of the options is malformed; `Internal` when the input
/// cannot be encoded.
pub fn prepare<C: Encode<T>, T>(
    client: &Client,
    method: &Method,
    input: &T,
) -> Result<Request, Error> {
    encode_request::<C>(input, |body| {
        let headers = client.options.headers.clone()?;
        let idempotency = client.idempotency(method.description.idempotency)?;
        let request = Request::new(method.target()?, body);
        Ok(request.with_headers(headers).with_idempotency(idempotency))
    })
}

/// Sends the request of a call and decodes the reply.
///
/// # Errors
///
/// The error of the request, of the requester, or of a reply that does not decode.
///
/// # Cancel safety
///
/// Dropping the future cancels the call.
pub async fn call<C: Decode<T>, T>(
    client: &Client,
    ctx: &Context,
    method: &Method,
    request: Result<Request, Error>,
) -> Result<T, Error> {
    let reply = call_reply::<C, T>(client, ctx, method, request).await?;
    Ok(reply.into_value())
}

/// As [`call`], with the headers of the reply.
///
/// # Errors
///
/// As [`call`].
///
/// # Cancel safety
///
/// Dropping the future cancels the call.
pub async fn call_reply<C: Decode<T>, T>(
    client: &Client,
    ctx: &Context,
    method: &Method,
    request: Result<Request, Error>,
) -> Result<Reply<T>, Error> {
    let shortened = client.shortened(ctx, method);
    let ctx = shortened.as_ref().unwrap_or(ctx);
    let outcome = match request {
        Ok(request) => client.requester.request(ctx, request).await,
        Err(error) => Err(error),
    };
    client.store_headers(&outcome);
    // Marks the error as the outcome of a call, so that it is re-scoped if it leaves a handler.
    receive::<C, T>(outcome.map_err(Error::into_failure)?)
}
