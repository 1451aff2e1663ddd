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
/// | layer | swapped with the next one inwards |
/// |---|---|
/// | default deadline | each attempt would have the whole time, and a call three times of it |
/// | client throttle | it would count attempts as calls, and hold back the sooner the more is retried |
/// | [`Retry`] | see below |
/// | hedge | each hedged copy would be retried by itself: twice the attempts for one call |
/// | concurrency limit, rate limit | a call would keep its place through the pauses between attempts, and attempts would pass uncounted |
/// | circuit breaker | it would see one failure where there were three, and a call that succeeds at last as none |
/// | the requester | |
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
