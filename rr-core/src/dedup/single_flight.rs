//! Runs in progress in this process (leaders), and the duplicates that wait for them (followers).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rr_spi::{CancelHandle, Context};

use super::{Fingerprint, Outcome, ScopedKey};

/// Runs in progress in this process. Each belongs to a request in flight, so the limit of requests
/// in flight bounds them.
#[derive(Default)]
pub(super) struct SingleFlight(Mutex<HashMap<ScopedKey, Run>>);

struct Run {
    fingerprint: Fingerprint,
    follower: Follower,
}

/// Relation of a request to other requests with the same key.
pub(super) enum Role {
    /// The request is the first: it runs, and its duplicates wait for it.
    Leader(Leader),
    /// The same request is in progress.
    Follower(Follower),
    /// A different request with the same key is in progress.
    KeyReused,
}

impl SingleFlight {
    /// Joins the run of the key that is in progress, or starts one with this request as its leader.
    pub(super) fn join(self: &Arc<Self>, key: &ScopedKey, fingerprint: Fingerprint) -> Role {
        let mut runs = self.lock();
        if let Some(run) = runs.get(key) {
            if run.fingerprint != fingerprint {
                return Role::KeyReused;
            }
            return Role::Follower(run.follower.clone());
        }
        let (ended, ends) = Context::background().child();
        let follower = Follower { ended, outcome: Arc::default() };
        let outcome = Arc::clone(&follower.outcome);
        runs.insert(key.clone(), Run { fingerprint, follower });
        Role::Leader(Leader { runs: Arc::clone(self), key: key.clone(), outcome, _ends: ends })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ScopedKey, Run>> {
        // A panic cannot leave the map half-changed: no foreign code runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Run in progress. Dropping it without an outcome means that it never ran: one of the followers
/// runs next.
pub(super) struct Leader {
    runs: Arc<SingleFlight>,
    key: ScopedKey,
    outcome: Arc<OnceLock<Outcome>>,
    /// Wakes the followers on drop, in the order of their arrival.
    _ends: CancelHandle,
}

impl Leader {
    pub(super) fn key(&self) -> &ScopedKey {
        &self.key
    }

    /// Ends the run by dropping `self`, and gives `outcome` to the followers; `None` if the handler
    /// never ran.
    pub(super) fn publish(self, outcome: Option<Outcome>) {
        if let Some(outcome) = outcome {
            // Set only here, and only once, since `self` is consumed.
            let _ = self.outcome.set(outcome);
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        // Removed before the followers wake, so that they find the key free.
        let run = self.runs.lock().remove(&self.key);
        drop(run);
    }
}

/// Request that waits for the run of another request.
#[derive(Clone)]
pub(super) struct Follower {
    ended: Context,
    outcome: Arc<OnceLock<Outcome>>,
}

impl Follower {
    /// Waits for the outcome; `None` if the other request never ran.
    pub(super) async fn outcome(self) -> Option<Outcome> {
        self.ended.cancelled().await;
        self.outcome.get().cloned()
    }
}
