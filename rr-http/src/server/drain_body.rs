//! Discards the rest of request bodies that no handler reads.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use rr_spi::Context;

use super::read_body::soon;
use super::tasks::Tasks;
use crate::body::frame;

/// Maximum number of bytes of an unread body that are discarded, and the longest time: as Go's
/// net/http does. Closing immediately would reset the connection before the client could read the
/// reply.
const BYTES_MAX: usize = 256 * 1024;
const TIME_MAX: Duration = Duration::from_millis(500);

/// Reads the part of an unread body that has already arrived. Returns whether that was all of it.
pub(super) async fn is_drained<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> bool {
    soon(pin!(drain(body))).await.is_some()
}

/// Discards the rest of a body in a separate task, so that the reply leaves immediately. The task
/// holds `held` until then.
pub(super) fn discard<B, H>(tasks: &Tasks, held: H, mut body: B)
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Send,
    H: Send + 'static,
{
    tasks.spawn(held, async move {
        let bound = Context::background().with_timeout(TIME_MAX);
        let _ = bound.race(drain(&mut body)).await;
    });
}

/// Reads a body to its end, or to the end of its connection. If the body is longer than
/// [`BYTES_MAX`], stays pending until dropped, so that the client has time to read its reply.
async fn drain<B: Body<Data = Bytes> + Unpin>(body: &mut B) {
    let mut read = 0;
    while read < BYTES_MAX {
        let Some(Ok(frame)) = frame(body).await else { return };
        read += frame.data_ref().map_or(0, Bytes::len);
        // Hyper would return the end of the body only with the next request.
        if body.is_end_stream() {
            return;
        }
    }
    std::future::pending::<()>().await;
}
