//! HTTP/1.1 connection pool: one call at a time on each connection, the newest unused connection
//! first.
//!
//! A connection has no task: its current call drives it, so that nothing passes between tasks from
//! writing the request to reading the reply. One task per pool watches the unused connections, and
//! is woken when a peer closes one of them.

mod dial;
mod idle_reaper;
mod maker;
mod silence;
mod waiting;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Connection, SendRequest};
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use rr_spi::dial::DialProgress;
use rr_spi::{Attempt, Deadline, Error, Stage, Target};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use self::idle_reaper::IdleReaper;
use self::maker::H1Maker;
use self::silence::SilenceGuard;
use self::waiting::{Told, Waiting};
use super::negotiated::Negotiation;
use super::tapped::{Tapped, UnreadCheck};
use super::{AgeLimit, Dialer, RuntimePool};
use crate::body::Whole;
use crate::config::HttpConfig;
use crate::self_wake::SelfWake;
use crate::socket::Refused;
#[cfg(feature = "tls")]
use crate::socket::Socket;
use crate::sync::GaugeGuard;
use crate::sync::lock;

pub(crate) struct H1Pool {
    shared: Arc<H1Shared>,
    /// One permit per call: bounds the connections in use.
    places: Semaphore,
}

pub(super) struct H1Shared {
    maker: H1Maker,
    idle: Mutex<IdleConnections>,
    idle_max: usize,
    idle_timeout: Duration,
    /// Maximum number of connections in use, and of dials in progress: one per permit, though a
    /// dial may outlive its call.
    connections_max: usize,
}

#[derive(Default)]
struct IdleConnections {
    connections: Vec<Idle>,
    reaper: Option<IdleReaper>,
    /// Calls wait only while no connection is unused.
    waiting: Waiting,
    /// Number of times that a connection was kept after an answer on it.
    answers: u64,
}

struct Idle {
    link: Box<H1Connection>,
    expires: Instant,
}

/// One connection, with its own copies of values that requests repeat. With many connections, a
/// reference count that all share costs more than a copy.
pub(crate) struct H1Connection {
    /// `None` only during the drop.
    sender: Option<SendRequest<Whole<Bytes>>>,
    pub(crate) host: HeaderValue,
    /// Whether a request was handed over to the connection.
    is_used: bool,
    /// From then on, the connection is closed instead of kept; `None` without a limit.
    retires: Option<Instant>,
    /// The target of the last call, and its URI.
    pub(crate) last: Option<(Target, Uri)>,
    /// Value of [`IdleConnections::answers`] when the connection was kept; `None` from the next
    /// request to its answer.
    idle_since: Option<u64>,
    /// Emptied header map of the last reply, reused for the next request head.
    pub(crate) spare: HeaderMap,
    /// `None` once the connection has ended.
    connection: Option<Conversation>,
    self_wake: SelfWake,
    unread: UnreadCheck,
    refused: Refused,
    _open: GaugeGuard,
}

/// A request, ready to be sent.
pub(crate) type Message = Request<Whole<Bytes>>;

/// Head of a reply, or an error, with the request if it came back unwritten.
pub(crate) type Replied = Result<Response<Incoming>, TrySendError<Message>>;

/// Hyper's future that drives a connection.
type Conversation = Connection<TokioIo<Tapped<UnreadCheck>>, Whole<Bytes>>;

/// Connection leased to one call. Dropping it closes the connection: an unread rest of a body would
/// be taken for the next reply.
pub(crate) struct H1Lease<'a> {
    pub(crate) link: Box<H1Connection>,
    place: SemaphorePermit<'a>,
}

impl H1Pool {
    pub(crate) fn new(dialer: Arc<Dialer>, host: HeaderValue, config: &HttpConfig) -> Self {
        Self::negotiated(dialer, host, config, Negotiation::default())
    }

    /// Makes a pool that passes connections of the other version on.
    pub(super) fn negotiated(
        dialer: Arc<Dialer>,
        host: HeaderValue,
        config: &HttpConfig,
        negotiation: Negotiation,
    ) -> Self {
        let age = AgeLimit::new(config.connection_age_max);
        let shared = H1Shared {
            maker: H1Maker { dialer, host, negotiation, age },
            idle: Mutex::default(),
            idle_max: config.idle_max,
            idle_timeout: config.idle_timeout,
            connections_max: config.connections_max,
        };
        let places = Semaphore::new(config.connections_max.min(Semaphore::MAX_PERMITS));
        Self { shared: Arc::new(shared), places }
    }

    /// Leases an unused connection, or the first that becomes free or is dialled. Waits while the
    /// maximum is in use.
    ///
    /// # Errors
    ///
    /// `Unavailable`, not sent, `connect-failed`.
    pub(crate) async fn checkout(&self, attempt: &Attempt) -> Result<H1Lease<'_>, Error> {
        attempt.stage(Stage::Connection);
        let place = self.place().await?;
        Ok(H1Lease { link: self.connection(attempt).await?, place })
    }

    /// Replaces the connection of a call whose request came back; the call keeps its place.
    ///
    /// # Errors
    ///
    /// As [`H1Pool::checkout`].
    pub(crate) async fn exchange<'a>(
        &'a self,
        lease: H1Lease<'a>,
        attempt: &Attempt,
    ) -> Result<H1Lease<'a>, Error> {
        let place = lease.into_place();
        Ok(H1Lease { link: self.connection(attempt).await?, place })
    }

    /// As [`H1Pool::exchange`], with a new connection even if others are unused.
    pub(crate) async fn exchange_fresh<'a>(
        &'a self,
        lease: H1Lease<'a>,
        attempt: &Attempt,
    ) -> Result<H1Lease<'a>, Error> {
        let place = lease.into_place();
        let link = self.shared.maker.connect(&DialProgress::new()).await;
        Ok(H1Lease { link: link.map_err(|error| attempt.dial_failed(error))?, place })
    }

    /// Adds a note to the error of an attempt that expired while all connections were in use.
    pub(crate) fn noted(&self, error: Error) -> Error {
        let waited = error.timeline().is_some_and(|times| times.last() == Stage::Connection);
        if !waited || self.places.available_permits() > 0 {
            return error;
        }
        let max = self.shared.connections_max;
        error.map_timeline(|times| times.with_note(format!("{max} of {max} connections in use")))
    }

    async fn connection(&self, attempt: &Attempt) -> Result<Box<H1Connection>, Error> {
        while let Some(mut link) = self.shared.pop() {
            if link.is_reusable() {
                return Ok(link);
            }
        }
        // Boxed: this path is rare, and inline it would enlarge every call.
        Box::pin(self.shared.wait(attempt)).await
    }

    /// Starts the wait for the first answer to a request on a connection. If nothing arrives until
    /// the deadline of the attempt, unused connections that may be dead too are closed.
    pub(crate) fn guard_silence<'a>(
        &'a self,
        attempt: &'a Attempt,
        link: &mut H1Connection,
    ) -> SilenceGuard<'a> {
        SilenceGuard::new(&self.shared, attempt, link.idle_since.take())
    }

    async fn place(&self) -> Result<SemaphorePermit<'_>, Error> {
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        // Boxed: waiting is rare, and inline it would enlarge every call.
        let place = Box::pin(self.places.acquire()).await;
        // The semaphore is never closed.
        place.map_err(|_| crate::error::handed_back())
    }

    /// Returns a connection to the pool after its reply was read to its end. `granted` is the idle
    /// time that the server allows; the shorter of it and `idle_timeout` applies.
    pub(crate) fn put_back(&self, mut lease: H1Lease<'_>, granted: Option<Duration>) {
        let shared = &self.shared;
        let keep = granted.map_or(shared.idle_timeout, |granted| granted.min(shared.idle_timeout));
        // A connection is not usable, for example, while its request is still being written.
        if keep.is_zero() || !lease.link.is_usable() {
            return;
        }
        let now = Instant::now();
        let expires = lease.link.expires(now, keep);
        // While calls wait, an old connection would otherwise pass from one to the next.
        if now < expires {
            shared.give(Idle { link: lease.link, expires }, None);
        }
    }
}

impl<'a> H1Lease<'a> {
    /// Closes the connection and keeps the place in the pool.
    fn into_place(self) -> SemaphorePermit<'a> {
        self.place
    }
}

#[cfg(feature = "tls")]
impl H1Pool {
    pub(super) fn downgrade(&self) -> std::sync::Weak<H1Shared> {
        Arc::downgrade(&self.shared)
    }
}

#[cfg(feature = "tls")]
impl H1Shared {
    /// Gives a connection that another pool made to a waiting call, or keeps it.
    pub(super) async fn adopt(self: &Arc<Self>, socket: Socket, open: GaugeGuard) {
        let Ok(mut link) = self.maker.start_h1(socket, open).await else { return };
        // Polled once, so that the end of the connection is noticed while it is unused.
        if link.is_usable() {
            let expires = link.expires(Instant::now(), self.idle_timeout);
            self.give(Idle { link, expires }, None);
        }
    }
}

impl RuntimePool for H1Pool {
    fn is_empty(&self) -> bool {
        let locked = lock(&self.shared.idle);
        locked.connections.is_empty() && locked.waiting.dials_nothing()
    }
}

impl H1Connection {
    /// Hands a request over to hyper. The reply arrives while the connection is driven.
    pub(crate) fn send(
        &mut self,
        message: Message,
    ) -> Option<impl Future<Output = Replied> + use<>> {
        // Hyper wakes the connection, which is about to be driven: the idle reaper need not be
        // woken.
        self.self_wake.expect();
        self.is_used = true;
        Some(self.sender.as_mut()?.try_send_request(message))
    }

    /// Returns the refusal of the connection by its server, if there was one.
    pub(crate) fn refused(&self) -> &Refused {
        &self.refused
    }

    /// Drives the connection until `part` of a call on it completes.
    pub(crate) fn drive<F: Future>(&mut self, part: F) -> DriveFuture<'_, F> {
        DriveFuture { part, connection: &mut self.connection, self_wake: &mut self.self_wake }
    }

    /// Handles events since the last call, and returns whether a request can be sent.
    fn is_usable(&mut self) -> bool {
        if self.self_wake.is_woken() || !self.is_ready() {
            self.poll_idle(&mut Context::from_waker(Waker::noop()));
        }
        self.connection.is_some() && self.is_ready()
    }

    /// As [`H1Connection::is_usable`], for a connection that has served a call. The next request
    /// comes back unwritten if the server meanwhile ends the connection or sends something unasked,
    /// which would be taken for the reply (RFC 9112 §9.2).
    fn is_reusable(&mut self) -> bool {
        let is_usable = self.is_usable();
        self.unread.arm();
        is_usable
    }

    /// Returns the end of the time for which the connection is kept: that of its idle time or of
    /// its age.
    fn expires(&self, now: Instant, idle_timeout: Duration) -> Instant {
        let expires = Deadline::after_at(now, idle_timeout).instant();
        self.retires.map_or(expires, |retires| retires.min(expires))
    }

    fn is_ready(&self) -> bool {
        self.sender.as_ref().is_some_and(SendRequest::is_ready)
    }

    /// Polls the connection while no call uses it.
    fn poll_idle(&mut self, cx: &mut Context<'_>) {
        let Self { connection, self_wake, .. } = self;
        // Unconstrained: without task budget, a connection that has ended would seem alive.
        let polling = unconstrained(poll_fn(|cx| {
            self_wake.poll(cx, |cx, news| match poll_connection(connection, cx, news) {
                true => Poll::Pending,
                false => Poll::Ready(()),
            })
        }));
        let _ = pin!(polling).poll(cx);
    }
}

impl Drop for H1Connection {
    fn drop(&mut self) {
        // Without a sender hyper shuts the connection down, as far as one poll allows. Over TLS
        // this notifies the peer.
        self.sender = None;
        self.poll_idle(&mut Context::from_waker(Waker::noop()));
    }
}

pin_project! {
    /// See [`H1Connection::drive`].
    pub(crate) struct DriveFuture<'a, F> {
        #[pin]
        part: F,
        connection: &'a mut Option<Conversation>,
        self_wake: &'a mut SelfWake,
    }
}

impl<F: Future> Future for DriveFuture<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        this.self_wake.poll(cx, |cx, news| {
            if let Poll::Ready(output) = this.part.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            match poll_connection(this.connection, cx, news) {
                true => Poll::Pending,
                // The call receives the end of the connection as an error.
                false => this.part.as_mut().poll(cx),
            }
        })
    }
}

/// Polls a connection, and clears its news. Returns `false` once the connection has ended.
fn poll_connection(
    connection: &mut Option<Conversation>,
    cx: &mut Context<'_>,
    news: &mut bool,
) -> bool {
    *news = false;
    let goes_on = connection.as_mut().is_some_and(|connection| {
        // Hyper reports an error to the call that it affects.
        Pin::new(connection).poll(cx).is_pending()
    });
    if !goes_on {
        *connection = None;
    }
    goes_on
}

impl H1Shared {
    fn pop(&self) -> Option<Box<H1Connection>> {
        // Dropped after the lock is released: streams may belong to the application.
        let mut expired = Vec::new();
        let mut locked = lock(&self.idle);
        let now = Instant::now();
        loop {
            let idle = locked.connections.pop()?;
            if now < idle.expires {
                return Some(idle.link);
            }
            expired.push(idle);
        }
    }

    /// Gives a connection to `first` or to the call that has waited longest; keeps it if no call
    /// waits.
    fn give(self: &Arc<Self>, mut idle: Idle, mut first: Option<Told>) {
        loop {
            let mut locked = lock(&self.idle);
            let Some(call) = first.take().or_else(|| locked.waiting.next()) else {
                let (left, started) = locked.keep(idle, self);
                // Wakers and streams may belong to the application: they are not dropped under the
                // lock.
                drop(locked);
                drop(left);
                return self.start_reaper(started);
            };
            drop(locked);
            match call.send(Ok(idle)) {
                Err(Ok(not_taken)) => idle = not_taken,
                _ => return,
            }
        }
    }
}
