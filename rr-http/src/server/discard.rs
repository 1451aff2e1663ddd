//! What is left of a body that nobody reads.

use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use rr_spi::Context;

use super::connection::Peer;
use crate::body::frame;

/// How much of it is read, and for how long it is held: as Go's net/http does. To close at once
/// would reset the connection under the reply, and the client could not read it.
pub(super) const BYTES_MAX: usize = 256 * 1024;
const TIME_MAX: Duration = Duration::from_millis(500);

/// Reads what is left of a body in a task of its own, so that the reply leaves at once. Until then
/// the connection is in use: what arrives on it is not yet another request.
pub(super) fn discard(peer: &Peer, mut body: Incoming) {
    let active = peer.watch.begin();
    peer.tasks.spawn(active, async move {
        let bound = Context::background().with_timeout(TIME_MAX);
        let rest = async {
            let mut read = 0;
            while read < BYTES_MAX {
                // The end of the body, or of the connection.
                let Some(Ok(frame)) = frame(&mut body).await else { return };
                read += frame.data_ref().map_or(0, bytes::Bytes::len);
                // Hyper says that a body has ended with the next request only.
                if body.is_end_stream() {
                    return;
                }
            }
            // Enough was read. The client has the rest of the time to read its reply.
            std::future::pending::<()>().await;
        };
        let _ = bound.race(rest).await;
    });
}
