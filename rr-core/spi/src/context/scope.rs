//! Cancellation scope: its cause once it has ended, and the wakers that wait for its end.

use std::mem;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use slab::Slab;

use super::cause::Cause;

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
