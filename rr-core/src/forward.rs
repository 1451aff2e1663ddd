//! Answering by calling on: a bridge in one line.

use rr_spi::{Context, Error, Request, Requester, Responder, Response, async_trait};

/// Answers requests by calling on, verbatim: a bridge from one transport to another in one line.
///
/// Deadline, cancellation, trace and headers cross it, and so do errors with their delivery. A
/// request gains an entry in `via`, unless that goes over the limit of headers (RFC 9110 §7.6.3). It
/// can be routed, and is no `Responder`: a handler could otherwise call it after side effects,
/// and pass on an error that says that nothing ran.
///
/// # Examples
///
/// ```
/// use rr_core::{Forward, Requester, Router};
///
/// fn bridge(onward: impl Requester) -> Router {
///     Router::new().fallback(Forward(onward))
/// }
/// ```
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "it is the requester it wraps, and nothing more")]
pub struct Forward<R>(pub R);

/// Protocol and pseudonym of a bridge: rr's own version, since it may not be HTTP on either side.
const VIA: &str = "rr/1 rr";

/// What a [`Forward`] is routed as; it marks the call as passed on, not as run.
pub(crate) struct Forwarder<R>(pub(crate) R);

#[async_trait]
impl<R: Requester> Responder for Forwarder<R> {
    async fn respond(&self, ctx: &Context, mut request: Request) -> Result<Response, Error> {
        let passage = ctx.pass();
        // What a bridge was called with is what it calls on with: the same attempt.
        let onward = ctx.with_retries(ctx.inbound_retries());
        // A call is worth more than the entry.
        let _ = request.headers.append("via", VIA);
        let outcome = self.0.request(&onward, request).await;
        passage.resolve(outcome)
    }
}
