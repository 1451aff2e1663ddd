//! What is in flight in a network: calls and runs of handlers.

use super::Network;
use crate::sync::lock;

impl Network {
    pub(in crate::worlds) fn call_ended(&self) {
        lock(&self.0.state).calls -= 1;
    }

    /// Counts a run that has yet to begin, until the guard is dropped.
    pub(in crate::worlds) fn expect(&self) -> RunGuard {
        lock(&self.0.state).runs += 1;
        RunGuard(self.clone(), None)
    }

    /// Counts a run of a service until the guard is dropped.
    pub(in crate::worlds) fn run(&self, service: &str, call: usize) -> RunGuard {
        let mut state = lock(&self.0.state);
        state.runs += 1;
        *state.serving.entry(service.to_owned()).or_default() += 1;
        RunGuard(self.clone(), Some((service.to_owned(), call)))
    }

    /// Returns whether a handler of a service is in flight.
    pub(in crate::worlds) fn is_serving(&self, service: &str) -> bool {
        lock(&self.0.state).serving.get(service).is_some_and(|runs| *runs > 0)
    }
}

/// Guard that counts one run of a handler.
pub(in crate::worlds) struct RunGuard(Network, Option<(String, usize)>);

impl Drop for RunGuard {
    fn drop(&mut self) {
        let mut state = lock(&self.0.0.state);
        state.runs -= 1;
        let Some((service, call)) = &self.1 else { return };
        state.fingerprint.run_ended(self.0.0.began.elapsed(), *call);
        if let Some(runs) = state.serving.get_mut(service) {
            *runs -= 1;
        }
    }
}
