//! HTTP/1.1 connections: one call at a time on each, the newest unused one first.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Uri};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rr_spi::{Context, Error, Target};
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
    host: HeaderValue,
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
    link: Link,
    expires: Instant,
}

/// One connection, and what it says again and again. These are its own copies: a reference count
/// that all connections share costs more than the copy, as soon as they are many.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) sender: SendRequest<Whole<Bytes>>,
    pub(crate) host: HeaderValue,
    /// The target of the last call, and its path.
    pub(crate) last: Option<(Target, Uri)>,
}

/// A connection in use. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct H1Lease<'a> {
    pub(crate) link: Link,
    _place: SemaphorePermit<'a>,
}

impl H1Pool {
    pub(crate) fn new(dialer: Arc<Dialer>, host: HeaderValue, config: &HttpConfig) -> Self {
        let shared = Shared {
            dialer,
            host,
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
        while let Some(mut link) = self.shared.pop() {
            if link.is_ready().await {
                return Ok(H1Lease { link, _place: place });
            }
        }
        Ok(H1Lease { link: self.shared.connect().await?, _place: place })
    }

    /// Makes a connection, whatever is unused; waits while too many are in use.
    ///
    /// # Errors
    ///
    /// As [`H1Pool::checkout`].
    pub(crate) async fn checkout_fresh(&self) -> Result<H1Lease<'_>, Error> {
        let place = self.place().await?;
        Ok(H1Lease { link: self.shared.connect().await?, _place: place })
    }

    async fn place(&self) -> Result<SemaphorePermit<'_>, Error> {
        // The semaphore is never closed.
        self.places.acquire().await.map_err(|_| crate::error::handed_back())
    }

    /// Keeps a connection whose reply has been read. `granted` is what the server says it keeps
    /// an unused connection for.
    pub(crate) fn put_back(&self, lease: H1Lease<'_>, granted: Option<Duration>) {
        if lease.link.sender.is_closed() {
            return;
        }
        let shared = &self.shared;
        let keep = granted.map_or(shared.idle_timeout, |granted| granted.min(shared.idle_timeout));
        let mut kept = lock(&shared.idle);
        if keep.is_zero() || kept.connections.len() >= shared.idle_max {
            return;
        }
        kept.connections.push(Idle { link: lease.link, expires: Instant::now() + keep });
        kept.reaper.start(|| Arc::downgrade(shared), shared.idle_timeout);
    }
}

impl Link {
    /// Waits for a moment, if need be, until the connection takes a request.
    async fn is_ready(&mut self) -> bool {
        if self.sender.is_ready() {
            return true;
        }
        let bound = Context::background().with_timeout(READY);
        matches!(bound.race(self.sender.ready()).await, Ok(Ok(())))
    }
}

impl Shared {
    /// Takes the newest unused connection that is still open.
    fn pop(&self) -> Option<Link> {
        let mut kept = lock(&self.idle);
        let now = Instant::now();
        loop {
            let idle = kept.connections.pop()?;
            if !idle.link.sender.is_closed() && now < idle.expires {
                return Some(idle.link);
            }
        }
    }

    async fn connect(&self) -> Result<Link, Error> {
        let (socket, open) = self.dialer.dial().await?;
        let handshake = http1::handshake(TokioIo::new(socket)).await;
        let (sender, connection) = handshake.map_err(|error| self.dialer.failed(error))?;
        // The task ends with its connection, which ends when the sender is dropped.
        tokio::spawn(async move {
            let _open = open;
            // What goes wrong is told to the call that it goes wrong for.
            let _ = connection.await;
        });
        // The bytes of a host that was one before are one.
        let host = HeaderValue::from_bytes(self.host.as_bytes());
        Ok(Link { sender, host: host.unwrap_or_else(|_| self.host.clone()), last: None })
    }
}

impl Reap for Shared {
    fn reap(&self) -> bool {
        let mut kept = lock(&self.idle);
        let now = Instant::now();
        kept.connections.retain(|idle| !idle.link.sender.is_closed() && now < idle.expires);
        if kept.connections.is_empty() {
            kept.reaper.ended();
            return false;
        }
        true
    }
}
