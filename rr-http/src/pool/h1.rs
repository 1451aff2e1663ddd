//! HTTP/1.1 connections: one call at a time on each, the newest unused one first.
//!
//! A connection has no task of its own: the call on it drives it, so that between writing the
//! request and reading the reply nothing is handed from task to task. What is unused is looked
//! after by one task of the pool's, which is woken when a peer closes one.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use rr_spi::{Error, Target};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep};

use super::{Dialer, Owned, RuntimePool, lock, pause};
use crate::body::Whole;
use crate::config::HttpConfig;
use crate::count::Counted;
use crate::rewaker::Rewaker;
use crate::socket::Socket;

pub(crate) struct H1Pool {
    shared: Arc<Shared>,
    /// One place per call: it bounds the connections in use.
    places: Semaphore,
}

struct Shared {
    dialer: Arc<Dialer>,
    host: HeaderValue,
    idle: Mutex<Kept>,
    idle_max: usize,
    idle_timeout: Duration,
}

#[derive(Default)]
struct Kept {
    connections: Vec<Idle>,
    keeper: Option<Keeper>,
}

/// The task that looks after unused connections.
struct Keeper {
    task: Owned,
    waker: Waker,
}

struct Idle {
    link: Box<Link>,
    expires: Instant,
}

/// One connection, and what it says again and again. These are its own copies: a reference count
/// that all connections share costs more than the copy, as soon as they are many.
pub(crate) struct Link {
    /// `None` only while it is dropped.
    sender: Option<SendRequest<Whole<Bytes>>>,
    pub(crate) host: HeaderValue,
    /// The target of the last call, and its path.
    pub(crate) last: Option<(Target, Uri)>,
    /// Room for the next head, left by the last reply; empty.
    pub(crate) spare: HeaderMap,
    /// `None` once it has ended.
    connection: Option<Conversation>,
    rewaker: Rewaker,
    _open: Counted,
}

/// A request, ready to be sent.
pub(crate) type Message = Request<Whole<Bytes>>;

/// The head of a reply, or why there is none, perhaps with the request that came back.
pub(crate) type Replied = Result<Response<Incoming>, TrySendError<Message>>;

/// What hyper does on a connection.
type Conversation = Connection<TokioIo<Socket>, Whole<Bytes>>;

/// A connection for one call. Dropped, it is closed: what was not read to its end would be taken
/// for the next reply.
pub(crate) struct H1Lease<'a> {
    pub(crate) link: Box<Link>,
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

    /// Takes an unused connection, or makes one; waits while too many are in use.
    ///
    /// # Errors
    ///
    /// `Unavailable`, not sent, `connect-failed`.
    pub(crate) async fn checkout(&self) -> Result<H1Lease<'_>, Error> {
        let place = self.place().await?;
        while let Some(mut link) = self.shared.pop() {
            if link.is_usable() {
                return Ok(H1Lease { link, _place: place });
            }
        }
        self.connect(place).await
    }

    /// Makes a connection, whatever is unused: for a call to which such ones came back.
    ///
    /// # Errors
    ///
    /// As [`H1Pool::checkout`].
    pub(crate) async fn checkout_fresh(&self) -> Result<H1Lease<'_>, Error> {
        let place = self.place().await?;
        self.connect(place).await
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

    async fn connect<'a>(&self, place: SemaphorePermit<'a>) -> Result<H1Lease<'a>, Error> {
        let link = Box::pin(self.shared.connect()).await?;
        Ok(H1Lease { link, _place: place })
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
        let expires = Instant::now() + keep;
        let mut kept = lock(&shared.idle);
        if kept.connections.len() >= shared.idle_max {
            return;
        }
        let caller = lease.link.rewaker.hand_to(kept.keeper(shared));
        kept.connections.push(Idle { link: lease.link, expires });
        // The caller's waker, which may own a task, is not dropped under the lock.
        drop(kept);
        drop(caller);
    }
}

impl RuntimePool for H1Pool {
    fn is_empty(&self) -> bool {
        lock(&self.shared.idle).connections.is_empty()
    }
}

impl Kept {
    /// Returns what wakes the keeper, after having started one if there is none.
    fn keeper(&mut self, shared: &Arc<Shared>) -> &Waker {
        let running = self.keeper.take().filter(|keeper| keeper.task.is_running());
        let keeper = running.unwrap_or_else(|| {
            let keeper = Keeper::start(shared);
            // Those of a keeper whose runtime ended before it began.
            for idle in &mut self.connections {
                // It leads to the keeper before, which owns nothing of an application's.
                drop(idle.link.rewaker.hand_to(&keeper.waker));
            }
            keeper
        });
        &self.keeper.insert(keeper).waker
    }
}

impl Keeper {
    /// Starts one; under the lock, as a task that is dropped before it has begun takes no lock.
    fn start(shared: &Arc<Shared>) -> Self {
        let rewaker = Rewaker::new();
        let waker = rewaker.waker().clone();
        let task = keep_watch(Arc::downgrade(shared), pause(shared.idle_timeout), rewaker);
        Self { task: Owned(Some(tokio::spawn(task).abort_handle())), waker }
    }
}

impl Link {
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
    pub(crate) fn drive<F: Future>(&mut self, part: F) -> Drive<'_, F> {
        Drive { part, connection: &mut self.connection, rewaker: &mut self.rewaker }
    }

    /// Tells whether a request can be sent. What has happened since the last call is looked at.
    fn is_usable(&mut self) -> bool {
        if self.rewaker.is_woken() || !self.is_ready() {
            self.look(&mut Context::from_waker(Waker::noop()));
        }
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

impl Drop for Link {
    fn drop(&mut self) {
        // Without a sender hyper shuts the connection down, as far as that goes at once: over TLS
        // the peer is told.
        self.sender = None;
        self.look(&mut Context::from_waker(Waker::noop()));
    }
}

pin_project! {
    /// See [`Link::drive`].
    pub(crate) struct Drive<'a, F> {
        #[pin]
        part: F,
        connection: &'a mut Option<Conversation>,
        rewaker: &'a mut Rewaker,
    }
}

impl<F: Future> Future for Drive<'_, F> {
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

impl Shared {
    fn pop(&self) -> Option<Box<Link>> {
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

    async fn connect(&self) -> Result<Box<Link>, Error> {
        let (socket, open) = self.dialer.dial().await?;
        let rewaker = match socket {
            Socket::Stream(_) => Rewaker::of_stream(),
            Socket::Tcp(_) => Rewaker::new(),
            #[cfg(unix)]
            Socket::Unix(_) => Rewaker::new(),
        };
        let handshake = http1::handshake(TokioIo::new(socket)).await;
        let (sender, connection) = handshake.map_err(|error| self.dialer.failed(error))?;
        // The bytes of a host that was one before are one.
        let host = HeaderValue::from_bytes(self.host.as_bytes());
        Ok(Box::new(Link {
            sender: Some(sender),
            host: host.unwrap_or_else(|_| self.host.clone()),
            last: None,
            spare: HeaderMap::new(),
            connection: Some(connection),
            rewaker,
            _open: open,
        }))
    }

    /// Looks at the unused connections to which something happened, and lets go of those that have
    /// ended.
    fn look(&self, cx: &mut Context<'_>) {
        // Not under the lock: streams may be the application's own.
        for mut idle in self.take(|idle| idle.link.rewaker.is_woken()) {
            idle.link.look(cx);
            let mut kept = lock(&self.idle);
            if idle.link.connection.is_some() && kept.connections.len() < self.idle_max {
                // As the oldest: those put back meanwhile were used later.
                kept.connections.insert(0, idle);
            }
        }
    }

    /// Lets go of what has been unused for too long. Returns `false` when nothing is left.
    fn reap(&self) -> bool {
        let now = Instant::now();
        drop(self.take(|idle| now >= idle.expires));
        let mut kept = lock(&self.idle);
        if kept.connections.is_empty() {
            // Whoever keeps something next starts another keeper.
            kept.keeper = None;
            return false;
        }
        true
    }

    fn take(&self, which: impl Fn(&Idle) -> bool) -> Vec<Idle> {
        let mut kept = lock(&self.idle);
        if !kept.connections.iter().any(&which) {
            return Vec::new();
        }
        let connections = std::mem::take(&mut kept.connections);
        let (taken, left) = connections.into_iter().partition(which);
        kept.connections = left;
        taken
    }
}

/// Looks after the unused connections of a pool until there are none.
async fn keep_watch(pool: Weak<Shared>, pause: Duration, mut rewaker: Rewaker) {
    let mut watched = Watched { pool, ended: false };
    let mut timer = pin!(sleep(pause));
    poll_fn(|cx| {
        let Some(pool) = watched.pool.upgrade() else { return Poll::Ready(()) };
        rewaker.poll(cx, |cx, _| {
            pool.look(cx);
            while timer.as_mut().poll(cx).is_ready() {
                watched.ended = !pool.reap();
                if watched.ended {
                    return Poll::Ready(());
                }
                timer.as_mut().reset(Instant::now() + pause);
            }
            Poll::Pending
        })
    })
    .await;
}

/// A pool whose unused connections are looked after. When that ends before there are none, with the
/// runtime, they go.
struct Watched {
    pool: Weak<Shared>,
    ended: bool,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade().filter(|_| !self.ended) {
            drop(pool.take(|_| true));
        }
    }
}
