//! Fingerprint of a world: worlds with equal fingerprints continue in the same way.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use rr_spi::{Error, Idempotency, Request, Response};

use super::fault::Fault;
use super::trace::What;

/// Hash of everything that a world has shown to the application: when handlers were entered, at which
/// instance, and when they ended; what each caller got, and when; and the bodies.
///
/// The behaviour of the application depends on nothing else. The name of a fault counts only if the
/// fault also changes what the trace does not show.
#[derive(Clone, Debug, Default)]
pub(super) struct Fingerprint(DefaultHasher);

impl Fingerprint {
    pub(super) fn event(&mut self, at: Duration, call: usize, what: &What) {
        use Fault::{CallerCrashed, ClockJumped, Crashed, CrashedOnReply, Partitioned};
        // A service has lost its memory, a context has ended for work that outlives its handler, or a
        // link loses later messages.
        let is_crash = |fault| matches!(fault, Crashed | CallerCrashed | CrashedOnReply);
        let is_kept = |fault| is_crash(fault) || matches!(fault, ClockJumped | Partitioned);
        if !matches!(what, What::Struck(fault) if !is_kept(*fault)) {
            (at, call, what).hash(&mut self.0);
        }
    }

    pub(super) fn request(&mut self, request: &Request) {
        request.body.hash(&mut self.0);
        if let Idempotency::Keyed(key) = &request.idempotency {
            key.hash(&mut self.0);
        }
    }

    pub(super) fn outcome(&mut self, outcome: &Result<Response, Error>) {
        match outcome {
            Ok(response) => response.body.hash(&mut self.0),
            Err(error) => {
                error.reason().map(|reason| reason.as_str()).hash(&mut self.0);
                error.message().hash(&mut self.0);
            }
        }
    }

    /// Adds the instance that a request reaches.
    pub(super) fn reached(&mut self, at: Duration, instance: usize) {
        (at, "reached", instance).hash(&mut self.0);
    }

    /// Adds the end of a handler, with an answer or without.
    pub(super) fn run_ended(&mut self, at: Duration, call: usize) {
        (at, "ended", call).hash(&mut self.0);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.finish()
    }
}
