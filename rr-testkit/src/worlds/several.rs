//! Several scenarios as one exploration.

use super::explore::Worlds;
use super::report::WorldsReport;

impl Worlds {
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
