//! Facts learned on one connection that hold for later connections as well.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use rr_spi::Target;

use super::payload::Payload;
use crate::wire::Token;

use crate::sync::lock;

/// Maximum number of repeated targets remembered individually; beyond it every target counts as
/// repeated.
const REPEATED_MAX: usize = 1024;

/// Number of answered calls remembered, to recognize a second reply. The groups of a target answer
/// within milliseconds of each other, in which a connection completes a few hundred calls.
const ANSWERED_MAX: usize = 1024;

/// Facts learned on one connection that hold for later connections as well.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    pub(super) payload: Arc<Payload>,
    repeated: Mutex<Repeated>,
}

/// Targets of calls that had two replies.
#[derive(Debug, Default)]
struct Repeated {
    targets: HashSet<Target>,
    /// Whether there were more such targets than are remembered.
    every: bool,
}

impl Learned {
    /// Records that one call of a target had two replies: several responders received its request.
    pub(super) fn record_repeated(&self, target: &Target) {
        let mut repeated = lock(&self.repeated);
        if repeated.every || repeated.targets.contains(target) {
            return;
        }
        if repeated.targets.len() < REPEATED_MAX {
            repeated.targets.insert(target.clone());
        } else {
            // Refusals of a forgotten target would count as proof again.
            *repeated = Repeated { targets: HashSet::new(), every: true };
        }
    }

    /// Returns whether a call of this target may reach several responders, so that a refusal by one
    /// of them proves nothing about the others.
    pub(crate) fn is_repeated(&self, target: &Target) -> bool {
        let repeated = lock(&self.repeated);
        repeated.every || repeated.targets.contains(target)
    }
}

/// Latest answered calls of one connection, oldest first.
#[derive(Debug, Default)]
pub(super) struct Answered(VecDeque<(Token, Target)>);

impl Answered {
    /// Adds an answered call.
    pub(super) fn push(&mut self, token: Token, target: Target) {
        if self.0.len() >= ANSWERED_MAX {
            self.0.pop_front();
        }
        self.0.push_back((token, target));
    }

    /// Returns the target of an answered call, if it is remembered.
    pub(super) fn find(&self, token: Token) -> Option<&Target> {
        self.0.iter().rev().find(|(known, _)| *known == token).map(|(_, target)| target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(number: usize) -> Target {
        Target::parse(&format!("svc.t{number}")).unwrap()
    }

    #[test]
    fn more_repeated_targets_than_are_remembered_make_every_target_one() {
        let learned = Learned::default();
        for number in 0..REPEATED_MAX {
            learned.record_repeated(&target(number));
            learned.record_repeated(&target(number));
        }
        assert!(learned.is_repeated(&target(0)) && !learned.is_repeated(&target(REPEATED_MAX)));
        learned.record_repeated(&target(REPEATED_MAX));
        for number in [0, REPEATED_MAX, REPEATED_MAX + 1] {
            assert!(learned.is_repeated(&target(number)));
        }
        assert!(lock(&learned.repeated).targets.is_empty());
    }

    #[test]
    fn the_latest_answered_calls_are_found() {
        let mut answered = Answered::default();
        let token = |number: usize| Token { slot: 0, secret: number as u64 };
        for number in 0..=ANSWERED_MAX {
            answered.push(token(number), target(number));
        }
        assert_eq!(answered.find(token(0)), None);
        assert_eq!(answered.find(token(1)), Some(&target(1)));
        assert_eq!(answered.find(token(ANSWERED_MAX)), Some(&target(ANSWERED_MAX)));
        assert_eq!(answered.0.len(), ANSWERED_MAX);
    }
}
