//! Head of a request, as far as it becomes the request's context.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::context::{Context, Criticality};
use crate::peer::Peer;
use crate::request::Request;

/// Head of a request, as far as it becomes the request's [`Context`].
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Inbound<'a> {
    /// The time that the caller grants; `None` if it states none, zero if no time is left.
    pub timeout: Option<Duration>,
    /// The number of earlier attempts of the call.
    pub retries: u32,
    /// The request id.
    pub request_id: Option<&'a str>,
    /// W3C `traceparent`.
    pub traceparent: Option<&'a str>,
    /// W3C `tracestate`.
    pub tracestate: Option<&'a str>,
    /// W3C `baggage`.
    pub baggage: Option<&'a str>,
    /// The other end of the connection on which the request arrived.
    pub peer: Option<&'a Arc<Peer>>,
    /// Whether the caller is in this process: its requests do not arrive on a connection.
    pub in_process: bool,
    /// The request, if it has wholly arrived. The server then keeps no second copy of its head while
    /// it waits; see [`RequestInfo::to_request`](crate::RequestInfo::to_request).
    pub request: Option<&'a Request>,
    /// Whether the reply should state the times of the handler.
    pub wants_spent: bool,
    /// The importance that the caller states.
    pub criticality: Criticality,
    /// The instant of the arrival: the request's time runs from it. Default now.
    pub arrived: Option<Instant>,
}

impl<'a> Inbound<'a> {
    /// Makes the head of a request with this timeout and no other values.
    #[must_use]
    pub fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, ..Self::default() }
    }

    /// Makes the head of a request of this process that arrives at `now`, from its caller's context.
    pub(crate) fn of(ctx: &'a Context, now: Instant) -> Self {
        let millis = ctx.deadline().and_then(|deadline| deadline.wire_millis_at(now));
        Self {
            timeout: millis.map(Duration::from_millis),
            retries: ctx.retries(),
            request_id: ctx.request_id(),
            traceparent: ctx.traceparent(),
            tracestate: ctx.tracestate(),
            baggage: ctx.baggage(),
            peer: None,
            in_process: true,
            request: None,
            wants_spent: ctx.wants_spent(),
            criticality: ctx.criticality(),
            arrived: Some(now),
        }
    }
}
