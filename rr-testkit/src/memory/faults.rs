//! Faults injected into single calls over the in-memory transport.

use std::collections::VecDeque;
use std::fmt;

use rr_spi::{Entropy as _, SeededEntropy};

/// Network fault of one call. The caller gets the error that a network transport would report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemoryFault {
    /// The request is lost. The handler does not run, and the caller, which cannot know that, waits
    /// until its deadline: `DeadlineExceeded`, unknown.
    DropRequest,
    /// The reply is lost. The handler has run, and the caller waits until its deadline:
    /// `DeadlineExceeded`, unknown.
    DropReply,
    /// Connecting fails. The handler does not run, and the call fails immediately: `Unavailable`,
    /// not sent, `connect-failed`.
    FailBefore,
    /// The connection breaks after the handler has run and before its reply arrives: `Unavailable`,
    /// unknown, `connection-lost`.
    FailAfter,
}

impl MemoryFault {
    /// Every fault.
    pub const ALL: [Self; 4] =
        [Self::DropRequest, Self::DropReply, Self::FailBefore, Self::FailAfter];
}

/// Schedule of faults for the calls over a link, from a script or from a seeded random source.
///
/// Each call takes one step of the schedule, in the order in which the calls are sent. A call that
/// waits for a lost message ends with its context. With an
/// [`unbounded`](rr_spi::Context::unbounded) context the call waits until it is cancelled.
///
/// # Examples
///
/// ```
/// # use rr_spi::{Context, Delivery, Request, Requester, Routes};
/// use rr_testkit::{MemoryFault, MemoryFaults};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rr_spi::Error> {
/// let client = rr_testkit::loopback(Routes::new());
/// client.link().set_faults(MemoryFaults::script([None, Some(MemoryFault::FailBefore)]));
///
/// let call = || async {
///     let request = Request::new("ping".try_into()?, "");
///     client.request(&Context::background(), request).await
/// };
/// let (first, second) = (call().await.unwrap_err(), call().await.unwrap_err());
/// assert_eq!(first.delivery(), Delivery::Rejected);
/// assert_eq!(second.delivery(), Delivery::NotSent);
/// # Ok(()) }
/// ```
pub struct MemoryFaults(Schedule);

enum Schedule {
    Script(VecDeque<Option<MemoryFault>>),
    Chance { entropy: SeededEntropy, percent: u64 },
}

impl MemoryFaults {
    /// Makes a schedule without faults, the initial schedule of every link.
    #[must_use]
    pub fn none() -> Self {
        Self::script([])
    }

    /// Makes a schedule of one step per call. Calls after the last step have no fault.
    #[must_use]
    pub fn script(steps: impl IntoIterator<Item = Option<MemoryFault>>) -> Self {
        Self(Schedule::Script(steps.into_iter().collect()))
    }

    /// Makes a schedule in which each call has a fault with a chance of `percent` %.
    ///
    /// The four faults are equally likely. The same seed gives the same steps. 0 means never, 100
    /// and more means always.
    #[must_use]
    pub fn seeded(seed: u64, percent: u32) -> Self {
        Self(Schedule::Chance { entropy: SeededEntropy::new(seed), percent: percent.into() })
    }

    /// Takes the next step.
    pub(super) fn next(&mut self) -> Option<MemoryFault> {
        match &mut self.0 {
            Schedule::Script(steps) => steps.pop_front().flatten(),
            Schedule::Chance { entropy, percent } => {
                // Both numbers are drawn for every call, so that another `percent` with the same
                // seed does not change the other faults.
                let (hit, which) = (entropy.next_u64() % 100, entropy.next_u64());
                (hit < *percent).then(|| MemoryFault::ALL[(which % 4) as usize])
            }
        }
    }
}

impl fmt::Debug for MemoryFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Schedule::Script(steps) => write!(f, "MemoryFaults({steps:?})"),
            Schedule::Chance { percent, .. } => write!(f, "MemoryFaults({percent} %)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_steps_and_keeps_to_its_share() {
        let steps = |seed, percent| -> Vec<_> {
            let mut faults = MemoryFaults::seeded(seed, percent);
            (0..1000).map(|_| faults.next()).collect()
        };
        assert_eq!(steps(7, 30), steps(7, 30));
        assert_ne!(steps(7, 30), steps(8, 30));
        let hit = steps(7, 30).iter().flatten().count();
        assert!((200..400).contains(&hit), "{hit}");
        assert_eq!(steps(7, 0).iter().flatten().count(), 0);
        for fault in MemoryFault::ALL {
            assert!(steps(7, 100).contains(&Some(fault)), "{fault:?}");
        }
        for (few, many) in steps(7, 10).into_iter().zip(steps(7, 90)) {
            assert!(few.is_none() || few == many);
        }
    }

    #[test]
    fn a_script_ends() {
        let mut faults = MemoryFaults::script([None, Some(MemoryFault::DropReply)]);
        let steps = [(); 4].map(|()| faults.next());
        assert_eq!(steps, [None, Some(MemoryFault::DropReply), None, None]);
    }
}
