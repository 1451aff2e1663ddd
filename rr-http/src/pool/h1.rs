//! HTTP/1.1 connections: one call at a time on each, the newest unused one first.
//!
//! A connection has no task of its own: the call on it drives it, so that between writing the
//! request and reading the reply nothing is handed from task to task. What is unused is looked
//! after by one task of the pool's, which is woken when a peer closes one.

mod dial;
mod idle_reaper;
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
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use rr_spi::{Attempt, Error, Target};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use self::idle_reaper::IdleReaper;
use self::silence::Silence;
use self::waiting::{Told, Waiting};
use super::tapped::{Tapped, UnreadCheck};
use super::{Dialer, RuntimePool, after, lock};
use crate::body::Whole;
use crate::config::HttpConfig;
use crate::gauge::GaugeGuard;
use crate::self_wake::SelfWake;
use crate::socket::Socket;

pub(crate) struct H1Pool {
    shared: Arc<H1Shared>,
    /// One place per call: it bounds the connections in use.
    places: Semaphore,
}

struct H1Shared {
    dialer: Arc<Dialer>,
    host: HeaderValue,
    idle: Mutex<IdleConnections>,
    idle_max: usize,
    idle_timeout: Duration,
    /// Most dials under way: one per place, though a dial may outlive its call.
    dials_max: usize,
}

#[derive(Default)]
struct IdleConnections {
    connections: Vec<Idle>,
    keeper: Option<IdleReaper>,
    /// Calls wait only while no connection is unused.
    waiting: Waiting,
    /// How often a connection was kept after an answer on it.
    answers: u64,
}

struct Idle {
    link: Box<H1Connection>,
    expires: Instant,
}

/// One connection, and what it says again and again. These are its own copies: a reference count
/// that all connections share costs more than the copy, as soon as they are many.
pub(crate) struct H1Connection {
    /// `None` only while it is dropped.
    sender: Option<SendRequest<Whole<Bytes>>>,
    pub(crate) host: HeaderValue,
    /// The target of the last call, and its path.
    pub(crate) last: Option<(Target, Uri)>,
    /// When it was kept, as a count of [`IdleConnections::answers`]; `None` from the next request to its answer.
    kept: Option<u64>,
    /// Room for the next head, left by the last reply; empty.
    pub(crate) spare: HeaderMap,
    /// `None` once it has ended.
    connection: Option<Conversation>,
    rewaker: SelfWake,
    unread: UnreadCheck,
    _open: GaugeGuard,
}

/// A request, ready to be sent.
pub(crate) type Message = Request<Whole<Bytes>>;

/// The head of a reply, or why there is none, perhaps with the request that came back.
pub(crate) type Replied = Result<Response<Incoming>, TrySendError<Message>>;

/// What hyper does on a connection.
type Conversation = Connection<TokioIo<Tapped<UnreadCheck>>, Whole<Bytes>>;

/// A connection for one call. Dropped, it is closed: what was not read to its end would be taken
/// for the next reply.
pub(crate) struct H1Lease<'a> {
    pub(crate) link: Box<H1Connection>,
    _place: SemaphorePermit<'a>,
}

impl H1Pool {
    pub(crate) fn new(dialer: Arc<Dialer>, host: HeaderValue, config: &HttpConfig) -> Self {
        let shared = H1Shared {
            dialer,
            host,
            idle: Mutex::default(),
            idle_max: config.idle_max,
            idle_timeout: config.idle_timeout,
            dials_max: config.connections_max,
        };
        let places = Semaphore::new(config.connections_max.min(Semaphore::MAX_PERMITS));
        Self { shared: Arc::new(shared), places }
    }

    /// Takes an unused connection, or the first that becomes free or is dialled; waits while too
    /// many are in use.
    ///
    /// # Errors
    ///
    /// `Unavailable`, not sent, `connect-failed`.
    pub(crate) async fn checkout(&self) -> Result<H1Lease<'_>, Error> {
        let place = self.place().await?;
        while let Some(mut link) = self.shared.pop() {
            if link.is_clean() {
                return Ok(H1Lease { link, _place: place });
            }
        }
        // In a box like all that seldom happens, since it would enlarge every call.
        let link = Box::pin(self.shared.wait()).await?;
        Ok(H1Lease { link, _place: place })
    }

    /// Makes a connection, whatever is unused: for a call to which such ones came back.
    ///
    /// # Errors
    ///
    /// As [`H1Pool::checkout`].
    pub(crate) async fn checkout_fresh(&self) -> Result<H1Lease<'_>, Error> {
        let place = self.place().await?;
        let shared = &self.shared;
        let link = Box::pin(connect(&shared.dialer, &shared.host)).await?;
        Ok(H1Lease { link, _place: place })
    }

    /// Begins to wait for the first answer to a request on a connection: silence until the deadline
    /// of the attempt closes unused connections that may be as dead.
    pub(crate) fn expect_answer<'a>(
        &'a self,
        attempt: &'a Attempt,
        link: &mut H1Connection,
    ) -> Silence<'a> {
        Silence::new(&self.shared, attempt, link.kept.take())
    }

    async fn place(&self) -> Result<SemaphorePermit<'_>, Error> {
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        // In a box like all that seldom happens, since room for it would be kept in every call.
        let place = Box::pin(self.places.acquire()).await;
        // The semaphore is never closed.
        place.map_err(|_| crate::error::handed_back())
    }

    /// Keeps a connection whose reply was read to its end. `granted` is for how long the peer lets
    /// it be unused.
    pub(crate) fn put_back(&self, mut lease: H1Lease<'_>, granted: Option<Duration>) {
        let shared = &self.shared;
        let keep = granted.map_or(shared.idle_timeout, |granted| granted.min(shared.idle_timeout));
        // One whose request is still being written, for example, is not.
        if keep.is_zero() || !lease.link.is_usable() {
            return;
        }
        shared.give(Idle { link: lease.link, expires: after(keep) }, None);
    }
}

impl RuntimePool for H1Pool {
    fn is_empty(&self) -> bool {
        let kept = lock(&self.shared.idle);
        kept.connections.is_empty() && kept.waiting.dials_nothing()
    }
}

impl H1Connection {
    /// Hands a request over; its reply comes while the connection is driven.
    pub(crate) fn send(
        &mut self,
        message: Message,
    ) -> Option<impl Future<Output = Replied> + use<>> {
        // Hyper tells the connection, which is about to be driven; the keeper need not look.
        self.rewaker.expect();
        Some(self.sender.as_mut()?.try_send_request(message))
    }

    /// Drives the connection until a part of a call on it is done.
    pub(crate) fn drive<F: Future>(&mut self, part: F) -> DriveFuture<'_, F> {
        DriveFuture { part, connection: &mut self.connection, rewaker: &mut self.rewaker }
    }

    /// Tells whether a request can be sent. What has happened since the last call is looked at.
    fn is_usable(&mut self) -> bool {
        if self.rewaker.is_woken() || !self.is_ready() {
            self.look(&mut Context::from_waker(Waker::noop()));
        }
        self.connection.is_some() && self.is_ready()
    }

    /// Tells whether a request can be sent and would be answered by its own reply: a reply that
    /// nothing asked for, which has come since, would be taken for it (RFC 9112 §9.2).
    fn is_clean(&mut self) -> bool {
        let unread = self.unread.clone();
        unread.during(|| self.look(&mut Context::from_waker(Waker::noop())));
        self.connection.is_some() && self.is_ready()
    }

    fn is_ready(&self) -> bool {
        self.sender.as_ref().is_some_and(SendRequest::is_ready)
    }

    /// Polls the connection while nothing is asked for on it.
    fn look(&mut self, cx: &mut Context<'_>) {
        let Self { connection, rewaker, .. } = self;
        // Whatever budget the task has left: without any, one that has ended would seem to go on.
        let looking = unconstrained(poll_fn(|cx| {
            rewaker.poll(cx, |cx, news| match poll_connection(connection, cx, news) {
                true => Poll::Pending,
                false => Poll::Ready(()),
            })
        }));
        let _ = pin!(looking).poll(cx);
    }
}

impl Drop for H1Connection {
    fn drop(&mut self) {
        // Without a sender hyper shuts the connection down, as far as that goes at once: over TLS
        // the peer is told.
        self.sender = None;
        self.look(&mut Context::from_waker(Waker::noop()));
    }
}

pin_project! {
    /// See [`H1Connection::drive`].
    pub(crate) struct DriveFuture<'a, F> {
        #[pin]
        part: F,
        connection: &'a mut Option<Conversation>,
        rewaker: &'a mut SelfWake,
    }
}

impl<F: Future> Future for DriveFuture<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        this.rewaker.poll(cx, |cx, news| {
            if let Poll::Ready(output) = this.part.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            match poll_connection(this.connection, cx, news) {
                true => Poll::Pending,
                // Its end is told to the call.
                false => this.part.as_mut().poll(cx),
            }
        })
    }
}

/// Polls a connection, for which there is no news then. Returns `false` once it has ended.
fn poll_connection(
    connection: &mut Option<Conversation>,
    cx: &mut Context<'_>,
    news: &mut bool,
) -> bool {
    *news = false;
    let goes_on = connection.as_mut().is_some_and(|connection| {
        // What goes wrong is told to the call that it goes wrong for.
        Pin::new(connection).poll(cx).is_pending()
    });
    if !goes_on {
        *connection = None;
    }
    goes_on
}

impl H1Shared {
    fn pop(&self) -> Option<Box<H1Connection>> {
        // Dropped after the lock: streams may be the application's own.
        let mut expired = Vec::new();
        let mut kept = lock(&self.idle);
        let now = Instant::now();
        loop {
            let idle = kept.connections.pop()?;
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
            let mut kept = lock(&self.idle);
            let Some(call) = first.take().or_else(|| kept.waiting.next()) else {
                let (left, started) = kept.keep(idle, self);
                // Wakers and streams, which may be the application's, are not dropped under the lock.
                drop(kept);
                drop(left);
                return self.start_keeper(started);
            };
            drop(kept);
            match call.send(Ok(idle)) {
                Err(Ok(not_taken)) => idle = not_taken,
                _ => return,
            }
        }
    }
}

/// Makes a connection.
async fn connect(dialer: &Dialer, host: &HeaderValue) -> Result<Box<H1Connection>, Error> {
    let (socket, open) = dialer.dial().await?;
    let rewaker = match socket {
        Socket::Stream(_) => SelfWake::of_stream(),
        Socket::Tcp(_) => SelfWake::new(),
        #[cfg(unix)]
        Socket::Unix(_) => SelfWake::new(),
    };
    let unread = UnreadCheck::default();
    let socket = Tapped::new(socket, unread.clone());
    // A folded line is read as spaces (RFC 9112 §5.2).
    let mut builder = http1::Builder::new();
    builder.allow_obsolete_multiline_headers_in_responses(true);
    let handshake = builder.handshake(TokioIo::new(socket)).await;
    let (sender, connection) = handshake.map_err(|error| dialer.failed(error))?;
    // The bytes of a host that was one before are one.
    let own_host = HeaderValue::from_bytes(host.as_bytes());
    Ok(Box::new(H1Connection {
        sender: Some(sender),
        host: own_host.unwrap_or_else(|_| host.clone()),
        last: None,
        kept: None,
        spare: HeaderMap::new(),
        connection: Some(connection),
        rewaker,
        unread,
        _open: open,
    }))
}
