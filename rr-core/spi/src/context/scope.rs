//! One cancellation scope: whether and why it ended, and who waits for that.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use slab::Slab;

use super::deadline::Deadline;
use super::node::Node;

/// Why a context ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Cause {
    /// The caller dropped the future of the call.
    CallerDropped = 1,
    /// Somebody cancelled it.
    Cancelled = 2,
    /// The deadline passed.
    DeadlineExceeded = 3,
    /// The connection to the peer broke.
    PeerGone = 4,
    /// Another attempt of the same call won.
    HedgeLost = 5,
    /// The server is shutting down and its grace is over.
    Shutdown = 6,
    /// The call is done; what still holds its context may stop.
    Finished = 7,
}

impl Cause {
    fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::CallerDropped,
            2 => Self::Cancelled,
            3 => Self::DeadlineExceeded,
            4 => Self::PeerGone,
            5 => Self::HedgeLost,
            6 => Self::Shutdown,
            7 => Self::Finished,
            _ => return None,
        })
    }
}

/// One cancellation scope. Contexts below it look up; it does not know them, so that making and
/// dropping a child touches nothing shared.
#[derive(Default)]
pub(super) struct Scope {
    cause: AtomicU8,
    waiters: Mutex<Waiters>,
}

impl Scope {
    pub(super) fn cause(&self) -> Option<Cause> {
        Cause::from_u8(self.cause.load(Ordering::Acquire))
    }

    /// Ends the scope; the first cause stays. Waiters are woken in the order of their slots, so
    /// that a run repeats.
    pub(super) fn cancel(&self, cause: Cause) {
        let waiters = {
            let mut waiters = self.lock();
            let first =
                self.cause.compare_exchange(0, cause as u8, Ordering::AcqRel, Ordering::Acquire);
            if first.is_err() {
                return;
            }
            mem::take(&mut *waiters)
        };
        waiters.wake();
    }

    /// Registers a waker under a new key or the one given; returns `None` when the scope has ended.
    pub(super) fn register(&self, key: Option<usize>, waker: &Waker) -> Option<usize> {
        // What is replaced is dropped outside of the lock: a waker may own a task.
        let (key, _replaced) = {
            let mut waiters = self.lock();
            if self.cause.load(Ordering::Acquire) != 0 {
                return None;
            }
            waiters.put(key, waker.clone())
        };
        Some(key)
    }

    pub(super) fn forget(&self, key: usize) {
        let forgotten = self.lock().remove(key);
        drop(forgotten);
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        let waiters = self.lock();
        usize::from(waiters.first.is_some()) + waiters.more.len()
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        // A panic cannot leave the slots half-changed: nothing foreign runs under the lock.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakers by key: the first is held inline, since most scopes have one waiter; the rest live in
/// a slab, so that adding and removing one of ten thousand costs the same.
#[derive(Default)]
struct Waiters {
    first: Option<Waker>,
    more: Slab<Waker>,
}

/// The key of the inline waker; the slab's keys follow it.
const FIRST: usize = 0;

impl Waiters {
    /// Puts a waker under the key given, or a new one; returns what it replaces.
    fn put(&mut self, key: Option<usize>, waker: Waker) -> (usize, Option<Waker>) {
        let known = match key {
            None => None,
            Some(FIRST) => self.first.as_mut(),
            Some(key) => self.more.get_mut(key - 1),
        };
        if let (Some(known), Some(key)) = (known, key) {
            return (key, Some(mem::replace(known, waker)));
        }
        if self.first.is_none() {
            self.first = Some(waker);
            return (FIRST, None);
        }
        (self.more.insert(waker) + 1, None)
    }

    fn remove(&mut self, key: usize) -> Option<Waker> {
        if key == FIRST { self.first.take() } else { self.more.try_remove(key - 1) }
    }

    fn wake(self) {
        for waker in self.first.into_iter().chain(self.more.into_iter().map(|(_, waker)| waker)) {
            waker.wake();
        }
    }
}

/// A cancel this close before the deadline counts as the deadline: the two ends of a connection
/// see the same timer fire, and the one that sees the other's hang-up first must not call it a
/// cancellation.
const DEADLINE_MARGIN: Duration = Duration::from_millis(5);

/// Cancels the context it was made with. Dropping it cancels with [`Cause::CallerDropped`].
#[must_use = "dropping the handle cancels the context"]
pub struct CancelHandle {
    node: Arc<Node>,
    deadline: Option<Deadline>,
}

impl CancelHandle {
    pub(super) fn new(node: Arc<Node>, deadline: Option<Deadline>) -> Self {
        Self { node, deadline }
    }

    /// Cancels the context. The first cause stays; later ones do nothing.
    pub fn cancel(&self) {
        self.cancel_with(Cause::Cancelled);
    }

    /// Cancels the context for the given cause; within 5 ms of its deadline, for the deadline.
    pub fn cancel_with(&self, cause: Cause) {
        // Every handle comes by here once more when it is dropped: only the first one counts.
        if self.node.scope.as_ref().is_some_and(|scope| scope.cause().is_some()) {
            return;
        }
        let close = |deadline: Deadline| deadline.remaining() <= DEADLINE_MARGIN;
        let at_deadline = cause != Cause::Finished && self.deadline.is_some_and(close);
        self.node.cancel(if at_deadline { Cause::DeadlineExceeded } else { cause });
    }
}

impl Drop for CancelHandle {
    fn drop(&mut self) {
        self.cancel_with(Cause::CallerDropped);
    }
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = self.node.scope.as_ref().and_then(Scope::cause);
        f.debug_struct("CancelHandle").field("cause", &cause).finish_non_exhaustive()
    }
}
