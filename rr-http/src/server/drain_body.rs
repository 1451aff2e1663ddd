//! What is left of a body that nobody reads.

use std::pin::pin;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use rr_spi::Context;

use super::connection::Peer;
use super::read_body::soon;
use crate::body::frame;

/// How much of it is read, and for how long it is held: as Go's net/http does. To close at once
/// would reset the connection under the reply, and the client could not read it.
const BYTES_MAX: usize = 256 * 1024;
const TIME_MAX: Duration = Duration::from_millis(500);

/// Reads the part of an unread body that has already arrived; returns whether that was all of it.
pub(super) async fn is_drained(body: &mut Incoming) -> bool {
    soon(pin!(drain(body))).await.is_some()
}

/// Reads what is left of a body in a task of its own, so that the reply leaves at once. Until then
/// the connection is in use: what arrives on it is not yet another request.
pub(super) fn discard(peer: &Peer, mut body: Incoming) {
    let active = peer.watch.begin();
    peer.tasks.spawn(active, async move {
        let bound = Context::background().with_timeout(TIME_MAX);
        let _ = bound.race(drain(&mut body)).await;
    });
}

/// Reads a body to its end, or to the end of its connection. When it is too long it does not
/// return: the client has the rest of the time to read its reply.
async fn drain(body: &mut Incoming) {
    let mut read = 0;
    while read < BYTES_MAX {
        let Some(Ok(frame)) = frame(body).await else { return };
        read += frame.data_ref().map_or(0, bytes::Bytes::len);
        // Hyper says that a body has ended with the next request only.
        if body.is_end_stream() {
            return;
        }
    }
    std::future::pending::<()>().await;
}
