//! The task of one HTTP/2 connection.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use h2::client::Connection;
use h2::{Ping, PingPong};
use rr_spi::Doubt;
use tokio::time::{Instant, Sleep, sleep};

use super::H2Shared;
use super::outgoing::Outgoing;
use crate::pool::tapped::Tapped;
use crate::sync::GaugeGuard;
use crate::write_batching::YieldBeforeWrite;

/// Stream limit that h2 assumes until the server's SETTINGS arrive. The value exceeds 32 bits, so
/// no server can send it: any other value means that they have arrived. It does not limit streams,
/// but the pool opens only one until then.
pub(super) const BEFORE_SETTINGS: usize = usize::MAX - 1;

/// Interval of pings on a connection with calls in flight, and the timeout of each. Without pings,
/// a connection that was cut silently would be used for ever. A connection in doubt is pinged
/// immediately.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Task of one connection: moves its frames, pings the peer, and tracks the server's stream limit.
/// When the task ends, the pool removes the connection.
pub(super) struct ConnectionTask {
    connection: Connection<Tapped<Arc<Doubt>>, Outgoing>,
    doubt: Arc<Doubt>,
    was_doubted: bool,
    /// The server's stream limit, once its SETTINGS have arrived.
    allowed: Option<usize>,
    pings: Option<Pings>,
    turn: YieldBeforeWrite,
    id: u64,
    pool: Weak<H2Shared>,
    _open: GaugeGuard,
}

impl ConnectionTask {
    /// Makes the task. `settings_timeout` bounds the wait for the server's SETTINGS, the first
    /// frame that it sends.
    pub(super) fn new(
        (mut connection, doubt): (Connection<Tapped<Arc<Doubt>>, Outgoing>, Arc<Doubt>),
        settings_timeout: Duration,
        id: u64,
        pool: Weak<H2Shared>,
        open: GaugeGuard,
    ) -> Self {
        let pings = connection.ping_pong().map(|pings| Pings::new(pings, settings_timeout));
        Self {
            connection,
            doubt,
            was_doubted: false,
            allowed: None,
            pings,
            turn: YieldBeforeWrite::default(),
            id,
            pool,
            _open: open,
        }
    }

    /// Returns the number of calls on the connection.
    fn in_use(&self, cx: &TaskContext<'_>) -> usize {
        let Some(pool) = self.pool.upgrade() else { return 0 };
        let (in_use, before) = pool.with(|state| state.in_use(self.id, cx.waker()));
        drop(before);
        in_use
    }

    /// Returns whether the connection is in doubt. When the doubt has ended, wakes the first
    /// waiting call.
    fn is_doubted(&mut self) -> bool {
        let doubted = self.doubt.is_doubted();
        if std::mem::replace(&mut self.was_doubted, doubted) && !doubted {
            if let Some(pool) = self.pool.upgrade() {
                pool.change(|_| ());
            }
        }
        doubted
    }
}

impl Future for ConnectionTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = &mut *self;
        let in_use = this.in_use(cx);
        ready!(this.turn.poll(in_use, cx));
        if Pin::new(&mut this.connection).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let allowed = Some(this.connection.max_concurrent_send_streams());
        if allowed != Some(BEFORE_SETTINGS) && this.allowed != allowed {
            this.allowed = allowed;
            if let (Some(pool), Some(allowed)) = (this.pool.upgrade(), allowed) {
                pool.change(|state| state.set_peer_limit(this.id, allowed));
            }
        }
        let doubted = this.is_doubted();
        let Some(pings) = &mut this.pings else { return Poll::Pending };
        if doubted && this.allowed.is_some() {
            pings.ask();
        }
        pings.poll(this.allowed.is_some(), in_use > 0, cx)
    }
}

impl Drop for ConnectionTask {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.change(|state| state.remove(self.id));
        }
    }
}

/// Pings of one connection. [`Pings::poll`] is ready when the peer is not alive.
struct Pings {
    pings: PingPong,
    waiting: bool,
    timer: Pin<Box<Sleep>>,
}

impl Pings {
    fn new(pings: PingPong, settings_timeout: Duration) -> Self {
        Self { pings, waiting: false, timer: Box::pin(sleep(settings_timeout)) }
    }

    /// Sends a ping, unless one is unanswered.
    fn ask(&mut self) {
        if !self.waiting && self.pings.send_ping(Ping::opaque()).is_ok() {
            self.waiting = true;
            self.timer.as_mut().reset(Instant::now() + PING_TIMEOUT);
        }
    }

    fn poll(&mut self, settled: bool, in_use: bool, cx: &mut TaskContext<'_>) -> Poll<()> {
        if self.waiting && self.pings.poll_pong(cx).is_ready() {
            self.waiting = false;
            self.timer.as_mut().reset(Instant::now() + PING_INTERVAL);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if self.waiting || !settled {
                return Poll::Ready(());
            }
            // An unused connection is not pinged: servers count such pings as abuse.
            self.waiting = in_use && self.pings.send_ping(Ping::opaque()).is_ok();
            let pause = if self.waiting { PING_TIMEOUT } else { PING_INTERVAL };
            self.timer.as_mut().reset(Instant::now() + pause);
            if self.waiting && self.pings.poll_pong(cx).is_ready() {
                self.waiting = false;
            }
        }
        Poll::Pending
    }
}
