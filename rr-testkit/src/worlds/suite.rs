//! For the conformance suite: several scenarios as one exploration, and calls over other transports.

use std::time::Duration;

use rr_spi::Request;

use super::client::Sent;
use super::explore::Worlds;
use super::fault::Fault;
use super::network::{Departure, Network};
use super::report::WorldsReport;

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
                    one.equal += level.equal;
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
        self.has_orders |= other.has_orders;
        self.refused = self.refused.or(other.refused);
        self
    }
}

impl Network {
    /// Records a call that another transport carries, and returns the fault that is to strike it.
    pub(crate) fn carried(
        &self,
        link: (&str, &str),
        request: &Request,
        left: Option<Duration>,
    ) -> (Sent, Option<Fault>) {
        let Departure { call, fault, .. } = self.send(link, request, left);
        (Sent::new(self.clone(), call), fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worlds::report::Level;

    #[test]
    fn equal_worlds_of_each_exploration_are_counted() {
        let report = || WorldsReport {
            levels: vec![Level { faults: 2, worlds: 5, explored: 3, equal: 2 }],
            messages: 1,
            messages_tried: 1,
            ..WorldsReport::default()
        };
        let merged = report().merged(report());
        assert_eq!((merged.explored(), merged.equal()), (6, 4));
        assert!(merged.is_complete(), "{merged}");
    }
}
