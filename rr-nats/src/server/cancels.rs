//! Cancellable calls, by their reply subject.

use std::collections::hash_map::{Entry, RandomState};
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rr_spi::{CancelHandle, Cause};
use tokio::time::Instant;

use crate::sync::lock;

/// Maximum number of early cancels remembered: the default of `waiting_max`, since a caller may
/// cancel all waiting requests together. In a queue group most of their requests go to other
/// members, so that the oldest cancels are forgotten first.
const EARLY_MAX: usize = 16 * 1024;

/// Time for which an early cancel is remembered: a cancel overtakes its request by one trip through
/// the cluster.
const EARLY_LIFE: Duration = Duration::from_secs(5);

/// Cancellable calls, and cancels that arrived before their requests.
///
/// The key is a hash of the reply subject under a random secret: peers cannot construct a second
/// subject with the same hash, and no copy of the subject is kept.
#[derive(Debug, Default)]
pub(super) struct Cancels {
    keys: RandomState,
    table: Mutex<Table>,
    /// Number of early cancels, readable without the lock.
    early: AtomicUsize,
    cancelled: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    calls: HashMap<u64, (u64, CancelHandle)>,
    /// Number of registrations; distinguishes successive calls of one key.
    entries: u64,
    /// Early cancels, whose requests have not been read yet, with their arrival times.
    early: HashMap<u64, Instant>,
    /// The same cancels, oldest first. A cancel whose request has been read since is dropped later.
    order: VecDeque<(Instant, u64)>,
}

impl Cancels {
    pub(super) fn key(&self, reply: &str) -> u64 {
        self.keys.hash_one(reply)
    }

    /// Returns whether a call was cancelled before its request was read, and forgets its early
    /// cancel.
    pub(super) fn remove_early(&self, key: u64) -> bool {
        if self.early.load(Ordering::Acquire) == 0 {
            return false;
        }
        let is_early = self.remove_early_from(&mut lock(&self.table), key);
        self.cancelled.fetch_add(u64::from(is_early), Ordering::Relaxed);
        is_early
    }

    fn remove_early_from(&self, table: &mut Table, key: u64) -> bool {
        let is_early = table.remove_early(key, Instant::now());
        self.early.store(table.early.len(), Ordering::Release);
        is_early
    }

    /// Registers the cancel handle of a call that has to wait, and returns the number of its entry.
    /// Returns the handle if an early cancel was waiting, after cancelling the call, or if another
    /// call has the same reply subject, as foreign peers may send: the end of one call must not end
    /// the other.
    pub(super) fn register(&self, key: u64, handle: CancelHandle) -> Result<u64, CancelHandle> {
        let mut table = lock(&self.table);
        if self.remove_early_from(&mut table, key) {
            drop(table);
            self.cancel_call(&handle);
            return Err(handle);
        }
        table.entries += 1;
        let own = table.entries;
        match table.calls.entry(key) {
            Entry::Occupied(_) => Err(handle),
            Entry::Vacant(free) => {
                free.insert((own, handle));
                Ok(own)
            }
        }
    }

    /// Forgets a finished call, unless a later call has taken its key.
    pub(super) fn deregister(&self, key: u64, own: u64) {
        let mut table = lock(&self.table);
        let call = match table.calls.entry(key) {
            Entry::Occupied(entry) if entry.get().0 == own => Some(entry.remove()),
            _ => None,
        };
        drop(table);
        if let Some((_, handle)) = call {
            handle.cancel_with(Cause::Finished);
        }
    }

    /// Cancels a call, or remembers the cancel until its request is read.
    pub(super) fn cancel(&self, key: u64) {
        let mut table = lock(&self.table);
        let handle = table.calls.remove(&key);
        if handle.is_none() {
            table.remember(key, Instant::now());
            self.early.store(table.early.len(), Ordering::Release);
        }
        drop(table);
        if let Some((_, handle)) = handle {
            self.cancel_call(&handle);
        }
    }

    /// Returns how many calls were cancelled by their callers.
    pub(super) fn cancelled(&self) -> u64 {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn cancel_call(&self, handle: &CancelHandle) {
        self.cancelled.fetch_add(1, Ordering::Relaxed);
        handle.cancel();
    }
}

impl Table {
    fn remove_early(&mut self, key: u64, now: Instant) -> bool {
        let came = self.early.remove(&key);
        came.is_some_and(|came| now.saturating_duration_since(came) <= EARLY_LIFE)
    }

    fn remember(&mut self, key: u64, now: Instant) {
        while let Some(&(came, oldest)) = self.order.front() {
            // False if the cancel was taken, or arrived again.
            let is_current = self.early.get(&oldest) == Some(&came);
            let is_over = now.saturating_duration_since(came) > EARLY_LIFE;
            if is_current && !is_over && self.order.len() < EARLY_MAX {
                break;
            }
            self.order.pop_front();
            if is_current {
                self.early.remove(&oldest);
            }
        }
        self.early.insert(key, now);
        self.order.push_back((now, key));
    }
}

#[cfg(test)]
mod tests {
    use rr_spi::Context;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_cancel_ends_its_call_before_and_after_it_came() {
        let cancels = Cancels::default();
        let (ctx, handle) = Context::background().child();
        assert!(cancels.register(1, handle).is_ok());
        cancels.cancel(1);
        assert_eq!(ctx.cause(), Some(Cause::Cancelled));

        cancels.cancel(2);
        let (ctx, handle) = Context::background().child();
        let _handle = cancels.register(2, handle);
        assert_eq!(ctx.cause(), Some(Cause::Cancelled));
        assert_eq!(cancels.cancelled(), 2);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn two_calls_of_one_reply_subject_do_not_end_each_other() {
        let cancels = Cancels::default();
        let (first, handle) = Context::background().child();
        let own = cancels.register(1, handle).unwrap();
        let (second, handle) = Context::background().child();
        let handle = cancels.register(1, handle).unwrap_err();
        assert_eq!((first.cause(), second.cause()), (None, None));
        drop(handle);
        assert_eq!(first.cause(), None);
        cancels.deregister(1, own);
        assert_eq!(first.cause(), Some(Cause::Finished));
        // A cancelled call has given up its key: its end must not end the next call.
        let (third, handle) = Context::background().child();
        let _ = cancels.register(1, handle).unwrap();
        cancels.deregister(1, own);
        assert_eq!(third.cause(), None);
    }

    #[test]
    fn an_early_cancel_is_forgotten_once_its_request_has_been_read() {
        let cancels = Cancels::default();
        for key in 0..100_000 {
            cancels.cancel(key);
            assert!(cancels.remove_early(key) && !cancels.remove_early(key));
        }
        let table = lock(&cancels.table);
        assert!(table.early.is_empty() && table.order.len() <= 1);
        drop(table);
        assert_eq!(cancels.cancelled(), 100_000);
    }

    #[test]
    fn early_cancels_are_bounded_in_number_and_time() {
        let cancels = Cancels::default();
        for key in 0..20_000 {
            cancels.cancel(key);
        }
        let mut table = lock(&cancels.table);
        assert_eq!((table.early.len(), table.order.len()), (EARLY_MAX, EARLY_MAX));
        let late = Instant::now() + EARLY_LIFE * 2;
        assert!(table.remove_early(19_999, Instant::now()) && !table.remove_early(19_998, late));
        table.remember(30_000, late);
        assert_eq!((table.early.len(), table.order.len()), (1, 1));
    }
}
