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
use crate::socket::{Socket, SocketOptions};

/// Time for which connections are still served after the last accept: a client that connected at
/// the last moment has sent its request by then, and gets a refusal instead of a reset. A shorter
/// linger shortens this time, unless the channel still held streams.
const LAST_CALLS: Duration = Duration::from_millis(100);

/// Maximum number of times that [`LAST_CALLS`] passes, if handshakes of TLS are in progress: a
/// client that connected at the last moment sends its request only after them. With the constant
/// above, 3 s: several round trips around the world, and the turn of a handshake that waits.
const LAST_CALLS_TIMES_MAX: usize = 30;

/// Serves until a drain is done or the transport must end, and waits until all tasks have ended.
///
/// A shutdown may announce itself first: during the lame duck requests are served as before, and in
/// its second half connections are asked to move elsewhere. A drain first keeps accepting, while
/// requests are in flight and for a short linger: the intake refuses new requests, and every reply
/// closes its connection. A request that races with the start of the drain is therefore answered
/// rather than lost. Then accepting stops, and connections end as soon as they have nothing to
/// answer. Handshakes of TLS in progress get a little more time.
pub(super) async fn run(listener: Listener, state: Arc<ServerState>, shutdown: Shutdown) {
    let tasks = Tasks::new(state.stats.tasks.clone());
    // However this future ends, its tasks end with it.
    let owner = Owner(tasks.clone());
    let serving = serve(listener, &state, &shutdown, &tasks);
    #[cfg(feature = "tls")]
    let serving = until_served(&state, serving);
    let _ = shutdown.until_closing(serving).await;
    drop(owner);
    tasks.none().await;
}

struct Owner(Tasks);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.end();
    }
}

async fn serve(
    mut listener: Listener,
    state: &Arc<ServerState>,
    shutdown: &Shutdown,
    tasks: &Tasks,
) {
    let linger = state.config.drain_linger;
    let last_accepts = async {
        shutdown.announced().await;
        // In the first half of the lame duck, load balancers notice. In the second half, the
        // clients that are connected move, so that the drain finds few of them. Without a lame
        // duck they would return immediately.
        let half = state.config.intake.lame_duck / 2;
        if shutdown.until_draining(tokio::time::sleep(half)).await.is_some() {
            state.leaving.stop();
        }
        shutdown.draining().await;
        tokio::time::sleep(linger).await;
        state.intake.idle().await;
        // Lets the runtime poll the socket once more: when it closes, connections in the operating
        // system's queue are reset.
        tokio::task::yield_now().await;
    };
    let most = state.config.connections_max.min(Semaphore::MAX_PERMITS);
    let places = Arc::new(Semaphore::new(most));
    until(accept(&mut listener, &places, state, tasks), last_accepts).await;
    let left = listener.close();
    let last_calls = if left.is_empty() { linger.min(LAST_CALLS) } else { LAST_CALLS };
    for socket in left {
        // Unused connections may hold every permit, and do not release them. For a moment, as many
        // connections as the channel held may be open in addition: they only get refusals.
        let place = Arc::clone(&places).try_acquire_owned().ok();
        begin(socket, place, state, tasks);
    }
    answer_last_calls(state, tasks, last_calls).await;
    state.stop.stop();
    tasks.none().await;
}

/// Waits for the requests of clients that connected at the last moment.
async fn answer_last_calls(state: &ServerState, tasks: &Tasks, last_calls: Duration) {
    let mut had_handshakes = state.shakes_hands();
    for _ in 0..LAST_CALLS_TIMES_MAX {
        let bound = Context::background().with_timeout(last_calls);
        let have_ended = bound.race(tasks.none()).await.is_ok();
        // A handshake that ended meanwhile leaves time for the request after it.
        let has_handshakes = state.shakes_hands();
        if have_ended || !(had_handshakes || has_handshakes) {
            return;
        }
        had_handshakes = has_handshakes;
    }
}

/// Accepts connections for ever, as many simultaneously as there are permits.
async fn accept(
    listener: &mut Listener,
    places: &Arc<Semaphore>,
    state: &Arc<ServerState>,
    tasks: &Tasks,
) {
    loop {
        // Acquired before accepting, so that connections above the limit wait in the operating
        // system's queue. The semaphore is never closed.
        let Ok(place) = Arc::clone(places).acquire_owned().await else { return };
        begin(listener.accept().await, Some(place), state, tasks);
    }
}

/// Serves a connection in a new task, which holds its permit.
fn begin(
    socket: Socket,
    place: Option<OwnedSemaphorePermit>,
    state: &Arc<ServerState>,
    tasks: &Tasks,
) {
    socket.set_options(SocketOptions {
        keepalive: state.config.tcp_keepalive,
        ..SocketOptions::default()
    });
    let counted = state.stats.connections.one();
    let connection = serve_connection(socket, Arc::clone(state), tasks.clone());
    tasks.spawn((place, counted), connection);
}

/// Follows the files of TLS while the server serves.
#[cfg(feature = "tls")]
async fn until_served(state: &ServerState, serving: impl Future<Output = ()>) {
    match &state.tls {
        Some(tls) => until(tls.acceptor().follow_files(), serving).await,
        None => serving.await,
    }
}

/// Runs a future until `end` is ready, which is polled second.
async fn until(future: impl Future<Output = ()>, end: impl Future<Output = ()>) {
    let mut future = std::pin::pin!(future);
    let mut end = std::pin::pin!(end);
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => end.as_mut().poll(cx),
    })
    .await;
}
