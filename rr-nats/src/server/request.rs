//! Handling of one request, from its message to its reply.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subject;
use rr_spi::observe::{self, WatchedRequest};
use rr_spi::wire::RequestHead;
use rr_spi::{BodyShare, CancelHandle, Code, Context, Delivery, Error, Reason, Request, Target};
use tokio::time::Instant;

use super::endpoint_stats::Counters;
use super::inbox::Received;
use super::send_reply::{EncodedReply, deliver};
use super::state::ServerState;
use crate::clock;
use crate::connection::Link;
use crate::wire::{decode_request, inbound, target_of};

/// Request that has arrived. Its context is made immediately, so that its deadline runs.
pub(super) struct IncomingRequest {
    pub(super) ctx: Context,
    pub(super) handle: CancelHandle,
    pub(super) reply: Subject,
    /// Key of the call in `Cancels`.
    pub(super) key: u64,
    request: Result<(Request, BodyShare), Error>,
    counters: Option<Arc<Counters>>,
    watched: WatchedRequest,
}

/// Single target of a subscription, with its counters looked up once.
pub(super) struct KnownTarget {
    target: Target,
    counters: Option<Arc<Counters>>,
}

/// Maximum length of a reply subject in bytes. A NATS server accepts lines of 4096 bytes, and
/// inboxes are far shorter.
const REPLY_BYTES_MAX: usize = 1024;

impl KnownTarget {
    pub(super) fn of(state: &ServerState, target: Target) -> Self {
        Self { counters: state.endpoints.of(&target), target }
    }
}

impl IncomingRequest {
    /// Reads a message; `None` if it has no usable reply subject.
    pub(super) fn read(
        state: &ServerState,
        known: Option<&KnownTarget>,
        received: Received,
    ) -> Option<Self> {
        let Received { message, share, arrived } = received;
        // A reply to a longer subject would exceed the server's line limit, and the server would
        // close the connection: such a message counts as one without a reply subject.
        let reply = message.reply.filter(|reply| reply.len() <= REPLY_BYTES_MAX)?;
        let head =
            message.headers.as_ref().map_or_else(|| Ok(RequestHead::default()), decode_request);
        let at_arrival = state.config.clocks_agree.then(|| clock::unix_millis_at(arrived));
        let inbound = head.as_ref().map(|head| inbound(head, at_arrival));
        let mut inbound = inbound.unwrap_or_default();
        inbound.arrived = Some(arrived);
        let (ctx, handle) = state.intake.context(inbound);
        let key = state.cancels.key(&reply);
        let (target, counters) = match known {
            Some(known) => (Ok(known.target.clone()), known.counters.clone()),
            None => {
                let target = target(&state.prefix, &message.subject);
                let counters = target.as_ref().ok().and_then(|target| state.endpoints.of(target));
                (target, counters)
            }
        };
        let watched = state.intake.watch(&ctx, target.as_ref().ok());
        watched.received(message.payload.len());
        let request = head.and_then(|head| {
            state.counts.headers_dropped(head.dropped);
            let request = Request::new(target?, message.payload)
                .with_headers(head.headers)
                .with_idempotency(head.idempotency);
            Ok((request, share?))
        });
        Some(Self { ctx, handle, reply, key, request, counters, watched })
    }

    /// Returns the body length in bytes.
    pub(super) fn len(&self) -> usize {
        self.request.as_ref().map_or(0, |(request, _)| request.body.len())
    }

    /// Replaces the request by a refusal: too many requests wait already.
    pub(super) fn refuse(&mut self) {
        self.request = Err(overloaded());
    }

    /// Reports the request as refused, although no reply can be sent.
    pub(super) fn give_up(self) {
        self.watched.end(observe::Outcome::Failure(&overloaded()));
    }

    /// Splits the request into the future that answers it, its cancel handle and its key. The
    /// future returns the time from `start` until the handler ended.
    pub(super) fn split(
        self,
        state: Arc<ServerState>,
        link: Arc<Link>,
        start: Instant,
    ) -> (impl Future<Output = Duration> + Send + 'static, CancelHandle, u64) {
        let Self { ctx, handle, reply, key, request, counters, watched } = self;
        let answer = async move {
            let outcome = match request {
                Ok((request, share)) => {
                    let handling = state.intake.handle(watched.context(&ctx), request);
                    handling.charged(share).watched(&watched).await
                }
                Err(error) => Err(error),
            };
            // Otherwise another responder may have run the handler.
            let is_only = state.is_only_receiver(&reply);
            let took = start.elapsed();
            if let Some(counters) = counters {
                counters.count(took, &outcome);
            }
            let reply =
                EncodedReply::new(&link, reply, state.account.reply(outcome), watched, is_only);
            deliver(&state, &ctx, link, reply).await;
            took
        };
        (answer, handle, key)
    }
}

/// Makes the error of a request that arrived while too many requests waited.
pub(super) fn overloaded() -> Error {
    let (code, reason) = (Code::ResourceExhausted, Reason::OVERLOADED);
    Error::failure(code, Delivery::Rejected, reason, "too many requests wait already")
}

fn target(prefix: &str, subject: &str) -> Result<Target, Error> {
    let target = target_of(prefix, subject).and_then(|target| Target::parse(target).ok());
    target.ok_or_else(|| {
        let text = "nothing answers this subject here";
        let reason = Reason::NO_SUCH_TARGET;
        Error::failure(Code::Unimplemented, Delivery::Rejected, reason, text)
    })
}
