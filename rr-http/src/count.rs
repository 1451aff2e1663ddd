//! Counting what is alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many of something there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

/// One of what is counted, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted(Count);

/// One of what is counted, within the life of its count: it costs a shared reference less.
#[derive(Debug)]
pub(crate) struct CountedHere<'a>(&'a Count);

impl Count {
    pub(crate) fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn one(&self) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }

    pub(crate) fn one_here(&self) -> CountedHere<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        CountedHere(self)
    }
}

impl Drop for CountedHere<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
