//! State that a mock shares with its clones and its routes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_spi::{Request, Target};
use tokio::sync::Notify;

use super::expectation::Rule;
use super::held::MockRequest;
use crate::sync::lock;

/// Requests and problems that a mock keeps: enough for any test that reads them.
const KEPT_MAX: usize = 10_000;

/// What becomes of a request that no expectation matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unmatched {
    Fails,
    /// It waits for the test.
    Waits,
}

pub(super) struct Shared {
    service: String,
    unmatched: Unmatched,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    rules: Vec<Arc<Rule>>,
    received: Vec<Request>,
    problems: Vec<String>,
    held: VecDeque<MockRequest>,
    patience: Duration,
    /// Whether the test has dropped the mock.
    is_closed: bool,
}

impl Shared {
    pub(super) fn new(service: &str, unmatched: Unmatched, patience: Duration) -> Self {
        let state = Mutex::new(State {
            rules: Vec::new(),
            received: Vec::new(),
            problems: Vec::new(),
            held: VecDeque::new(),
            patience,
            is_closed: false,
        });
        Self { service: service.to_owned(), unmatched, state, changed: Notify::new() }
    }

    pub(super) fn service(&self) -> &str {
        &self.service
    }

    pub(super) fn unmatched(&self) -> Unmatched {
        self.unmatched
    }

    pub(super) fn changed(&self) -> &Notify {
        &self.changed
    }

    pub(super) fn patience(&self) -> Duration {
        lock(&self.state).patience
    }

    pub(super) fn set_patience(&self, patience: Duration) {
        lock(&self.state).patience = patience;
    }

    pub(super) fn add(&self, rule: Arc<Rule>) {
        lock(&self.state).rules.push(rule);
    }

    /// Records a request that came, and returns the expectations that there are.
    pub(super) fn receive(&self, request: &Request) -> Vec<Arc<Rule>> {
        let mut state = lock(&self.state);
        if state.received.len() < KEPT_MAX {
            state.received.push(request.clone());
        }
        state.rules.clone()
    }

    /// Returns the expectations that there are.
    pub(super) fn rules(&self) -> Vec<Arc<Rule>> {
        lock(&self.state).rules.clone()
    }

    pub(super) fn received(&self) -> Vec<Request> {
        lock(&self.state).received.clone()
    }

    /// Records what fails the test.
    pub(super) fn blame(&self, problem: String) {
        let mut state = lock(&self.state);
        if state.problems.len() < KEPT_MAX {
            state.problems.push(problem);
        }
    }

    pub(super) fn problems(&self) -> Vec<String> {
        lock(&self.state).problems.clone()
    }

    /// Lets a request wait for the test; returns it if the test has dropped the mock.
    pub(super) fn hold(&self, request: MockRequest) -> Option<MockRequest> {
        let mut state = lock(&self.state);
        if state.is_closed {
            return Some(request);
        }
        state.held.push_back(request);
        drop(state);
        self.changed.notify_waiters();
        None
    }

    /// Takes the request that has waited longest, of all or to one target.
    pub(super) fn take_held(&self, target: Option<&Target>) -> Option<MockRequest> {
        let mut state = lock(&self.state);
        let fits =
            |held: &MockRequest| target.is_none_or(|target| held.request().target == *target);
        let at = state.held.iter().position(fits)?;
        state.held.remove(at)
    }

    /// Returns the requests that wait, without taking them.
    pub(super) fn waiting(&self) -> Vec<Request> {
        lock(&self.state).held.iter().map(|held| held.request().clone()).collect()
    }

    /// Forgets the expectations, and what came.
    pub(super) fn forget(&self) {
        let mut state = lock(&self.state);
        let rules = std::mem::take(&mut state.rules);
        state.received.clear();
        state.problems.clear();
        drop(state);
        // Outside of the lock: conditions are the test's code.
        drop(rules);
    }

    /// Fails the requests that wait, now and later.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.is_closed = true;
        let held = std::mem::take(&mut state.held);
        drop(state);
        drop(held);
    }
}
