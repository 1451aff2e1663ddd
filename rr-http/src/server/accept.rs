//! The accept loop, and the phases of a drain.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rr_spi::{Context, Shutdown};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ServerState;
use super::connection::serve_connection;
use super::listener::Listener;
use super::tasks::Tasks;
use crate::socket::Socket;

/// How long connections are still served when nothing is accepted any more: whoever connected at
/// the last moment has sent its request by then, and is told rather than cut off. With a shorter
/// linger it is as short, unless streams were left that nobody has looked at yet.
const LAST_CALLS: Duration = Duration::from_millis(100);

/// Serves until it is told to end, and its connections have.
///
/// A drain first goes on as before, while requests are in flight and for a short linger: the
/// intake refuses what comes, and every reply closes its connection. So a request that raced the
/// beginning of the drain is answered rather than lost. Then nothing is accepted any more, and
/// connections end as soon as they have nothing to answer.
pub(super) async fn run(listener: Listener, site: Arc<ServerState>, shutdown: Shutdown) {
    let tasks = Tasks::new(site.stats.tasks.clone());
    // However this future ends, its tasks end with it.
    let owner = Owner(tasks.clone());
    let _ = shutdown.until_closing(serve(listener, &site, &shutdown, &tasks)).await;
    drop(owner);
    tasks.none().await;
}

struct Owner(Tasks);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.end();
    }
}

async fn serve(mut listener: Listener, site: &Arc<ServerState>, shutdown: &Shutdown, tasks: &Tasks) {
    let linger = site.config.drain_linger;
    let lame_duck = async {
        shutdown.draining().await;
        tokio::time::sleep(linger).await;
        site.intake.idle().await;
        // Lets the runtime look at the socket once more: who is in the operating system's queue
        // when it closes is reset.
        tokio::task::yield_now().await;
    };
    let most = site.config.connections_max.min(Semaphore::MAX_PERMITS);
    let places = Arc::new(Semaphore::new(most));
    until(accept(&mut listener, &places, site, tasks), lame_duck).await;
    let left = listener.close();
    let last_calls = if left.is_empty() { linger.min(LAST_CALLS) } else { LAST_CALLS };
    for socket in left {
        // Unused connections may hold every place, and do not give them back. As many again as the
        // channel held may be open for a moment: there is nothing but refusals for them.
        let place = Arc::clone(&places).try_acquire_owned().ok();
        begin(socket, place, site, tasks);
    }
    let _ = Context::background().with_timeout(last_calls).race(tasks.none()).await;
    site.stop.stop();
    tasks.none().await;
}

/// Accepts connections for ever, as many at once as there are places.
async fn accept(listener: &mut Listener, places: &Arc<Semaphore>, site: &Arc<ServerState>, tasks: &Tasks) {
    loop {
        // The place comes first: who is not accepted waits in the operating system's queue.
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(places).acquire_owned().await else { return };
        begin(listener.accept().await, Some(place), site, tasks);
    }
}

/// Serves a connection in a task of its own, which holds its place.
fn begin(socket: Socket, place: Option<OwnedSemaphorePermit>, site: &Arc<ServerState>, tasks: &Tasks) {
    let counted = site.stats.connections.one();
    let connection = serve_connection(socket, Arc::clone(site), tasks.clone());
    tasks.spawn((place, counted), connection);
}

/// Runs a future until another one is ready, which is asked last; then drops it.
async fn until(future: impl Future<Output = ()>, end: impl Future<Output = ()>) {
    let mut future = std::pin::pin!(future);
    let mut end = std::pin::pin!(end);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => end.as_mut().poll(cx),
    })
    .await;
}
