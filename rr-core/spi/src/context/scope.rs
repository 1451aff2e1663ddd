//! Cancellation scope: its cause once it has ended, and the wakers that wait for its end.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use slab::Slab;

use super::deadline::Deadline;
use super::node::Node;

/// Cause of a context's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Cause {
    /// The caller dropped the future of the call.
    CallerDropped = 1,
    /// The context was cancelled explicitly.
    Cancelled = 2,
    /// The deadline passed.
    DeadlineExceeded = 3,
    /// The connection to the peer broke.
    PeerGone = 4,
    /// Another attempt of the same call won.
    HedgeLost = 5,
    /// The server is shutting down and its grace is over.
    Shutdown = 6,
    /// The call is done; work that still holds its context can stop.
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

/// Cancellation scope. Child contexts refer to it, but it does not refer to them, so that making
/// and dropping a child touches no shared state.
#[derive(Default)]
pub(super) struct Scope {
    cause: AtomicU8,
    waiters: Mutex<Waiters>,
}

impl Scope {
    pub(super) fn cause(&self) -> Option<Cause> {
        Cause::from_u8(self.cause.load(Ordering::Acquire))
    }

    /// Ends the scope; the first cause stays. Wakes the waiters in the order of their slots, so
    /// that a run is reproducible.
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

    /// Registers a waker under the given key or a new one; returns `None` when the scope has ended.
    pub(super) fn register(&self, key: Option<usize>, waker: &Waker) -> Option<usize> {
        // The replaced waker is dropped outside of the lock, since a waker may own a task.
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
        // No foreign code runs while the slots change, so a panic cannot leave them half-changed.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakers by key. The first is stored inline, since most scopes have one waiter; the others are in
/// a slab, where adding or removing one of ten thousand costs the same as one of two.
#[derive(Default)]
struct Waiters {
    first: Option<Waker>,
    more: Slab<Waker>,
}

/// Key of the inline waker; the slab's keys follow it.
const FIRST: usize = 0;

impl Waiters {
    /// Stores a waker under the given key or a new one. Returns the key and the replaced waker.
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

/// A cancellation this close to the deadline counts as its expiry. The timers of both ends of a
/// connection fire at nearly the same time, and the end that first sees the other hang up must not
/// report a cancellation.
const DEADLINE_MARGIN: Duration = Duration::from_millis(5);

/// Handle that cancels a context. Dropping the handle cancels with [`Cause::CallerDropped`].
#[must_use = "dropping the handle cancels the context"]
pub struct CancelHandle {
    node: Arc<Node>,
    deadline: Option<Deadline>,
}

impl CancelHandle {
    pub(super) fn new(node: Arc<Node>, deadline: Option<Deadline>) -> Self {
        Self { node, deadline }
    }

    /// Cancels the context. The first cause stays; later calls have no effect.
    pub fn cancel(&self) {
        self.cancel_with(Cause::Cancelled);
    }

    /// Cancels the context with this cause.
    ///
    /// Within 5 ms of the deadline, any cause but [`Cause::Finished`] becomes
    /// [`Cause::DeadlineExceeded`].
    pub fn cancel_with(&self, cause: Cause) {
        // Most handles are dropped after the scope has ended; that case need not read the clock.
        if self.node.has_ended() {
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
