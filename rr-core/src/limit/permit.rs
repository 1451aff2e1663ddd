//! Place of a call under a limit, and its wait for one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_spi::{Code, Error, Response};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::adaptive::Sample;
use super::concurrency::{State, lock};
use super::gate::Entry;

/// Place of a running call. Dropping it gives the place to the next call.
pub(super) struct Permit {
    state: Arc<Mutex<State>>,
    entry: Entry,
    /// Calls that ran when this one began, itself included.
    in_flight: usize,
}

impl Permit {
    /// Makes the permit of a call that the gate has begun.
    pub(super) fn new(state: Arc<Mutex<State>>, entry: Entry) -> Self {
        let in_flight = lock(&state).gate.running();
        Self { state, entry, in_flight }
    }

    /// Ends the call, and lets the limit learn from it.
    pub(super) fn end(self, now: Instant, took: Duration, outcome: &Result<Response, Error>) {
        let Some(is_overload) = is_overload(outcome) else { return };
        let sample = Sample { now, took, in_flight: self.in_flight, is_overload };
        lock(&self.state).limit.ended(sample);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.gate.leave(&self.entry);
        state.wake();
    }
}

/// Returns whether an outcome shows an overload; `None` if it shows nothing of the load.
fn is_overload(outcome: &Result<Response, Error>) -> Option<bool> {
    let Err(error) = outcome else { return Some(false) };
    match error.code() {
        Code::DeadlineExceeded | Code::ResourceExhausted => Some(true),
        // Such calls may end sooner than a handler can answer.
        _ => None,
    }
}

/// Wait of a call. Dropping it gives up its place.
pub(super) struct Waiting<'a> {
    state: &'a Arc<Mutex<State>>,
    id: u64,
    /// `None` once a permit has the place.
    entry: Option<Entry>,
    /// Gets a message when the call has been begun; closed when it has been displaced.
    begun: oneshot::Receiver<()>,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(
        state: &'a Arc<Mutex<State>>,
        id: u64,
        entry: Entry,
        begun: oneshot::Receiver<()>,
    ) -> Self {
        Self { state, id, entry: Some(entry), begun }
    }

    /// Waits for a permit; `None` if the call was displaced.
    pub(super) async fn permit(&mut self) -> Option<Permit> {
        (&mut self.begun).await.ok()?;
        Some(Permit::new(Arc::clone(self.state), self.entry.take()?))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(entry) = &self.entry else { return };
        let mut state = lock(self.state);
        // It may have been begun, or displaced, in the instant in which its wait ended.
        if !state.gate.withdraw(self.id) && self.begun.try_recv().is_ok() {
            state.gate.leave(entry);
            state.wake();
        }
    }
}
