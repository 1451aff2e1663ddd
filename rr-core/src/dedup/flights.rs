//! The runs of this process that are under way, and the twins that wait on them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rr_spi::{CancelHandle, Context};

use super::{Fingerprint, Outcome, ScopedKey};

/// The runs of this process that are under way. Each belongs to a request in flight, so that what
/// bounds those bounds it.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<ScopedKey, Boarded>>);

struct Boarded {
    fingerprint: Fingerprint,
    twin: Twin,
}

/// How a request stands to the others with its key.
pub(super) enum Boarding {
    /// It is the first: it runs, and the others wait on it.
    First(Flight),
    /// The same request is under way.
    Twin(Twin),
    /// Another request is under way with its key.
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
        // A panic cannot leave the map half-changed: nothing foreign runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run under way. Dropping it without an outcome says that it never ran: one of the twins goes
/// next.
pub(super) struct Flight {
    flights: Arc<Flights>,
    key: ScopedKey,
    outcome: Arc<OnceLock<Outcome>>,
    /// Wakes the twins when it is dropped, in the order in which they came.
    _ends: CancelHandle,
}

impl Flight {
    pub(super) fn key(&self) -> &ScopedKey {
        &self.key
    }

    /// Ends it with what the twins answer, or with nothing when it never ran.
    pub(super) fn end(self, outcome: Option<Outcome>) {
        if let Some(outcome) = outcome {
            // It is the only one that sets it, and it sets it once.
            let _ = self.outcome.set(outcome);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // Before the twins are woken: they find the place free.
        let boarded = self.flights.lock().remove(&self.key);
        drop(boarded);
    }
}

/// A request that waits on another one's run.
#[derive(Clone)]
pub(super) struct Twin {
    ended: Context,
    outcome: Arc<OnceLock<Outcome>>,
}

impl Twin {
    /// Waits for the outcome; `None` when there will be none, as it never ran.
    pub(super) async fn landed(self) -> Option<Outcome> {
        self.ended.cancelled().await;
        self.outcome.get().cloned()
    }
}
