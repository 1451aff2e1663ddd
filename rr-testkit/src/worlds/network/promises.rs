//! Promises that hold in every world, and what a scenario allows nevertheless.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use rr_spi::{Dedup, Error, Idempotency, Request, Response};
use tokio::time::Instant;

use super::Network;
use crate::sync::lock;

/// Messages to which a call may lead, itself included, unless [`Network::set_amplification_max`] sets
/// another number: far more than the fan-out of a sane application.
const AMPLIFICATION_MAX: usize = 100;

/// Time for which a service that suppresses duplicates knows a key, from the end of its run: the
/// default of rr's own store.
const KEPT: Duration = Duration::from_secs(5 * 60);

/// What has been seen of the promises.
#[derive(Default)]
pub(super) struct Promises {
    /// Messages to which each call led that no handler made, by its number.
    messages: HashMap<usize, usize>,
    amplification_max: Option<usize>,
    /// The call whose run ended well last, and when, of each keyed request whose replies state that
    /// duplicates are suppressed.
    ended: HashMap<KeyedRun, (usize, Instant)>,
    /// Services that may run a keyed request twice.
    twice: BTreeSet<String>,
    allows_task_panics: bool,
    /// The first promise that was broken.
    broken: Option<String>,
}

/// Keyed request of a caller: its duplicates have the same caller, target, key and body.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(in crate::worlds) struct KeyedRun {
    link: (String, String),
    target: String,
    key: String,
    body: u64,
}

impl KeyedRun {
    /// Returns `None` for a request without a key.
    pub(in crate::worlds) fn of(link: &(String, String), request: &Request) -> Option<Self> {
        let Idempotency::Keyed(key) = &request.idempotency else { return None };
        let mut hasher = DefaultHasher::new();
        request.body.hash(&mut hasher);
        let (link, target) = (link.clone(), request.target.as_str().to_owned());
        Some(Self { link, target, key: key.as_str().to_owned(), body: hasher.finish() })
    }
}

impl Network {
    /// Sets the number of messages to which one call of the test, or of background work, may lead,
    /// itself included: a world with more is a counterexample. Default 100.
    ///
    /// They are counted by the contexts that handlers pass on. Each attempt of a call that is tried
    /// again outside of a handler is a call.
    pub fn set_amplification_max(&self, messages: usize) {
        lock(&self.0.state).promises.amplification_max = Some(messages);
    }

    /// Lets a service run a keyed request of one caller twice, although its replies state that
    /// duplicates are suppressed. Otherwise a world with two runs that end well within 5 minutes is a counterexample.
    ///
    /// For a service whose store keeps a key for less than 5 minutes, or that separates callers by a
    /// scope within one service.
    pub fn allow_second_runs(&self, service: impl Into<String>) {
        lock(&self.0.state).promises.twice.insert(service.into());
    }

    /// Lets tasks panic that the services or the test have spawned. Otherwise a world in which one
    /// panics is a counterexample.
    ///
    /// For a scenario in which something awaits the task and handles the panic. Work in
    /// [`Context::shield`](rr_spi::Context::shield) counts as a task, also if its handler awaits it.
    /// Panics of handlers are always allowed: their callers learn of them.
    pub fn allow_task_panics(&self) {
        lock(&self.0.state).promises.allows_task_panics = true;
    }

    pub(in crate::worlds) fn allows_task_panics(&self) -> bool {
        lock(&self.0.state).promises.allows_task_panics
    }

    /// Counts a message to which a call has led.
    pub(in crate::worlds) fn count_message(&self, root: usize) {
        let mut state = lock(&self.0.state);
        let state = &mut *state;
        let promises = &mut state.promises;
        let max = promises.amplification_max.unwrap_or(AMPLIFICATION_MAX);
        let messages = promises.messages.entry(root).or_default();
        *messages += 1;
        if let Some(place) = state.trace.places.get(root).filter(|_| *messages > max) {
            promises
                .broken
                .get_or_insert_with(|| format!("{place} led to more than {max} messages"));
        }
    }

    /// Notes that the run of a keyed request has ended.
    pub(in crate::worlds) fn keyed_run_ended(
        &self,
        call: usize,
        run: KeyedRun,
        outcome: &Result<Response, Error>,
    ) {
        let is_suppressed = |response: &Response| response.dedup() == Some(Dedup::On);
        if !outcome.as_ref().is_ok_and(is_suppressed) {
            return;
        }
        let mut state = lock(&self.0.state);
        let state = &mut *state;
        if state.promises.twice.contains(&run.link.1) {
            return;
        }
        let now = Instant::now();
        let before = state.promises.ended.insert(run, (call, now));
        let Some((first, _)) = before.filter(|(_, at)| now.duration_since(*at) <= KEPT) else {
            return;
        };
        let place = |call: usize| {
            state.trace.places.get(call).map_or_else(String::new, ToString::to_string)
        };
        let broken = format!(
            "{} ran although {} had run with the same key, and its replies state that duplicates are \
             suppressed",
            place(call),
            place(first)
        );
        state.promises.broken.get_or_insert(broken);
    }

    /// Records that a promise is broken.
    pub(in crate::worlds) fn breaks(&self, promise: String) {
        lock(&self.0.state).promises.broken.get_or_insert(promise);
    }

    /// Returns the first promise that was broken.
    pub(in crate::worlds) fn broken(&self) -> Option<String> {
        lock(&self.0.state).promises.broken.clone()
    }
}
