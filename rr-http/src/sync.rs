//! Locks, and counters of live objects.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Locks a mutex, including after a panic: no foreign code runs under a lock of this crate, so that
/// a panic cannot leave a value half-changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Number of live objects of one kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauge(Arc<AtomicUsize>);

/// Guard that counts one object until it is dropped.
#[derive(Debug)]
pub(crate) struct GaugeGuard(Gauge);

/// Like [`GaugeGuard`], but borrows the gauge, which saves a reference count.
#[derive(Debug)]
pub(crate) struct GaugeGuardRef<'a>(&'a Gauge);

impl Gauge {
    pub(crate) fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn one(&self) -> GaugeGuard {
        self.0.fetch_add(1, Ordering::Relaxed);
        GaugeGuard(self.clone())
    }

    pub(crate) fn one_here(&self) -> GaugeGuardRef<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        GaugeGuardRef(self)
    }
}

impl Drop for GaugeGuardRef<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
