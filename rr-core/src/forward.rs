//! Forwarding of requests to another requester: a bridge in one line.

use rr_spi::wire::DEBUG_TARGET;
use rr_spi::{
    Code, Context, Delivery, Error, Reason, Request, Requester, Responder, Response, async_trait,
};

/// Handler that forwards requests verbatim to a requester: a bridge between transports in one line.
///
/// Deadline, cancellation, trace, headers, and errors with their delivery pass through. A request
/// gains an entry in `via` (RFC 9110 §7.6.3), unless that exceeds the limit of headers. A `Forward`
/// can be routed but is not a `Responder`: otherwise a handler could call it after side effects and
/// pass on an error that states that nothing ran.
///
/// A request for the target `rr.debug`, the admin page, is refused if the entry does not fit:
/// `ResourceExhausted`, `Rejected`, `request-too-large`. The page would take it for a request of the
/// bridge's own machine.
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

/// Protocol and pseudonym of a bridge. The protocol is rr's, since neither side need be HTTP.
const VIA: &str = "rr/1 rr";

/// Responder of a routed [`Forward`]. Marks the call as passed on, not as run.
pub(crate) struct Forwarder<R>(pub(crate) R);

#[async_trait]
impl<R: Requester> Responder for Forwarder<R> {
    async fn respond(&self, ctx: &Context, mut request: Request) -> Result<Response, Error> {
        let has_via = request.headers.append("via", VIA).is_ok();
        // The admin page gives access by where a request comes from, and knows a bridge by `via`.
        if !has_via && request.target.as_str() == DEBUG_TARGET {
            return Err(no_room());
        }
        let passage = ctx.pass();
        // The forwarded call keeps the retry count of the inbound request: it is the same attempt.
        let onward = ctx.with_retries(ctx.inbound_retries());
        let outcome = self.0.request(&onward, request).await;
        passage.resolve(outcome)
    }
}

fn no_room() -> Error {
    let text = "the headers of the request leave no room for the `via` of a bridge";
    Error::failure(Code::ResourceExhausted, Delivery::Rejected, Reason::REQUEST_TOO_LARGE, text)
        .with_hint("send fewer or shorter headers: `via` is an entry of 10 bytes")
}
