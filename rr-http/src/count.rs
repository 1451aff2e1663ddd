//! Counting what is alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many of something there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

/// One of what is counted, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted(Count);

impl Count {
    pub(crate) fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn one(&self) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
