//! Targets that are known to deduplicate keyed requests.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rr_spi::{Delivery, Error, Idempotency, Origin, Request, Response, Target};

/// Maximum number of targets that are remembered. Keyed requests to further targets are retried
/// only if they provably did not run.
const TARGETS_MAX: usize = 1024;

/// Targets whose last answer to a keyed request reported that duplicates are suppressed.
#[derive(Debug, Default)]
pub(super) struct DedupTargets(Mutex<BTreeSet<String>>);

impl DedupTargets {
    pub(super) fn contains(&self, target: &Target) -> bool {
        self.lock().contains(target.as_str())
    }

    /// Records whether the target of an answered request suppresses duplicates.
    pub(super) fn record(&self, request: &Request, answer: Result<&Response, &Error>) {
        if !matches!(request.idempotency, Idempotency::Keyed(_)) {
            return;
        }
        let target = request.target.as_str();
        let answered = match answer {
            Ok(_) => true,
            Err(error) => error.delivery() == Delivery::Processed && error.origin() == Origin::Peer,
        };
        let mut targets = self.lock();
        if answer.map_or_else(Error::dedup, Response::dedup).is_some() {
            if targets.len() < TARGETS_MAX && !targets.contains(target) {
                targets.insert(target.to_owned());
            }
        } else if answered {
            // A responder that suppresses duplicates would have reported it: the responder has
            // changed.
            targets.remove(target);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // A panic cannot leave the set half-changed: no foreign code runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rr_spi::{Code, Dedup, IdempotencyKey};

    use super::*;

    fn keyed(target: &str) -> Request {
        let key = IdempotencyKey::new("key").unwrap();
        let target = Target::parse(target).unwrap();
        Request::new(target, "").with_idempotency(Idempotency::Keyed(key))
    }

    #[test]
    fn targets_are_recorded_separately_and_bounded() {
        let targets = DedupTargets::default();
        let request = |n: usize| keyed(&format!("orders.place{n}"));
        let says = Response::new("").with_dedup(Dedup::On);
        for n in 0..=TARGETS_MAX {
            targets.record(&request(n), Ok(&says));
        }
        let contains = |n| targets.contains(&request(n).target);
        assert!(contains(0) && contains(TARGETS_MAX - 1) && !contains(TARGETS_MAX));
    }

    #[test]
    fn an_answer_that_says_nothing_takes_it_back_and_a_failure_does_not() {
        let targets = DedupTargets::default();
        let request = keyed("orders.place");
        let contains = || targets.contains(&request.target);
        let answer = Error::failure(Code::Unavailable, Delivery::Processed, None, "")
            .with_origin(Origin::Peer);
        targets.record(&request, Err(&answer.clone().with_dedup(Dedup::Replayed)));
        assert!(contains());
        let lost = Error::failure(Code::Unavailable, Delivery::Unknown, None, "");
        targets.record(&request, Err(&lost));
        assert!(contains());
        let other = Request::new(request.target.clone(), "");
        targets.record(&other, Ok(&Response::new("")));
        assert!(contains(), "only answers to keyed requests tell");
        targets.record(&request, Err(&answer));
        assert!(!contains());
    }
}
