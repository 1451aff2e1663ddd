//! Stack of layers around a requester that suits most applications.

use rr_spi::Requester;
use rr_spi::observe::Observers;

use super::Retry;
use crate::Stack;
use crate::observe::with_features;

/// Puts the recommended layers around a requester: a default deadline of 10 s, and [`Retry`] with
/// its default configuration and budget. Make one stack for each destination.
///
/// # Order
///
/// Layers from the outside in, including those that an application adds itself:
///
/// | layer | moved | and then |
/// |---|---|---|
/// | [`Observe`](crate::observe::Observe) | inside of retry | it reports attempts as calls |
/// | default deadline | inside of retry | each attempt gets the whole time, and a call three times as much |
/// | client throttle | inside of retry | it counts attempts as calls, and throttles sooner the more is retried |
/// | [`Retry`] | inside of hedging | each hedged copy is retried separately: twice the attempts for one call |
/// | hedging | inside of limits | its copies are not counted |
/// | concurrency limit, rate limit | outside of retry | a call holds its permit during the pauses between attempts, and attempts are not counted |
/// | circuit breaker | outside of retry | it sees one failure instead of three, and none if the third attempt succeeded |
/// | circuit breaker | outside of limits | it counts refusals by the local limit as failures of the endpoint |
/// | the requester | | |
///
/// Layers that bound a call belong outside of [`Retry`]; layers that protect the destination from
/// attempts belong inside. [`Stack::with`] adds a layer inside the existing ones.
///
/// # Examples
///
#[cfg_attr(feature = "json", doc = "```")]
#[cfg_attr(not(feature = "json"), doc = "```ignore")]
/// use rr_core::{Context, Error, Local, RequesterExt, Router, recommended};
///
/// async fn double(n: u32) -> Result<u32, Error> {
///     Ok(n * 2)
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rr_core::CallError> {
/// let client = recommended(Local::new(Router::new().route("math.double", double)));
/// let six: u32 = client.call(&Context::background(), "math.double", &3).idempotent().await?;
/// assert_eq!(six, 6);
/// # Ok(()) }
/// ```
#[must_use]
pub fn recommended<R: Requester>(requester: R) -> Stack<R> {
    recommended_with(requester, Observers::default())
}

/// Puts the layers of [`recommended`] around a requester, and reports its calls and retries to
/// these observers.
///
/// The requester itself reports the attempts, to the observers of its own configuration.
///
/// # Examples
///
/// ```no_run
/// # async fn example(observers: rr_core::observe::Observers) -> Result<(), rr_core::Error> {
/// use rr_core::config::ClientConfig;
/// use rr_core::{connect_with, recommended_with};
///
/// let config = ClientConfig::default().with_observers(observers.clone());
/// let client = recommended_with(connect_with("http://orders:8080", config).await?, observers);
/// # drop(client);
/// # Ok(()) }
/// ```
#[must_use]
pub fn recommended_with<R: Requester>(requester: R, observers: Observers) -> Stack<R> {
    let (stack, observers) = (Stack::new(requester), with_features(observers));
    if observers.is_empty() {
        return stack.with(Retry::new());
    }
    let retry = Retry::new().with_observers(observers.clone());
    stack.observed_by(observers).with(retry)
}
