//! Permit of a call, and its wait for one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_spi::{Code, Error, Response};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::adaptive::Sample;
use super::concurrency::{State, lock};
use super::gate::Entry;

/// Permit of a running call. Dropping it ends the call and begins the next.
pub(super) struct Permit {
    state: Arc<Mutex<State>>,
    entry: Entry,
    /// Calls that ran when this one began, itself included.
    in_flight: usize,
    began: Instant,
    /// A call that is dropped from this instant on was not answered in time.
    deadline: Option<Instant>,
    /// Whether the outcome shows an overload; `None` if it shows nothing, or there is none yet.
    is_overload: Option<bool>,
}

impl Permit {
    /// Makes the permit of a call that the gate has begun as one of `in_flight`.
    pub(super) fn new(state: Arc<Mutex<State>>, entry: Entry, in_flight: usize) -> Self {
        let began = Instant::now();
        Self { state, entry, in_flight, began, deadline: None, is_overload: None }
    }

    /// Sets the deadline of the call.
    pub(super) fn with_deadline(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Ends the call, and lets the limit learn from its outcome. Returns the time that it ran.
    pub(super) fn end(mut self, outcome: &Result<Response, Error>) -> Duration {
        self.deadline = None;
        self.is_overload = is_overload(outcome);
        self.began.elapsed()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let now = Instant::now();
        let is_late = self.deadline.is_some_and(|deadline| deadline <= now);
        let mut state = lock(&self.state);
        let is_overload = if is_late { Some(true) } else { self.is_overload };
        if let Some(is_overload) = is_overload {
            let took = now.duration_since(self.began);
            state.limit.ended(Sample { now, took, in_flight: self.in_flight, is_overload });
        }
        state.gate.leave(&self.entry);
        state.wake(now);
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

/// Wait of a call. Dropping it ends the wait.
pub(super) struct Waiting<'a> {
    state: &'a Arc<Mutex<State>>,
    id: u64,
    /// `None` once a permit has it.
    entry: Option<Entry>,
    /// Gets the number of running calls when the gate has begun this one; closed when it has been
    /// displaced.
    begun: oneshot::Receiver<usize>,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(
        state: &'a Arc<Mutex<State>>,
        id: u64,
        entry: Entry,
        begun: oneshot::Receiver<usize>,
    ) -> Self {
        Self { state, id, entry: Some(entry), begun }
    }

    /// Waits for a permit; `None` if the call was displaced.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped at any time. A permit that came meanwhile is passed on when the wait is
    /// dropped.
    pub(super) async fn permit(&mut self) -> Option<Permit> {
        let in_flight = (&mut self.begun).await.ok()?;
        Some(Permit::new(Arc::clone(self.state), self.entry.take()?, in_flight))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(entry) = &self.entry else { return };
        let mut state = lock(self.state);
        // The gate may have begun or displaced the call in the instant in which its wait ended.
        if !state.gate.withdraw(self.id) && self.begun.try_recv().is_ok() {
            state.gate.leave(entry);
            state.wake(Instant::now());
        }
    }
}
