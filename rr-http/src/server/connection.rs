//! Serves one connection, from the detection of its version to its end.

use std::convert::Infallible;
use std::future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rr_spi::{Context, Deadline};
use tokio::task::coop::has_budget_remaining;
use tokio::time::sleep;

use super::ServerState;
use super::keep_alive::{KeepAlive, promise};
use super::peer::Peer;
use super::request::answer;
use super::tasks::{H2Executor, Tasks};
use super::timeouts::{ActivityMonitor, Check};
#[cfg(feature = "tls")]
use super::tls::Tls;
use super::version_detect::{Sniffed, Version};
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
    let activity = ActivityMonitor::new(&state.config, state.intake.bodies());
    let info = rr_spi::Peer::new().with_address(socket.peer_address());
    #[cfg(feature = "tls")]
    let (socket, info) = match &state.tls {
        None => (socket, info),
        // Boxed: a handshake needs more memory than the rest of the connection's life.
        Some(tls) => match Box::pin(shake_hands(tls, socket, info, &state)).await {
            Some(accepted) => accepted,
            None => return,
        },
    };
    let info = Arc::new(info);
    let mut io = Sniffed::new(socket, Arc::clone(&activity));
    let bound = Context::background().with_timeout(state.config.first_bytes_timeout);
    let first = pin!(bound.race(future::poll_fn(|cx| io.poll_version(cx))));
    let Some(Ok(Ok(version))) = state.stop.race(first).await else { return };
    let peer = Peer { info, state, tasks, activity };
    match version {
        Version::H1 => serve_h1(io, peer).await,
        Version::H2 => serve_h2(io, peer).await,
    }
}

/// Completes the handshake of a connection. Returns `None` when it fails, or when the server
/// stops.
#[cfg(feature = "tls")]
async fn shake_hands(
    tls: &Tls,
    socket: Socket,
    info: rr_spi::Peer,
    state: &ServerState,
) -> Option<(Socket, rr_spi::Peer)> {
    let accepting = pin!(tls.accept(socket, &state.stats));
    let (socket, identity) = state.stop.race(accepting).await??;
    Some((socket, info.with_identity(identity)))
}

async fn serve_h1(io: Sniffed, peer: Peer) {
    let mut builder = http1::Builder::new();
    // The activity monitor distinguishes the head of a request from the time before it, and needs
    // no timer for each.
    builder.header_read_timeout(None);
    builder.max_header_size(HEAD_BYTES_MAX);
    let keep_alive = KeepAlive::new(peer.state.config.idle_timeout);
    // Split here: an argument that is passed on is stored twice.
    let service = service_fn(|request: Request<Incoming>| {
        let active = peer.activity.start_request();
        let (mut parts, body) = request.into_parts();
        let peer = &peer;
        let hint = keep_alive.due(&parts);
        async move {
            let _active = active;
            let mut reply = answer(peer, &mut parts, body).await;
            promise(hint, reply.headers_mut());
            Ok::<_, Infallible>(reply)
        }
    });
    let connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    drive(connection, http1::Connection::graceful_shutdown, &peer).await;
}

async fn serve_h2(io: Sniffed, peer: Peer) {
    let streams = H2Executor::new(peer.tasks.clone(), Arc::clone(&peer.activity));
    let mut builder = http2::Builder::new(streams);
    builder.timer(TokioTimer::new());
    let streams_max = u32::try_from(peer.state.config.h2_streams_max).unwrap_or(u32::MAX);
    builder.max_concurrent_streams(streams_max.max(1));
    builder.max_header_list_size(HEADER_LIST_BYTES_MAX);
    builder.max_frame_size(FRAME_BYTES_MAX);
    builder.max_pending_accept_reset_streams(RESETS_PENDING_MAX);
    builder.keep_alive_interval(PING_INTERVAL);
    builder.keep_alive_timeout(PING_TIMEOUT);
    let service = service_fn(|request: Request<Incoming>| {
        let (mut parts, body) = request.into_parts();
        let peer = peer.clone();
        async move { Ok::<_, Infallible>(answer(&peer, &mut parts, body).await) }
    });
    let connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    drive(connection, http2::Connection::graceful_shutdown, &peer).await;
}

/// Drives a connection. Once it is unused or the server stops serving requests, drives it only
/// until its replies have left.
async fn drive<C: Future>(
    mut connection: Pin<&mut C>,
    shut_down: impl FnOnce(Pin<&mut C>),
    peer: &Peer,
) {
    let end = {
        let watched = pin!(watched(connection.as_mut(), &peer.activity));
        peer.state.stop.race(watched).await
    };
    match end {
        // The calls on a connection learn how it ended; nothing else can act on that.
        Some(End::Closed | End::Stuck) => return,
        Some(End::Unused) | None => shut_down(connection.as_mut()),
    }
    loop {
        let bound = Context::background().with_timeout(CLOSE);
        let has_ended = bound.race(connection.as_mut()).await.is_ok();
        if has_ended || peer.activity.is_done() || peer.activity.check() == Check::Stuck {
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
async fn watched<C: Future>(mut connection: Pin<&mut C>, activity: &ActivityMonitor) -> End {
    let mut timer = pin!(sleep(activity.pace()));
    // Whether the timer holds the task's waker: a connection stays with its task.
    let mut is_armed = false;
    // A handler runs within the connection, and wakes it by reading the body or by answering.
    let mut self_wake = SelfWake::new();
    let mut turn = YieldBeforeWrite::default();
    future::poll_fn(|cx| {
        ready!(turn.poll(activity.active(), cx));
        if self_wake.poll(cx, |cx, _| connection.as_mut().poll(cx)).is_ready() {
            return Poll::Ready(End::Closed);
        }
        activity.flush_timestamps();
        if is_armed && !timer.is_elapsed() {
            return Poll::Pending;
        }
        while timer.as_mut().poll(cx).is_ready() {
            match activity.check() {
                Check::Fine(wait) => timer.as_mut().reset(Deadline::after(wait).instant()),
                Check::Unused => return Poll::Ready(End::Unused),
                Check::Stuck => return Poll::Ready(End::Stuck),
            }
        }
        // Without budget the timer did not store the waker, and tokio polls the task again.
        is_armed = has_budget_remaining();
        Poll::Pending
    })
    .await
}
