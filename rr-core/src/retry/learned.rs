//! Which targets are known to deduplicate keyed requests.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rr_spi::Target;

/// Most targets that are remembered; those learned later are not, and their keyed requests are
/// retried only where they provably did not run.
const TARGETS_MAX: usize = 1024;

/// The targets whose replies said that they deduplicate.
#[derive(Debug, Default)]
pub(super) struct Learned(Mutex<BTreeSet<String>>);

impl Learned {
    pub(super) fn knows(&self, target: &Target) -> bool {
        self.lock().contains(target.as_str())
    }

    /// Remembers a target that said so.
    pub(super) fn learn(&self, target: &Target) {
        let mut targets = self.lock();
        if targets.len() < TARGETS_MAX && !targets.contains(target.as_str()) {
            targets.insert(target.as_str().to_owned());
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // A panic cannot leave the set half-changed: nothing foreign runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_is_bounded_and_by_target() {
        let learned = Learned::default();
        let target = |n: usize| Target::parse(&format!("orders.place{n}")).unwrap();
        for n in 0..=TARGETS_MAX {
            learned.learn(&target(n));
        }
        assert!(learned.knows(&target(0)) && learned.knows(&target(TARGETS_MAX - 1)));
        assert!(!learned.knows(&target(TARGETS_MAX)));
    }
}
