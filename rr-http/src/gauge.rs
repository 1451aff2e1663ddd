//! Counting what is alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many of something there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauge(Arc<AtomicUsize>);

/// One of what is counted, for as long as it lives.
#[derive(Debug)]
pub(crate) struct GaugeGuard(Gauge);

/// One of what is counted, within the life of its count: it costs a shared reference less.
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
