//! HTTP/2 connections: few, shared by many calls, with the streams on each bounded.
//!
//! Directly over `h2`: its errors say whose they are and which streams a GOAWAY spares, and a
//! call needs no task of its own.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong};
use rr_spi::Error;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, Sleep, sleep};

use super::{Dialer, Open, Reap, Reaper, lock};
use crate::config::HttpConfig;
use crate::error::handed_back;
use crate::socket::Socket;

/// Longest header list that is accepted, in bytes as HTTP/2 counts them: 32 bytes are added for
/// each entry, so that 64 entries of 16 KiB fit.
const HEADER_LIST_BYTES_MAX: u32 = 32 * 1024;

/// Window of one stream, and of a connection: a body of the default limit goes without a pause.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 5 * 1024 * 1024;

/// Streams that are opened before the server has said how many it allows: more could be refused.
/// The others wait for its first frame, inside h2.
const STREAMS_BEFORE_SETTINGS: usize = 1;

/// Most streams of cancelled calls that are remembered for a second, so that their late replies are
/// ignored. Beyond, h2 counts such replies as errors, and after 1024 of them gives the connection
/// up, with every call on it.
const RESETS_REMEMBERED_MAX: usize = 8192;

/// How often a connection with calls in flight is asked whether it is alive, and how long it may
/// take to say so. Without it one that was cut silently would be used for ever.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct H2Pool {
    shared: Arc<Shared>,
    /// One place per call: with it there is room on some connection, or for another.
    places: Semaphore,
    /// Lets one call at a time make a connection; the others find it made.
    connecting: Semaphore,
}

#[derive(Debug)]
struct Shared {
    dialer: Arc<Dialer>,
    kept: Mutex<Kept>,
    streams_max: usize,
    idle_timeout: Duration,
}

#[derive(Debug, Default)]
struct Kept {
    connections: Vec<Arc<Shelf>>,
    reaper: Reaper,
}

/// One connection among those in use.
#[derive(Debug)]
struct Shelf {
    sender: SendRequest<Bytes>,
    in_use: AtomicUsize,
    /// Most streams, by our limit and by the server's; kept up by the connection's task.
    streams_max: Arc<AtomicUsize>,
    /// When the last call on it ended.
    idle_since: Mutex<Instant>,
}

/// One stream's place on a connection.
#[derive(Debug)]
pub(crate) struct H2Lease<'a> {
    pub(crate) sender: SendRequest<Bytes>,
    shelf: Arc<Shelf>,
    pool: &'a H2Pool,
    _place: SemaphorePermit<'a>,
}

impl H2Pool {
    pub(crate) fn new(dialer: Arc<Dialer>, config: &HttpConfig) -> Self {
        let streams_max = config.h2_streams_max.max(1);
        let places = config.h2_connections_max.max(1).saturating_mul(streams_max);
        let shared = Shared {
            dialer,
            kept: Mutex::default(),
            streams_max,
            idle_timeout: config.idle_timeout,
        };
        Self {
            shared: Arc::new(shared),
            places: Semaphore::new(places.min(Semaphore::MAX_PERMITS)),
            connecting: Semaphore::new(1),
        }
    }

    /// Returns a place on a connection, making one when those there are have no room; waits while
    /// too many calls are in flight. `None` when the connection turned out to be going away.
    ///
    /// # Errors
    ///
    /// `Unavailable`, not sent, `connect-failed`.
    pub(crate) async fn checkout(&self) -> Result<Option<H2Lease<'_>>, Error> {
        // The semaphores are never closed.
        let place = self.places.acquire().await.map_err(|_| handed_back())?;
        let shelf = match self.shared.with_room() {
            Some(shelf) => shelf,
            None => {
                let _turn = self.connecting.acquire().await.map_err(|_| handed_back())?;
                match self.shared.with_room() {
                    Some(shelf) => shelf,
                    None => self.shared.connect().await?,
                }
            }
        };
        let sender = shelf.sender.clone();
        let mut lease = H2Lease { sender, shelf, pool: self, _place: place };
        if std::future::poll_fn(|cx| lease.sender.poll_ready(cx)).await.is_err() {
            lease.retire();
            return Ok(None);
        }
        Ok(Some(lease))
    }
}

impl H2Lease<'_> {
    /// Takes the connection out of use; calls in flight on it go on.
    pub(crate) fn retire(&self) {
        let mut kept = lock(&self.pool.shared.kept);
        kept.connections.retain(|shelf| !Arc::ptr_eq(shelf, &self.shelf));
    }
}

impl Drop for H2Lease<'_> {
    fn drop(&mut self) {
        if self.shelf.in_use.fetch_sub(1, Ordering::Relaxed) == 1 {
            *lock(&self.shelf.idle_since) = Instant::now();
        }
    }
}

impl Shared {
    /// Takes a place on a connection that has one; the oldest connection fills first, so that
    /// those made for a burst run empty and end.
    fn with_room(&self) -> Option<Arc<Shelf>> {
        let kept = lock(&self.kept);
        let room = |shelf: &&Arc<Shelf>| {
            shelf.in_use.load(Ordering::Relaxed) < shelf.streams_max.load(Ordering::Relaxed)
        };
        let shelf = kept.connections.iter().find(room)?;
        shelf.in_use.fetch_add(1, Ordering::Relaxed);
        Some(Arc::clone(shelf))
    }

    async fn connect(self: &Arc<Self>) -> Result<Arc<Shelf>, Error> {
        let (socket, open) = self.dialer.dial().await?;
        let handshake = Builder::new()
            .enable_push(false)
            .initial_max_send_streams(STREAMS_BEFORE_SETTINGS)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .max_concurrent_reset_streams(RESETS_REMEMBERED_MAX)
            .handshake(socket)
            .await;
        let (sender, mut connection) = handshake.map_err(|error| self.dialer.failed(error))?;
        let streams_max = Arc::new(AtomicUsize::new(self.streams_max));
        let shelf = Arc::new(Shelf {
            sender,
            in_use: AtomicUsize::new(1),
            streams_max: Arc::clone(&streams_max),
            idle_since: Mutex::new(Instant::now()),
        });
        let pings = connection.ping_pong().map(Pings::new);
        // The task ends with its connection, which ends when no sender and no stream is left.
        tokio::spawn(Drive {
            connection,
            pings,
            shelf: Arc::downgrade(&shelf),
            streams_max,
            limit: self.streams_max,
            _open: open,
        });
        let mut kept = lock(&self.kept);
        kept.connections.push(Arc::clone(&shelf));
        kept.reaper.start(|| Arc::downgrade(self), self.idle_timeout);
        Ok(shelf)
    }
}

impl Reap for Shared {
    fn reap(&self) -> bool {
        let mut kept = lock(&self.kept);
        let used = |shelf: &Arc<Shelf>| {
            shelf.in_use.load(Ordering::Relaxed) > 0
                || lock(&shelf.idle_since).elapsed() < self.idle_timeout
        };
        kept.connections.retain(used);
        if kept.connections.is_empty() {
            kept.reaper.ended();
            return false;
        }
        true
    }
}

/// Drives one connection: moves its frames, asks whether the peer is alive, and keeps up with how
/// many streams the server allows.
struct Drive {
    connection: Connection<Socket, Bytes>,
    pings: Option<Pings>,
    shelf: std::sync::Weak<Shelf>,
    streams_max: Arc<AtomicUsize>,
    limit: usize,
    _open: Open,
}

impl Future for Drive {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        if Pin::new(&mut self.connection).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let allowed = self.connection.max_concurrent_send_streams();
        if allowed != STREAMS_BEFORE_SETTINGS {
            self.streams_max.store(allowed.min(self.limit), Ordering::Relaxed);
        }
        let in_use = self.shelf.upgrade().map_or(0, |shelf| shelf.in_use.load(Ordering::Relaxed));
        match &mut self.pings {
            Some(pings) => pings.poll(in_use, cx),
            None => Poll::Pending,
        }
    }
}

/// Asks whether the peer is alive; ready when it is not.
struct Pings {
    pings: PingPong,
    waiting: bool,
    timer: Pin<Box<Sleep>>,
}

impl Pings {
    fn new(pings: PingPong) -> Self {
        Self { pings, waiting: false, timer: Box::pin(sleep(PING_INTERVAL)) }
    }

    fn poll(&mut self, in_use: usize, cx: &mut TaskContext<'_>) -> Poll<()> {
        if self.waiting && self.pings.poll_pong(cx).is_ready() {
            self.waiting = false;
            self.timer.as_mut().reset(Instant::now() + PING_INTERVAL);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if self.waiting {
                return Poll::Ready(());
            }
            // An unused connection is not asked: servers count such pings as abuse.
            self.waiting = in_use > 0 && self.pings.send_ping(Ping::opaque()).is_ok();
            let pause = if self.waiting { PING_TIMEOUT } else { PING_INTERVAL };
            self.timer.as_mut().reset(Instant::now() + pause);
            if self.waiting && self.pings.poll_pong(cx).is_ready() {
                self.waiting = false;
            }
        }
        Poll::Pending
    }
}
