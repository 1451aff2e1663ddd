//! How many bytes of unfinished request bodies a server holds at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What may be held at once, shared by every connection.
#[derive(Clone)]
pub(super) struct Budget(Arc<AtomicUsize>);

/// Bytes taken out of a budget; dropping them puts them back.
pub(super) struct Share {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    /// Takes this many bytes, if as many are left. Never waits.
    pub(super) fn take(&self, bytes: usize) -> Option<Share> {
        self.withdraw(bytes).then(|| Share { budget: self.clone(), bytes })
    }

    fn withdraw(&self, bytes: usize) -> bool {
        let less = |left: usize| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    }
}

impl Share {
    /// Grows to this many bytes, and tells whether as many were left.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let grown = self.budget.withdraw(more);
        self.bytes += if grown { more } else { 0 };
        grown
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.bytes, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_out_of_the_budget_and_go_back() {
        let budget = Budget::new(10);
        let mut first = budget.take(4).unwrap();
        assert!(first.grow(6) && first.grow(3));
        assert!(!first.grow(11));
        assert!(budget.take(5).is_none());
        let second = budget.take(4).unwrap();
        drop(first);
        assert!(budget.take(7).is_none());
        drop(second);
        assert_eq!(budget.take(10).unwrap().bytes, 10);
    }
}
