//! For the conformance suite: several scenarios as one exploration, and calls over other transports.

use std::time::Duration;

use rr_spi::{Error, Request, Response};

use super::explore::Worlds;
use super::fault::Fault;
use super::network::{Departure, Network};
use super::report::WorldsReport;
use super::trace::{Summary, What};

impl Worlds {
    /// Leaves out every fault but these.
    pub(crate) fn within(mut self, kinds: &[Fault]) -> Self {
        self.kinds.retain(|kind| kinds.contains(kind));
        self
    }

    /// Explores only worlds of fewer faults than these.
    pub(crate) fn below(mut self, faults: usize) -> Self {
        self.faults_max = self.faults_max.min(faults.saturating_sub(1));
        self.random = None;
        self
    }
}

impl WorldsReport {
    /// Returns the report of two explorations together, with the smaller counterexample.
    pub(crate) fn merged(mut self, other: Self) -> Self {
        for level in other.levels {
            match self.levels.iter_mut().find(|one| one.faults == level.faults) {
                None => self.levels.push(level),
                Some(one) => {
                    one.worlds += level.worlds;
                    one.explored += level.explored;
                }
            }
        }
        self.unfired += other.unfired;
        // Of the two, the one that left out more messages.
        let covered = |messages: usize, tried: usize| (messages - tried, messages);
        if covered(other.messages, other.messages_tried)
            > covered(self.messages, self.messages_tried)
        {
            (self.messages, self.messages_tried) = (other.messages, other.messages_tried);
        }
        let smaller = other.counterexample.into_iter().chain(self.counterexample);
        self.counterexample = smaller.min_by_key(|found| found.script.len());
        self.refused = self.refused.or(other.refused);
        self
    }
}

/// Call that another transport carries. Dropping it tells the network that the caller gave up.
pub(crate) struct Carried {
    pub(crate) fault: Option<Fault>,
    network: Network,
    call: usize,
    has_ended: bool,
}

impl Network {
    /// Records a call that another transport carries; returns the fault that is to strike it.
    pub(crate) fn carried(
        &self,
        link: (&str, &str),
        request: &Request,
        left: Option<Duration>,
    ) -> Carried {
        let Departure { call, fault, .. } = self.send(link, request, left);
        Carried { fault, network: self.clone(), call, has_ended: false }
    }
}

impl Carried {
    pub(crate) fn end(mut self, outcome: &Result<Response, Error>) {
        self.has_ended = true;
        self.network.record_outcome(self.call, What::Returned(Summary::of(outcome)), outcome);
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        if !self.has_ended {
            self.network.record(self.call, What::GaveUp);
        }
        self.network.call_ended();
    }
}
