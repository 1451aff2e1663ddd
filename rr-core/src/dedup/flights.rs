//! Runs in progress in this process, and the twins: duplicates that wait for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rr_spi::{CancelHandle, Context};

use super::{Fingerprint, Outcome, ScopedKey};

/// Runs in progress in this process. Each belongs to a request in flight, so the limit of requests
/// in flight bounds them.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<ScopedKey, Boarded>>);

struct Boarded {
    fingerprint: Fingerprint,
    twin: Twin,
}

/// Relation of a request to other requests with the same key.
pub(super) enum Boarding {
    /// The request is the first: it runs, and its duplicates wait for it.
    First(Flight),
    /// The same request is in progress.
    Twin(Twin),
    /// A different request with the same key is in progress.
    Other,
}

impl Flights {
    pub(super) fn board(self: &Arc<Self>, key: &ScopedKey, fingerprint: Fingerprint) -> Boarding {
        let mut boarded = self.lock();
        if let Some(first) = boarded.get(key) {
            if first.fingerprint != fingerprint {
                return Boarding::Other;
            }
            return Boarding::Twin(first.twin.clone());
        }
        let (ended, ends) = Context::background().child();
        let twin = Twin { ended, outcome: Arc::default() };
        let outcome = Arc::clone(&twin.outcome);
        boarded.insert(key.clone(), Boarded { fingerprint, twin });
        Boarding::First(Flight {
            flights: Arc::clone(self),
            key: key.clone(),
            outcome,
            _ends: ends,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ScopedKey, Boarded>> {
        // A panic cannot leave the map half-changed: no foreign code runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Run in progress. Dropping it without an outcome means that it never ran: one of the twins runs
/// next.
pub(super) struct Flight {
    flights: Arc<Flights>,
    key: ScopedKey,
    outcome: Arc<OnceLock<Outcome>>,
    /// Wakes the twins on drop, in the order of their arrival.
    _ends: CancelHandle,
}

impl Flight {
    pub(super) fn key(&self) -> &ScopedKey {
        &self.key
    }

    /// Ends the run with the outcome for its twins, or with `None` if it never ran.
    pub(super) fn end(self, outcome: Option<Outcome>) {
        if let Some(outcome) = outcome {
            // Set only here, and only once, since `self` is consumed.
            let _ = self.outcome.set(outcome);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // Removed before the twins wake, so that they find the key free.
        let boarded = self.flights.lock().remove(&self.key);
        drop(boarded);
    }
}

/// Request that waits for the run of another request.
#[derive(Clone)]
pub(super) struct Twin {
    ended: Context,
    outcome: Arc<OnceLock<Outcome>>,
}

impl Twin {
    /// Waits for the outcome; `None` if the other request never ran.
    pub(super) async fn landed(self) -> Option<Outcome> {
        self.ended.cancelled().await;
        self.outcome.get().cloned()
    }
}
