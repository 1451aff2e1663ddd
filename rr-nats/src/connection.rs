//! Connection of a requester; a background task makes it again whenever it is lost.

mod authenticate;
mod backoff;
mod channel;
mod collected;
mod dialer;
mod doubt;
mod events;
mod info;
mod learned;
mod link;
mod loss;
mod members;
mod options;
mod outbox;
mod payload;
mod pending_calls;
mod reconnect;
mod reliance;
mod runtimes;
mod stats;
#[cfg(feature = "tls")]
mod tls;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_spi::observe::Monitor;
use rr_spi::{Attempt, CancelHandle, Context, Error};
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use channel::Channel;
pub(crate) use collected::{Ended, HeldMax};
pub(crate) use dialer::Dialer;
use dialer::Round;
pub(crate) use learned::Learned;
pub(crate) use link::{Link, message, next};
pub(crate) use loss::Loss;
pub(crate) use members::Members;
pub(crate) use options::LinkSetup;
pub(crate) use outbox::SendPermit;
pub(crate) use pending_calls::{Outcome, PendingCalls, Slot};
use reconnect::Reconnector;
pub(crate) use runtimes::Connections;
pub use stats::NatsStats;

use crate::error;
use crate::sync::{self, lock};

/// State of a requester's or a server's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NatsState {
    /// The first attempt to connect is under way: calls wait for it.
    Connecting,
    /// There is a connection.
    Connected,
    /// There is no connection, and attempts continue. Calls wait for `connection_wait`, then fail.
    Disconnected,
    /// There is no connection because a server refuses the credentials, denies their user the
    /// inbox, requires TLS or has headers disabled, or because a TLS handshake failed. Calls fail
    /// immediately with that error.
    /// Attempts continue at the longest pause, since the server's configuration may be corrected.
    Refused,
}

/// Connection of a requester, which closes when this is dropped.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    _life: CancelHandle,
}

struct Shared {
    status: Mutex<Status>,
    changed: Notify,
    history: Mutex<History>,
    monitor: Monitor,
    /// The round over the addresses that is in progress.
    round: Arc<Round>,
}

/// Earlier connections and the last error.
#[derive(Default)]
struct History {
    /// Replaced connections that still have calls in flight.
    leaving: Vec<Arc<Link>>,
    /// Counters of closed connections.
    closed: NatsStats,
    /// The error of the last connection that was lost or not made.
    last_error: Option<Error>,
    /// The time of the loss of the connection, or of the start; `None` while there is a connection.
    down_since: Option<Instant>,
}

enum Status {
    First,
    Up(Arc<Link>),
    Down(Error),
    Refused(Error),
    Closed,
}

impl Connection {
    /// Starts connecting.
    pub(crate) fn start(dialer: Dialer) -> Self {
        let (alive, life) = Context::background().child();
        let shared = Arc::new(Shared {
            status: Mutex::new(Status::First),
            changed: Notify::new(),
            history: Mutex::new(History { down_since: Some(Instant::now()), ..History::default() }),
            monitor: dialer.monitor(),
            round: dialer.round(),
        });
        let mut reconnector = Reconnector::new(Arc::clone(&shared));
        tokio::spawn(async move {
            let _ = alive.race(reconnector.run(dialer)).await;
            reconnector.close().await;
        });
        Self { shared, _life: life }
    }

    /// Returns the connection. Waits for the first attempt or the end of a doubt, and then for
    /// at most `wait`.
    pub(crate) async fn awaited(
        &self,
        attempt: &Attempt,
        wait: Duration,
    ) -> Result<Arc<Link>, Error> {
        let mut waiting = Waiting { attempt, round: &self.shared.round, is_over: false };
        let outcome = self.waited(wait).await;
        waiting.is_over = true;
        outcome.map_err(|error| attempt.dial_failed(error))
    }

    async fn waited(&self, wait: Duration) -> Result<Arc<Link>, Error> {
        // The `Reconnector` limits both waits and wakes the callers when they end.
        let decided = |status: &Status| (!status.is_undecided()).then_some(());
        self.shared.until(decided).await;
        if let Some(link) = self.current() {
            return Ok(link);
        }
        let limit = Context::background().with_timeout(wait);
        let waited = limit.race(self.up()).await;
        waited.unwrap_or_else(|_| Err(lock(&self.shared.status).error()))
    }

    /// Returns for how long there has been no connection, in words; `None` while there is one.
    pub(crate) fn outage(&self) -> Option<String> {
        // Takes the locks in the order of `set`.
        let status = lock(&self.shared.status);
        let history = lock(&self.shared.history);
        let since = history.down_since.filter(|_| !matches!(*status, Status::Up(_)))?;
        let what = if history.closed.connects > 0 { "reconnecting" } else { "connecting" };
        Some(format!("{what} for {:.1?}", since.elapsed()))
    }

    /// Waits for a connection. Fails only on a refusal, which waiting does not resolve, or when the
    /// runtime has ended.
    pub(crate) async fn up(&self) -> Result<Arc<Link>, Error> {
        let up = self.shared.until(|status| match status {
            Status::Up(link) if link.is_usable() => Some(Ok(Arc::clone(link))),
            Status::Refused(error) => Some(Err(error.clone())),
            Status::Closed => Some(Err(error::closed())),
            _ => None,
        });
        up.await
    }

    /// Returns the error of the last failed attempt while there is no connection.
    pub(crate) fn failure(&self) -> Option<Error> {
        match &*lock(&self.shared.status) {
            Status::Down(error) => Some(error.clone()),
            _ => None,
        }
    }

    pub(crate) fn current(&self) -> Option<Arc<Link>> {
        lock(&self.shared.status).link().filter(|link| link.is_usable()).cloned()
    }

    /// Returns whether the runtime of the connection has ended.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(&*lock(&self.shared.status), Status::Closed)
    }

    /// Returns the error of the last connection that was lost or not made.
    pub(crate) fn last_error(&self) -> Option<Error> {
        lock(&self.shared.history).last_error.clone()
    }

    pub(crate) fn state(&self) -> NatsState {
        lock(&self.shared.status).state()
    }

    /// Waits until the state differs from `known`, and returns it.
    pub(crate) async fn changed(&self, known: NatsState) -> NatsState {
        let other = |status: &Status| Some(status.state()).filter(|state| *state != known);
        self.shared.until(other).await
    }

    /// Returns the counters of this connection and the earlier ones.
    pub(crate) fn stats(&self) -> NatsStats {
        // Takes the locks in the order of `set`.
        let status = lock(&self.shared.status);
        let history = lock(&self.shared.history);
        let links = history.leaving.iter().chain(status.link());
        links.map(|link| link.calls().stats()).fold(history.closed, NatsStats::plus)
    }
}

/// Attempt that waits for a connection. If the attempt ends, its wait is split by the stages of the
/// round that is in progress.
struct Waiting<'a> {
    attempt: &'a Attempt,
    round: &'a Round,
    is_over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        if let Some(progress) = self.round.progress() {
            self.attempt.still_dialing(&progress);
        }
    }
}

impl Shared {
    /// Waits until `check` returns `Some` for the status.
    async fn until<T>(&self, check: impl Fn(&Status) -> Option<T>) -> T {
        sync::until(&self.changed, || check(&lock(&self.status))).await
    }

    fn set(&self, status: Status) {
        let mut now = lock(&self.status);
        let old = std::mem::replace(&mut *now, status);
        let mut history = lock(&self.history);
        if let Some(link) = old.link() {
            history.count(link);
        }
        history.down_since = match &*now {
            Status::Up(_) => None,
            _ => history.down_since.or_else(|| Some(Instant::now())),
        };
        drop(history);
        drop(now);
        self.changed.notify_waiters();
    }

    /// Replaces the connection by another, and returns the replaced one, whose calls continue.
    fn replace(&self, link: Arc<Link>) -> Option<Arc<Link>> {
        let mut now = lock(&self.status);
        let old = std::mem::replace(&mut *now, Status::Up(link));
        let old = old.link().cloned();
        lock(&self.history).leaving.extend(old.clone());
        drop(now);
        self.changed.notify_waiters();
        old
    }

    /// Forgets a replaced connection whose calls have ended.
    fn forget(&self, link: &Arc<Link>) {
        let mut history = lock(&self.history);
        if let Some(at) = history.leaving.iter().position(|known| Arc::ptr_eq(known, link)) {
            history.leaving.remove(at);
            history.count(link);
        }
    }
}

impl History {
    /// Adds the counters of a closed connection.
    fn count(&mut self, link: &Link) {
        self.closed = self.closed.plus(link.calls().stats().closed());
    }
}

impl Status {
    /// Returns the present connection, which may be lost or in doubt.
    fn link(&self) -> Option<&Arc<Link>> {
        if let Self::Up(link) = self { Some(link) } else { None }
    }

    fn state(&self) -> NatsState {
        match self {
            Self::First => NatsState::Connecting,
            Self::Up(link) if !link.is_lost() => NatsState::Connected,
            Self::Refused(_) => NatsState::Refused,
            _ => NatsState::Disconnected,
        }
    }

    /// Returns whether the first attempt or a doubt is still pending.
    fn is_undecided(&self) -> bool {
        match self {
            Self::First => true,
            Self::Up(link) => link.is_in_doubt(),
            _ => false,
        }
    }

    fn error(&self) -> Error {
        match self {
            Self::Down(error) | Self::Refused(error) => error.clone(),
            Self::Closed => error::closed(),
            Self::First | Self::Up(_) => error::not_connected(),
        }
    }
}
