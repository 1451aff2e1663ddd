//! Sends the reply of a request.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use async_nats::message::OutboundMessage;
use async_nats::{HeaderMap, Subject};
use rr_spi::observe::{Outcome, WatchedRequest};
use rr_spi::wire::ErrorDocument;
use rr_spi::{BodyShare, Bytes, Code, Context, Delivery, Error, Reason, Response};

use super::state::ServerState;
use crate::connection::{Link, SendPermit, message};
use crate::error::TooLong;
use crate::wire::{block_len, encode_reply, minimal};

/// Length in bytes from which a body holds its share until it has been written.
const LONG: usize = 16 * 1024;

/// Sends the reply. If the connection is lost before the reply is handed over, the caller may still
/// be reachable through another NATS server: the reply then waits for the next connection until the
/// call or this server ends.
pub(super) async fn deliver(
    state: &ServerState,
    ctx: &Context,
    mut link: Arc<Link>,
    EncodedReply { message: mut reply, failed, _share }: EncodedReply,
) {
    // The subscription's loop sends many replies in a row, and a single reply has no others to
    // leave with.
    let directly = is_in_loop().await || state.tasks.now() <= 1;
    loop {
        if !link.is_lost() {
            if directly {
                match link.try_send(reply) {
                    Ok(()) => return,
                    Err(back) => reply = back,
                }
            }
            if let Some(permit) = reserve(state, &link).await {
                return permit.send(reply);
            }
            if !link.is_lost() {
                // The server has ended: the reply still leaves if the library takes it immediately.
                drop(link.try_send(reply));
                return;
            }
        }
        match state.life.race(ctx.race(state.next_link())).await {
            Ok(Ok(next)) => link = next,
            // The caller waits until its deadline and reports `Unknown`.
            _ => return,
        }
        // The next server may accept less, or the limit of this server may have been learned since.
        let written = (reply.headers, reply.payload);
        (reply.headers, reply.payload) = fitting(&link, written, failed.as_ref());
    }
}

/// Reply of a request, ready to be sent.
pub(super) struct EncodedReply {
    message: OutboundMessage,
    /// The error in its minimal form, if the outcome is an error.
    failed: Option<Error>,
    _share: Option<BodyShare>,
}

impl EncodedReply {
    /// Encodes the outcome of a request, and reports what is sent: a reply that is too long for the
    /// NATS server is replaced by an error. A reply that has to wait for another NATS server, which
    /// accepts less, is reported as it was before.
    ///
    /// If another responder may have run its handler, an error states that to the caller. It is
    /// reported with what this server knows of its own handler.
    pub(super) fn new(
        link: &Link,
        to: Subject,
        (outcome, share): (Result<Response, Error>, BodyShare),
        watched: WatchedRequest,
        is_only: bool,
    ) -> Self {
        let stated = |error: Error| {
            if is_only { error } else { error.raised_to(Delivery::Unknown) }
        };
        let error = outcome.as_ref().err().cloned().map(stated);
        let failed = error.as_ref().map(minimal);
        let written = match outcome {
            Ok(response) if watched.is_observed() => {
                let written = encode_reply(Ok(response.clone()));
                match link.check(length(&written)) {
                    Ok(()) => watched.end(Outcome::Success(&response)),
                    Err(refused) => {
                        watched.end(Outcome::Failure(&too_long(refused.bytes_max)));
                    }
                }
                written
            }
            outcome => {
                watched.end(Outcome::of(&outcome));
                encode_reply(outcome.map_err(stated))
            }
        };
        let (headers, body) = fitting(link, written, error.as_ref());
        let (body, share) = held(body, share);
        Self { message: message(to, None, headers, body), failed, _share: share }
    }
}

/// Attaches the share of a long body to the body, so that it is held until the client library has
/// written the body. The share of a short body is held until the library has taken the message:
/// `outgoing_max` limits how many of those wait.
fn held(body: Bytes, share: BodyShare) -> (Bytes, Option<BodyShare>) {
    if body.len() < LONG {
        return (body, Some(share));
    }
    (Bytes::from_owner(Held { body, _share: share }), None)
}

/// Body that holds its share of the server's budget.
struct Held {
    body: Bytes,
    _share: BodyShare,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// Returns whether the subscription's loop polls this future, and not a separate task: the loop
/// polls with a no-op waker.
async fn is_in_loop() -> bool {
    poll_fn(|cx| Poll::Ready(cx.waker().will_wake(Waker::noop()))).await
}

/// Waits for a place in the queue of a connection; `None` if the connection is lost or the server
/// has ended.
async fn reserve<'a>(state: &ServerState, link: &'a Link) -> Option<SendPermit<'a>> {
    // Checked first: a free place is used even if the server has just ended.
    if let Some(permit) = link.outbox().try_reserve() {
        return Some(permit);
    }
    state.life.race(link.alive().race(link.outbox().reserve())).await.ok()?.ok()?
}

/// Header block and body of a reply.
type Written = (Option<HeaderMap>, Bytes);

/// Returns the reply if the server accepts its length. Replaces a success that is too long by an
/// error that reports it; drops the text of that error if it is too long as well. An error that is
/// too long loses the readable form of its details, and then everything but its minimal form.
fn fitting(link: &Link, written: Written, failed: Option<&Error>) -> Written {
    let Err(TooLong { bytes_max, .. }) = link.check(length(&written)) else { return written };
    let (written, least) = match failed {
        Some(error) => ((written.0, ErrorDocument::encode_without_debug(error)), minimal(error)),
        None => {
            let error = too_long(bytes_max);
            let least = minimal(&error);
            (encode_reply(Err(error)), least)
        }
    };
    if link.check(length(&written)).is_ok() { written } else { encode_reply(Err(least)) }
}

fn too_long(bytes_max: usize) -> Error {
    let text = format!(
        "the reply is longer, with its headers, than the {bytes_max} bytes that `max_payload` on \
         the NATS server allows"
    );
    let (code, reason) = (Code::ResourceExhausted, Reason::RESPONSE_TOO_LARGE);
    Error::failure(code, Delivery::Processed, reason, text)
}

fn length((headers, body): &Written) -> usize {
    headers.as_ref().map_or(0, block_len) + body.len()
}
