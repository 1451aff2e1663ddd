//! The connection of a requester: made again whenever it is lost, from a task of its own.

mod backoff;
mod dialer;
mod link;
mod signals;
mod slots;
mod violation;

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_spi::{CancelHandle, Cause, Context, Delivery, Error};
use tokio::sync::Notify;

pub(crate) use dialer::Dialer;
pub(crate) use link::{Link, LinkSetup, message, next};
pub(crate) use slots::Outcome;

use crate::error;

/// Whether a requester has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NatsState {
    /// The first attempt is under way: calls wait for it.
    Connecting,
    /// There is a connection.
    Connected,
    /// There is none, and attempts go on: calls fail at once, or wait as long as was configured.
    Disconnected,
    /// There is none, because a server refuses the credentials, or denies their user its inbox.
    /// Calls fail at once and say so; attempts go on at the longest pause, since it may be put
    /// right at the server.
    Refused,
}

/// The connection of a requester. Dropping it closes it.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    _life: CancelHandle,
}

struct Shared {
    status: Mutex<Status>,
    changed: Notify,
    connects: AtomicU64,
    /// Replies that came too late, and twice, on connections that are over.
    strays: Mutex<(u64, u64)>,
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
            connects: AtomicU64::new(0),
            strays: Mutex::default(),
        });
        let keeper = Keeper(Arc::clone(&shared));
        tokio::spawn(async move {
            let _ = alive.race(keeper.run(dialer)).await;
            keeper.close().await;
        });
        Self { shared, _life: life }
    }

    /// Returns the connection, waiting for the first attempt, and then for as long as given.
    pub(crate) async fn link(&self, wait: Duration) -> Result<Arc<Link>, Error> {
        if let Some(link) = self.current() {
            return Ok(link);
        }
        let decided = |status: &Status| (!matches!(status, Status::First)).then_some(());
        self.shared.until(decided).await;
        if let Some(link) = self.current() {
            return Ok(link);
        }
        let limit = Context::background().with_timeout(wait);
        let waited = limit.race(self.up()).await;
        waited.unwrap_or_else(|_| Err(self.shared.lock().error()))
    }

    /// Waits for a connection; only a refusal, which waiting does not mend, ends that.
    pub(crate) async fn up(&self) -> Result<Arc<Link>, Error> {
        let up = self.shared.until(|status| match status {
            Status::Up(link) if !link.is_lost() => Some(Ok(Arc::clone(link))),
            Status::Refused(error) => Some(Err(error.clone())),
            Status::Closed => Some(Err(error::closed())),
            _ => None,
        });
        up.await
    }

    /// Returns why there is no connection, once an attempt has failed.
    pub(crate) fn failure(&self) -> Option<Error> {
        match &*self.shared.lock() {
            Status::Down(error) => Some(error.clone()),
            _ => None,
        }
    }

    pub(crate) fn current(&self) -> Option<Arc<Link>> {
        match &*self.shared.lock() {
            Status::Up(link) if !link.is_lost() => Some(Arc::clone(link)),
            _ => None,
        }
    }

    pub(crate) fn state(&self) -> NatsState {
        self.shared.lock().state()
    }

    /// Waits until the state is another than `known`, and returns it.
    pub(crate) async fn changed(&self, known: NatsState) -> NatsState {
        let other = |status: &Status| Some(status.state()).filter(|state| *state != known);
        self.shared.until(other).await
    }

    /// Returns how often a connection was made.
    pub(crate) fn connects(&self) -> u64 {
        self.shared.connects.load(Ordering::Relaxed)
    }

    /// Returns how many replies came too late, and twice.
    pub(crate) fn strays(&self) -> (u64, u64) {
        let past = *self.shared.strays();
        let now = match &*self.shared.lock() {
            Status::Up(link) => link.slots().strays(),
            _ => (0, 0),
        };
        (past.0 + now.0, past.1 + now.1)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("state", &self.state()).finish_non_exhaustive()
    }
}

impl Shared {
    /// Waits until `look` finds what it looks for in the status.
    async fn until<T>(&self, look: impl Fn(&Status) -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = look(&self.lock()) {
                return found;
            }
            changed.await;
        }
    }

    fn set(&self, status: Status) {
        let old = std::mem::replace(&mut *self.lock(), status);
        if let Status::Up(link) = &old {
            let strays = link.slots().strays();
            let mut sum = self.strays();
            *sum = (sum.0 + strays.0, sum.1 + strays.1);
        }
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        // Whole values go in and out: a panic leaves one of them.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_first(&self) -> bool {
        matches!(*self.lock(), Status::First)
    }

    fn strays(&self) -> MutexGuard<'_, (u64, u64)> {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Status {
    fn state(&self) -> NatsState {
        match self {
            Self::First => NatsState::Connecting,
            Self::Up(link) if !link.is_lost() => NatsState::Connected,
            Self::Refused(_) => NatsState::Refused,
            _ => NatsState::Disconnected,
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

/// Connects, and connects again, until nobody needs the connection any more.
struct Keeper(Arc<Shared>);

impl Keeper {
    async fn run(&self, mut dialer: Dialer) {
        loop {
            match dialer.dial().await {
                Ok(link) if link.is_inbox_denied() => {
                    let inbox = format!("{}.*", link.inbox());
                    let error = error::denied("subscribing to", &inbox, Delivery::NotSent)
                        .with_hint("set `inbox_prefix` to what the user may subscribe to");
                    dialer.refused(error.clone());
                    self.failed(&dialer, error);
                }
                Ok(link) => {
                    self.0.connects.fetch_add(1, Ordering::Relaxed);
                    let alive = link.alive().clone();
                    self.0.set(Status::Up(Arc::new(link)));
                    alive.cancelled().await;
                    self.0.set(Status::Down(error::not_connected()));
                }
                Err(error) => self.failed(&dialer, error),
            }
            tokio::time::sleep(dialer.pause()).await;
        }
    }

    /// Says why there is no connection.
    fn failed(&self, dialer: &Dialer, error: Error) {
        let status = match dialer.refusal() {
            // Calls wait until every address was tried once; the next one may be there.
            _ if dialer.is_in_first_round() && self.0.is_first() => return,
            Some(refusal) if !dialer.is_in_first_round() => Status::Refused(refusal.clone()),
            _ => Status::Down(error),
        };
        self.0.set(status);
    }

    /// Lets cancel messages of calls that were just dropped leave, and closes.
    async fn close(&self) {
        let link = match &*self.0.lock() {
            Status::Up(link) => Some(Arc::clone(link)),
            _ => None,
        };
        if let Some(link) = link {
            link.flush().await;
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Also when the runtime ends: whoever waits for a connection must hear of it.
        self.0.set(Status::Closed);
    }
}

/// Tells whether a cancel this close to the deadline counts as the deadline (rr-spi has the same
/// margin): then nobody is told.
pub(crate) fn is_at_deadline(ctx: &Context) -> bool {
    const MARGIN: Duration = Duration::from_millis(5);
    ctx.cause() == Some(Cause::DeadlineExceeded) || ctx.remaining().is_some_and(|r| r <= MARGIN)
}
