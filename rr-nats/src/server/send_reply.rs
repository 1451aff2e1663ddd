//! How the one reply of a request leaves.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use async_nats::{HeaderMap, Subject};
use rr_spi::{BodyShare, Bytes, Code, Context, Delivery, Error, Reason, Response};

use super::state::ServerState;
use crate::connection::{Link, Room, TooLong, message};
use crate::wire::{block_len, encode_reply, minimal};

/// Length from which a body holds its share until it has been written.
const LONG: usize = 16 * 1024;

/// Sends the one reply. When the connection is lost before it could be handed over, the caller may
/// still be there, on another server: as long as the call has time and the server lives, the reply
/// waits for the next connection.
pub(super) async fn deliver(
    site: &ServerState,
    ctx: &Context,
    mut link: Arc<Link>,
    to: Subject,
    (outcome, share): (Result<Response, Error>, BodyShare),
) {
    let failed = outcome.as_ref().err().map(minimal);
    let (headers, body) = fitting(&link, encode_reply(outcome), failed.as_ref());
    let (body, _share) = held(body, share);
    let mut reply = message(to, None, headers, body);
    // The subscription's loop sends many in a row, and one alone has nobody to leave with.
    let directly = is_in_loop().await || site.tasks.now() <= 1;
    loop {
        if !link.is_lost() {
            if directly {
                match link.put_now(reply) {
                    Ok(()) => return,
                    Err(back) => reply = back,
                }
            }
            if let Some(room) = room(site, &link).await {
                return room.put(reply);
            }
            if !link.is_lost() {
                // The server has ended: what goes at once still goes, by either way.
                drop(link.put_now(reply));
                return;
            }
        }
        match site.life.race(ctx.race(site.next_link())).await {
            Ok(Ok(next)) => link = next,
            // Whoever waits hears of it by the deadline, and says `Unknown`.
            _ => return,
        }
        // The next server may take less, or this one may have shown since that it does.
        let written = (reply.headers, reply.payload);
        (reply.headers, reply.payload) = fitting(&link, written, failed.as_ref());
    }
}

/// Has a long body hold its share until the client library has written it. A short one holds it until
/// the library has taken it: of those, `outgoing_max` bounds what waits.
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

/// Tells whether this is polled by the subscription's loop, which polls with a waker that does
/// nothing, and not by a task of its own.
async fn is_in_loop() -> bool {
    poll_fn(|cx| Poll::Ready(cx.waker().will_wake(Waker::noop()))).await
}

/// Waits for room on a connection; `None` when it is lost, or the server has ended.
async fn room<'a>(site: &ServerState, link: &'a Link) -> Option<Room<'a>> {
    // Also when the server has just ended: what goes at once still goes.
    if let Some(room) = link.room_now() {
        return Some(room);
    }
    site.life.race(link.alive().race(link.room())).await.ok()?.ok()?.ok()
}

/// The header block and the body of a reply.
type Written = (Option<HeaderMap>, Bytes);

/// Returns a reply if the server takes it. When it is too long, an error that says so, in place of a
/// success; when even that is, the same without its text.
fn fitting(link: &Link, written: Written, failed: Option<&Error>) -> Written {
    let Err(TooLong { bytes_max, .. }) = link.check(length(&written)) else { return written };
    let error = failed.cloned().unwrap_or_else(|| too_long(bytes_max));
    let least = minimal(&error);
    let written = encode_reply(Err(error));
    if link.check(length(&written)).is_ok() { written } else { encode_reply(Err(least)) }
}

fn too_long(bytes_max: usize) -> Error {
    let text = format!("the reply is longer than the {bytes_max} bytes that the server takes");
    let (code, reason) = (Code::ResourceExhausted, Reason::RESPONSE_TOO_LARGE);
    Error::failure(code, Delivery::Processed, reason, text)
}

fn length((headers, body): &Written) -> usize {
    headers.as_ref().map_or(0, block_len) + body.len()
}
