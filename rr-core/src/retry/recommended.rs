//! The stack for a requester that suits most applications.

use rr_spi::Requester;

use super::Retry;
use crate::Stack;

/// Puts the recommended layers around a requester: a default deadline of 10 s, and [`Retry`] with
/// its default configuration and budget. Make one for each destination.
///
/// # Order
///
/// From the outside in, with the places of layers that an application adds itself:
///
/// | layer | moved | and then |
/// |---|---|---|
/// | default deadline | inside of retry | each attempt has the whole time, and a call three times of it |
/// | client throttle | inside of retry | it counts attempts as calls, and holds back the sooner the more is retried |
/// | [`Retry`] | inside of hedging | each hedged copy is retried by itself: twice the attempts for one call |
/// | hedging | inside of limits | its copies pass uncounted |
/// | concurrency limit, rate limit | outside of retry | a call keeps its place through the pauses between attempts, and attempts pass uncounted |
/// | circuit breaker | outside of retry | it sees one failure where there were three, and none where the third attempt succeeded |
/// | circuit breaker | outside of limits | it takes what our own limit refused for a failure of the endpoint |
/// | the requester | | |
///
/// So what bounds a call stands outside of [`Retry`], and what protects the destination from
/// attempts stands inside of it. Layers that are added with [`Stack::with`] stand inside of those
/// that are there.
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
    Stack::new(requester).with(Retry::new())
}
