//! HTTP/1.1 connections: one call at a time on each, the newest unused one first.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rr_spi::{Context, Error};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::{Dialer, Reap, Reaper, lock};
use crate::body::Whole;
use crate::config::HttpConfig;

/// How long an unused connection may take to become ready. Its last reply has been read, so that
/// it is ready at once; one that is not, such as when its request is still being written, is
/// let go.
const READY: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(crate) struct H1Pool {
    shared: Arc<Shared>,
    /// One place per call: it bounds the connections in use.
    places: Semaphore,
}

#[derive(Debug)]
struct Shared {
    dialer: Arc<Dialer>,
    idle: Mutex<Kept>,
    idle_max: usize,
    idle_timeout: Duration,
}

#[derive(Debug, Default)]
struct Kept {
    connections: Vec<Idle>,
    reaper: Reaper,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<Whole<Bytes>>,
    expires: Instant,
}

/// A connection in use. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct H1Lease<'a> {
    pub(crate) sender: SendRequest<Whole<Bytes>>,
    _place: SemaphorePermit<'a>,
}

impl H1Pool {
    pub(crate) fn new(dialer: Arc<Dialer>, config: &HttpConfig) -> Self {
        let shared = Shared {
            dialer,
            idle: Mutex::default(),
            idle_max: config.idle_max,
            idle_timeout: config.idle_timeout,
        };
        let places = Semaphore::new(config.connections_max.min(Semaphore::MAX_PERMITS));
        Self { shared: Arc::new(shared), places }
    }

    /// Returns an unused connection, or makes one; waits while too many are in use.
    ///
    /// # Errors
    ///
    /// `Unavailable`, not sent, `connect-failed`.
    pub(crate) async fn checkout(&self) -> Result<H1Lease<'_>, Error> {
        let place = self.place().await?;
        while let Some(mut sender) = self.shared.pop() {
            let ready = Context::background().with_timeout(READY);
            if sender.is_ready() || matches!(ready.race(sender.ready()).await, Ok(Ok(()))) {
                return Ok(H1Lease { sender, _place: place });
            }
        }
        Ok(H1Lease { sender: self.shared.connect().await?, _place: place })
    }

    /// Makes a connection, whatever is unused; waits while too many are in use.
    ///
    /// # Errors
    ///
    /// As [`H1Pool::checkout`].
    pub(crate) async fn checkout_fresh(&self) -> Result<H1Lease<'_>, Error> {
        let place = self.place().await?;
        Ok(H1Lease { sender: self.shared.connect().await?, _place: place })
    }

    async fn place(&self) -> Result<SemaphorePermit<'_>, Error> {
        // The semaphore is never closed.
        self.places.acquire().await.map_err(|_| crate::error::handed_back())
    }

    /// Keeps a connection whose reply has been read. `granted` is what the server says it keeps
    /// an unused connection for.
    pub(crate) fn put_back(&self, lease: H1Lease<'_>, granted: Option<Duration>) {
        if lease.sender.is_closed() {
            return;
        }
        let shared = &self.shared;
        let keep = granted.map_or(shared.idle_timeout, |granted| granted.min(shared.idle_timeout));
        let mut kept = lock(&shared.idle);
        if keep.is_zero() || kept.connections.len() >= shared.idle_max {
            return;
        }
        kept.connections.push(Idle { sender: lease.sender, expires: Instant::now() + keep });
        kept.reaper.start(|| Arc::downgrade(shared), shared.idle_timeout);
    }
}

impl Shared {
    /// Takes the newest unused connection that is still open.
    fn pop(&self) -> Option<SendRequest<Whole<Bytes>>> {
        let mut kept = lock(&self.idle);
        let now = Instant::now();
        loop {
            let idle = kept.connections.pop()?;
            if !idle.sender.is_closed() && now < idle.expires {
                return Some(idle.sender);
            }
        }
    }

    async fn connect(&self) -> Result<SendRequest<Whole<Bytes>>, Error> {
        let (socket, open) = self.dialer.dial().await?;
        let handshake = http1::handshake(TokioIo::new(socket)).await;
        let (sender, connection) = handshake.map_err(|error| self.dialer.failed(error))?;
        // The task ends with its connection, which ends when the sender is dropped.
        tokio::spawn(async move {
            let _open = open;
            // What goes wrong is told to the call that it goes wrong for.
            let _ = connection.await;
        });
        Ok(sender)
    }
}

impl Reap for Shared {
    fn reap(&self) -> bool {
        let mut kept = lock(&self.idle);
        let now = Instant::now();
        kept.connections.retain(|idle| !idle.sender.is_closed() && now < idle.expires);
        if kept.connections.is_empty() {
            kept.reaper.ended();
            return false;
        }
        true
    }
}
