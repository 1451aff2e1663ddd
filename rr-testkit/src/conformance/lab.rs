//! The responder of the suite, controlled by request headers, and its record of runs.

mod ask;
mod content;
mod responder;
mod run;
mod steering;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use rr_spi::{Cause, Context, Declared, Error, Request, Requester, Route, Routes};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::sync::{lock, until};

use responder::LabResponder;
use run::RunGuard;

pub(super) use ask::Ask;
pub(super) use content::{fill, pattern, unicode};
pub(super) use run::{Run, RunEnd};

/// Responder of the suite. Request headers select its behaviour, so that no transport needs a
/// server per case.
///
/// Clones share the same lab. The lab records every run under the request's `lab-key`; the case,
/// in the same process, reads the record directly.
///
/// | request header | effect |
/// |---|---|
/// | `lab-key` | records the run under this key |
/// | `lab-sleep-ms` | sleeps, on every hop |
/// | `lab-hang` | never answers |
/// | `lab-gate` | answers once the case has opened the gate of that name |
/// | `lab-shield-ms` | sleeps in a shielded section |
/// | `lab-watch` | records, from a shielded section, why the context ended |
/// | `lab-panic` | panics: `now`, or `later`, after an await |
/// | `lab-fail` | fails with that code; modifiers: `lab-message` (in which `\n` ends a line), `lab-message-bytes`, `lab-reason`, `lab-details`, `lab-detail-bytes` (of each), `lab-retry-ms` (negative: never), `lab-retry-us`, `lab-source` |
/// | `lab-app` | fails with an application error of that number |
/// | `lab-reply-bytes` | answers with a body of that many bytes instead of the request's body |
/// | `lab-reply-headers` | adds headers to answers and errors until there are that many, with `lab-reply-header-bytes` in total |
/// | `lab-echo` | copies the request's `x-` headers to answers and errors |
/// | `lab-trailers` | copies the request's `x-` headers to answers and errors as `trailer-x-` headers |
/// | `lab-report` | adds the recorded run to the answer, as `lab-saw-` headers |
/// | `lab-onward` | calls onward over that many hops; modifiers: `lab-onward-target`, `lab-onward-timeout-ms`, `lab-expose` |
#[derive(Clone, Default)]
pub struct Lab(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    runs: BTreeMap<String, Vec<Run>>,
    gates: BTreeSet<String>,
    onward: Option<Arc<dyn Requester>>,
}

/// Targets and services of the lab; see [`Lab::routes`].
const TARGETS: [&str; 4] = ["ping", "lab.run", "lab.other", "lab.closed.known"];
const SERVICE: &str = "lab.whole";
const CLOSED_SERVICE: &str = "lab.closed";

impl Lab {
    /// Makes a lab without recorded runs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the routes of the lab: the targets `ping`, `lab.run` and `lab.other`, the whole
    /// service `lab.whole`, and the closed service `lab.closed` with the single method `known`.
    ///
    /// # Panics
    ///
    /// Never: the names are valid constants.
    #[must_use]
    pub fn routes(&self) -> Routes {
        let mut routes = Routes::new();
        let mut add = |route, name: &'static str, declared| {
            let responder = LabResponder { lab: self.clone(), route: name };
            routes.insert(route, declared, Arc::new(responder)).expect("the names fit");
        };
        for name in TARGETS {
            let declared = if name == "ping" { Declared::Safe } else { Declared::Unspecified };
            add(Route::Target(name.to_owned()), name, declared);
        }
        add(Route::Service(SERVICE.to_owned()), SERVICE, Declared::Unspecified);
        routes.close_service(CLOSED_SERVICE).expect("the name fits");
        routes
    }

    /// Adds a route from another target to the lab.
    pub(super) fn route(&self, routes: &mut Routes, name: &'static str) {
        let responder = Arc::new(LabResponder { lab: self.clone(), route: name });
        let route = Route::Target(name.to_owned());
        routes.insert(route, Declared::Unspecified, responder).expect("the name fits");
    }

    /// Sets the requester for `lab-onward`.
    pub(super) fn set_onward(&self, requester: Option<Arc<dyn Requester>>) {
        let before = std::mem::replace(&mut self.state().onward, requester);
        // Outside of the lock: dropping a requester may end a server and thereby runs, which take
        // the lock.
        drop(before);
    }

    /// Opens a gate permanently.
    pub(super) fn open_gate(&self, name: &str) {
        self.state().gates.insert(name.to_owned());
        self.0.changed.notify_waiters();
    }

    /// Returns the runs under a key, oldest first.
    pub(super) fn runs(&self, key: &str) -> Vec<Run> {
        self.state().runs.get(key).cloned().unwrap_or_default()
    }

    /// Returns the number of runs under a key.
    pub(super) fn count(&self, key: &str) -> usize {
        self.state().runs.get(key).map_or(0, Vec::len)
    }

    /// Returns the total number of runs.
    pub(super) fn total(&self) -> usize {
        self.state().runs.values().map(Vec::len).sum()
    }

    /// Returns every run with its key, oldest first.
    pub(super) fn timeline(&self) -> Vec<(String, Run)> {
        let state = self.state();
        let runs = state.runs.iter();
        let mut all: Vec<_> = runs
            .flat_map(|(key, runs)| runs.iter().map(|run| (key.clone(), run.clone())))
            .collect();
        all.sort_by_key(|(_, run)| run.entered_at);
        all
    }

    /// Waits until a condition on the lab holds.
    pub(super) async fn until(&self, mut holds: impl FnMut(&Self) -> bool) {
        until(&self.0.changed, || holds(self)).await;
    }

    fn gate_is_open(&self, name: &str) -> bool {
        self.state().gates.contains(name)
    }

    fn onward(&self) -> Result<Arc<dyn Requester>, Error> {
        let onward = self.state().onward.clone();
        onward.ok_or_else(|| {
            Error::new(rr_spi::Code::FailedPrecondition, "this lab has nobody to call onward")
        })
    }

    /// Records the start of a run. The returned guard records its end.
    fn enter(&self, route: &'static str, ctx: &Context, request: &Request) -> RunGuard {
        let key = request.headers.get(steering::KEY).unwrap_or("").to_owned();
        let at = {
            let mut state = self.state();
            let runs = state.runs.entry(key.clone()).or_default();
            runs.push(Run::of(route, ctx, request));
            runs.len() - 1
        };
        self.0.changed.notify_waiters();
        RunGuard::new(self.clone(), key, at, ctx.clone())
    }

    fn change(&self, key: &str, at: usize, change: impl FnOnce(&mut Run)) {
        if let Some(run) = self.state().runs.get_mut(key).and_then(|runs| runs.get_mut(at)) {
            change(run);
        }
        self.0.changed.notify_waiters();
    }

    fn record_end(&self, key: &str, at: usize, end: RunEnd) {
        self.change(key, at, |run| run.ended = Some((Instant::now(), end)));
    }

    fn record_cause(&self, key: &str, at: usize, cause: Cause) {
        self.change(key, at, |run| run.watched = Some(cause));
    }

    fn record_shielded(&self, key: &str, at: usize) {
        self.change(key, at, |run| run.shielded = true);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }
}

impl fmt::Debug for Lab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lab").field("runs", &self.total()).finish_non_exhaustive()
    }
}
