//! The ledger: call outcomes per request, compared with the runs that the lab recorded.

use std::collections::BTreeMap;
use std::sync::Mutex;

use rr_spi::{Delivery, Error, Response};

use super::lab::{Ask, Lab};
use crate::sync::lock;

/// Call outcomes per request, to be compared with the runs that the lab recorded.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Books>);

#[derive(Default)]
struct Books {
    keys: usize,
    calls: BTreeMap<String, Tally>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Handler runs per executed call: one plus its hops.
    runs: usize,
    /// Whether the calls share an idempotency key, so that at most one of them runs.
    once: bool,
    /// Calls that were started.
    started: usize,
    /// Calls that ended with an answer or an error with delivery `Processed`.
    ran: usize,
    /// Calls that ended with an error with delivery `NotSent` or `Rejected`.
    unexecuted: usize,
}

impl Ledger {
    pub(super) fn next_key(&self) -> String {
        let mut books = lock(&self.0);
        books.keys += 1;
        format!("k{}", books.keys)
    }

    pub(super) fn record_start(&self, ask: &Ask) {
        let mut books = lock(&self.0);
        let tally = books.calls.entry(ask.key().to_owned()).or_default();
        tally.runs = ask.runs();
        tally.once = ask.is_keyed();
        tally.started += 1;
    }

    pub(super) fn record_outcome(&self, ask: &Ask, outcome: &Result<Response, Error>) {
        let mut books = lock(&self.0);
        let tally = books.calls.entry(ask.key().to_owned()).or_default();
        match outcome.as_ref().map_err(Error::delivery) {
            Ok(_) | Err(Delivery::Processed) => tally.ran += 1,
            Err(delivery) if delivery.is_unexecuted() => tally.unexecuted += 1,
            Err(_) => {}
        }
    }

    pub(super) fn has_unexecuted(&self) -> bool {
        lock(&self.0).calls.values().any(|tally| tally.unexecuted > 0)
    }

    /// Describes the first request that ran although each of its calls ended with `NotSent` or
    /// `Rejected`.
    pub(super) fn lie(&self, lab: &Lab) -> Option<String> {
        let books = lock(&self.0);
        let all_unexecuted = books
            .calls
            .iter()
            .filter(|(_, tally)| tally.unexecuted > 0 && tally.unexecuted == tally.started);
        let mut ran = all_unexecuted.map(|(key, _)| (key, lab.count(key)));
        let (key, runs) = ran.find(|(_, runs)| *runs > 0)?;
        Some(format!("{key} ran {runs} times, and an error said NotSent or Rejected"))
    }

    /// Asserts that no request ran more often, or less often, than the outcomes of its calls allow.
    pub(super) fn check(&self, lab: &Lab) {
        for (key, tally) in &lock(&self.0).calls {
            let runs = lab.count(key);
            let most = if tally.once { 1 } else { usize::MAX };
            let allowed = (tally.started - tally.unexecuted).min(most) * tally.runs;
            assert!(
                runs <= allowed,
                "{key} ran {runs} times where {allowed} were possible: a call ran twice, or an \
                 error said NotSent or Rejected of one that ran; {tally:?}"
            );
            assert!(
                runs >= tally.ran.min(most),
                "{key} ran {runs} times, but more calls say that it ran; {tally:?}"
            );
        }
    }
}
