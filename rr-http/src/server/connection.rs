//! Serves one connection, from the detection of its version to its end.

use std::convert::Infallible;
use std::future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rr_spi::{Context, Deadline, Peer, jittered};
use tokio::task::coop::has_budget_remaining;
use tokio::time::sleep;

use super::ServerState;
use super::connection_state::ConnectionState;
use super::keep_alive::{KeepAlive, promise};
use super::proxy_header::{self, Announced};
use super::request::answer;
use super::retirement::Retirement;
use super::stop::Stopped;
use super::tasks::{H2Executor, Tasks};
use super::timeouts::{ActivityMonitor, Check};
use super::version_detect::{Sniffed, Version};
use crate::config::HttpProxyProtocol;
use crate::self_wake::SelfWake;
use crate::socket::Socket;
use crate::wire::{FRAME_BYTES_MAX, HEADER_LIST_BYTES_MAX};
use crate::write_batching::YieldBeforeWrite;

/// Longest head of an HTTP/1 request, in bytes: 16 KiB for the application, and as much for the
/// rest.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Maximum number of streams that a client may have opened and reset before the server has read
/// them. The limit bounds a flood of resets; h2's default of 20 is less than one burst of cancelled
/// calls.
const RESETS_PENDING_MAX: usize = 1024;

/// Interval of pings to an HTTP/2 client, and the timeout of each. Without pings, a client that
/// vanished with calls in flight would keep its handlers until their deadlines.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for a connection to end by itself when it has nothing to answer. A connection on which half
/// a head has arrived would never end.
const CLOSE: Duration = Duration::from_millis(100);

/// Serves one connection until it ends, or until the server stops serving requests and the
/// connection has sent its pending replies.
pub(super) async fn serve_connection(socket: Socket, state: Arc<ServerState>, tasks: Tasks) {
    // Connections that were opened simultaneously are not replaced simultaneously.
    let age_max = jittered(state.config.connection_age_max, &state.entropy);
    let activity = ActivityMonitor::new(&state.config, state.intake.bodies(), age_max);
    let retirement = Retirement::new(&state.leaving);
    let opened = {
        let opening = pin!(open(socket, &state, &activity));
        state.stop.race(opening).await
    };
    let Some(Some((io, version, peer))) = opened else { return };
    let peer = Arc::new(peer);
    let shared = ConnectionState { peer, server: state, tasks, activity, retirement };
    match version {
        Version::H1 => serve_h1(io, shared).await,
        Version::H2 => serve_h2(io, shared).await,
    }
}

/// Reads the first bytes of a connection: the PROXY header if one is required, the handshake if the
/// server speaks TLS, then those that determine the version. `None` when the peer is refused, ends
/// the connection or takes too long.
async fn open(
    mut socket: Socket,
    state: &ServerState,
    activity: &Arc<ActivityMonitor>,
) -> Option<(Sniffed, Version, Peer)> {
    let limit = || Context::background().with_timeout(state.config.first_bytes_timeout);
    let peer = match state.config.proxy_protocol {
        HttpProxyProtocol::Off => socket.peer(),
        HttpProxyProtocol::Required => {
            let reading = limit().race(proxy_header::read(&mut socket)).await;
            match reading.ok()?.ok()? {
                Announced::Proxy => socket.peer(),
                // A loopback address is that of the proxy's machine.
                Announced::Client(address) => Peer::new().with_address(address).as_remote(),
            }
        }
    };
    #[cfg(feature = "tls")]
    let (socket, peer) = match &state.tls {
        None => (socket, peer),
        Some(tls) => {
            // Boxed: a handshake needs more memory than the rest of the connection's life.
            let (socket, identity) = Box::pin(tls.accept(socket, peer.address(), state)).await?;
            (socket, peer.with_identity(identity))
        }
    };
    let mut io = Sniffed::new(socket, Arc::clone(activity));
    let version = limit().race(future::poll_fn(|cx| io.poll_version(cx))).await.ok()?.ok()?;
    Some((io, version, peer))
}

async fn serve_h1(io: Sniffed, shared: ConnectionState) {
    let mut builder = http1::Builder::new();
    // The activity monitor distinguishes the head of a request from the time before it, and needs
    // no timer for each.
    builder.header_read_timeout(None);
    builder.max_header_size(HEAD_BYTES_MAX);
    let keep_alive = KeepAlive::new(shared.server.config.idle_timeout);
    // Split here: an argument that is passed on is stored twice.
    let service = service_fn(|request: Request<Incoming>| {
        let active = shared.activity.start_request();
        let (mut parts, body) = request.into_parts();
        let shared = &shared;
        let hint = keep_alive.due(&parts);
        async move {
            let _active = active;
            let mut reply = match shared.server.fallback(&parts) {
                None => answer(shared, &mut parts, body).await,
                Some(fallback) => fallback.answer(shared, parts, body).await,
            };
            promise(hint, reply.headers_mut());
            Ok::<_, Infallible>(reply)
        }
    });
    let connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    // The next reply closes a retired connection; closing an unused one could lose a request.
    drive(connection, http1::Connection::graceful_shutdown, |_, _| (), &shared).await;
}

async fn serve_h2(io: Sniffed, shared: ConnectionState) {
    let streams = H2Executor::new(shared.tasks.clone(), Arc::clone(&shared.activity));
    let mut builder = http2::Builder::new(streams);
    builder.timer(TokioTimer::new());
    let streams_max = u32::try_from(shared.server.config.h2_streams_max).unwrap_or(u32::MAX);
    builder.max_concurrent_streams(streams_max.max(1));
    builder.max_header_list_size(HEADER_LIST_BYTES_MAX);
    builder.max_frame_size(FRAME_BYTES_MAX);
    builder.max_pending_accept_reset_streams(RESETS_PENDING_MAX);
    builder.keep_alive_interval(PING_INTERVAL);
    builder.keep_alive_timeout(PING_TIMEOUT);
    let service = service_fn(|request: Request<Incoming>| {
        let (mut parts, body) = request.into_parts();
        let shared = shared.clone();
        async move {
            Ok::<_, Infallible>(match shared.server.fallback(&parts) {
                None => answer(&shared, &mut parts, body).await,
                Some(fallback) => fallback.answer(&shared, parts, body).await,
            })
        }
    });
    let connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut leaving = shared.retirement.wait(&shared.server.leaving);
    let mut is_retired = false;
    let retire = |connection: Pin<&mut http2::Connection<_, _, _>>, cx: &mut TaskContext<'_>| {
        let leaves = |leaving: &mut Stopped<'_>| Pin::new(leaving).poll(cx).is_ready();
        if !is_retired && (shared.activity.is_retired() || leaving.as_mut().is_some_and(leaves)) {
            is_retired = true;
            // Two GOAWAYs, with a ping in between: streams that the client opens before it has
            // received the first are served (RFC 9113 §6.8).
            connection.graceful_shutdown();
        }
    };
    drive(connection, http2::Connection::graceful_shutdown, retire, &shared).await;
}

/// Drives a connection. Once it is unused or the server stops serving requests, drives it only
/// until its replies have left. `retire` is called before each poll, and asks the peer to replace
/// the connection when it is time.
async fn drive<C: Future>(
    mut connection: Pin<&mut C>,
    shut_down: impl FnOnce(Pin<&mut C>),
    retire: impl FnMut(Pin<&mut C>, &mut TaskContext<'_>),
    shared: &ConnectionState,
) {
    let end = {
        let watched = pin!(watched(connection.as_mut(), retire, &shared.activity));
        shared.server.stop.race(watched).await
    };
    match end {
        // The calls on a connection learn how it ended; nothing else can act on that.
        Some(End::Closed | End::Stuck) => return,
        Some(End::Unused) | None => shut_down(connection.as_mut()),
    }
    loop {
        let bound = Context::background().with_timeout(CLOSE);
        let has_ended = bound.race(connection.as_mut()).await.is_ok();
        if has_ended || shared.activity.is_done() || shared.activity.check() == Check::Stuck {
            return;
        }
    }
}

/// Reason for the end of a connection.
enum End {
    Closed,
    Unused,
    Stuck,
}

/// Drives a connection until it ends, or until one of its timeouts passes. One timer serves all of
/// its requests.
async fn watched<C: Future>(
    mut connection: Pin<&mut C>,
    mut retire: impl FnMut(Pin<&mut C>, &mut TaskContext<'_>),
    activity: &ActivityMonitor,
) -> End {
    let mut timer = pin!(sleep(activity.first_check()));
    // Whether the timer holds the task's waker: a connection stays with its task.
    let mut is_armed = false;
    // A handler runs within the connection, and wakes it by reading the body or by answering.
    let mut self_wake = SelfWake::new();
    let mut turn = YieldBeforeWrite::default();
    future::poll_fn(|cx| {
        ready!(turn.poll(activity.active(), cx));
        retire(connection.as_mut(), cx);
        if self_wake.poll(cx, |cx, _| connection.as_mut().poll(cx)).is_ready() {
            return Poll::Ready(End::Closed);
        }
        activity.flush_timestamps();
        if is_armed && !timer.is_elapsed() {
            return Poll::Pending;
        }
        while timer.as_mut().poll(cx).is_ready() {
            let was_retired = activity.is_retired();
            match activity.check() {
                Check::Fine(wait) => timer.as_mut().reset(Deadline::after(wait).instant()),
                Check::Unused => return Poll::Ready(End::Unused),
                Check::Stuck => return Poll::Ready(End::Stuck),
            }
            if activity.is_retired() && !was_retired {
                // Polled again, so that the peer learns it.
                cx.waker().wake_by_ref();
            }
        }
        // Without budget the timer did not store the waker, and tokio polls the task again.
        is_armed = has_budget_remaining();
        Poll::Pending
    })
    .await
}
