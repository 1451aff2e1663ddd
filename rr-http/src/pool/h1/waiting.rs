//! Queue of calls that wait for a connection, and the decision when to dial for them.

use std::collections::VecDeque;
use std::sync::Arc;

use rr_spi::Error;
use rr_spi::dial::{ATTEMPT_DELAY, DialProgress};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Idle;
use crate::pool::Owned;

/// Calls of a pool that wait for a connection, and the dials in progress.
///
/// A dial belongs to the call for which it was started, but may outlive it: a call takes the first
/// connection that becomes free or is dialled.
#[derive(Default)]
pub(super) struct Waiting {
    /// Oldest first. Each call holds a permit of the pool, which bounds their number.
    calls: VecDeque<WaitingCall>,
    dials: Vec<Dial>,
    next_id: u64,
    last_dial: Option<Instant>,
}

/// Sender of a waiting call's connection, or of an error.
pub(super) type Told = oneshot::Sender<Result<Idle, Error>>;

struct WaitingCall {
    id: u64,
    has_dial: bool,
    told: Told,
}

struct Dial {
    id: u64,
    call: u64,
    /// Aborts the dial when the pool is dropped.
    task: Owned,
    progress: Option<Arc<DialProgress>>,
}

/// Decision whether a dial starts for a waiting call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// The dial starts now, with this id.
    Now(u64),
    /// The dial of another call may suffice; ask again at this instant.
    At(Instant),
    /// The call has a dial, or waits no longer.
    Never,
}

impl Waiting {
    /// Returns whether no dial is in progress.
    pub(super) fn dials_nothing(&self) -> bool {
        self.dials.is_empty()
    }

    /// Adds a waiting call, and returns its id.
    pub(super) fn join(&mut self, told: Told) -> u64 {
        let id = self.id();
        self.calls.push_back(WaitingCall { id, has_dial: false, told });
        id
    }

    /// Removes a call that waits no longer.
    pub(super) fn leave(&mut self, call: u64) -> Option<Told> {
        let at = self.calls.iter().position(|known| known.id == call)?;
        self.calls.remove(at).map(|call| call.told)
    }

    /// Takes the call that has waited longest.
    pub(super) fn next(&mut self) -> Option<Told> {
        self.calls.pop_front().map(|call| call.told)
    }

    /// Decides whether a dial starts for a call. While enough dials of ended calls are left, the
    /// call waits for one of them until the last dial is [`ATTEMPT_DELAY`] old: that dial may never
    /// connect.
    pub(super) fn begin_dial(&mut self, call: u64, dials_max: usize, now: Instant) -> Begin {
        let Some(call) = self.calls.iter().position(|known| known.id == call) else {
            return Begin::Never;
        };
        if self.calls[call].has_dial {
            return Begin::Never;
        }
        if self.dials.len() >= dials_max {
            return Begin::At(now + ATTEMPT_DELAY);
        }
        let due = self.last_dial.map_or(now, |last| last + ATTEMPT_DELAY);
        if self.dials.len() >= self.calls.len() && now < due {
            return Begin::At(due);
        }
        let id = self.id();
        self.calls[call].has_dial = true;
        let call = self.calls[call].id;
        self.dials.push(Dial { id, call, task: Owned::default(), progress: None });
        self.last_dial = Some(now);
        Begin::Now(id)
    }

    /// Aborts the task of a dial when the pool is dropped, unless the dial has ended already.
    pub(super) fn own(&mut self, dial: u64, task: AbortHandle, progress: Arc<DialProgress>) {
        if let Some(dial) = self.dials.iter_mut().find(|known| known.id == dial) {
            dial.task = Owned(Some(task));
            dial.progress = Some(progress);
        }
    }

    /// Returns the progress of a call's dial, or else of the oldest dial.
    pub(super) fn progress(&self, call: u64) -> Option<Arc<DialProgress>> {
        let own = self.dials.iter().find(|dial| dial.call == call);
        let dial = own.or_else(|| self.dials.iter().min_by_key(|dial| dial.id))?;
        dial.progress.clone()
    }

    /// Ends a dial. Removes and returns the call for which it was started, if that call still
    /// waits.
    pub(super) fn end_dial(&mut self, dial: u64) -> Option<Told> {
        let at = self.dials.iter().position(|known| known.id == dial)?;
        let ended = self.dials.swap_remove(at);
        self.leave(ended.call)
    }

    /// Returns the call that has waited longest without having started a dial.
    pub(super) fn without_dial(&self) -> Option<u64> {
        self.calls.iter().find(|call| !call.has_dial).map(|call| call.id)
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(waiting: &mut Waiting) -> (u64, oneshot::Receiver<Result<Idle, Error>>) {
        let (told, receiver) = oneshot::channel();
        (waiting.join(told), receiver)
    }

    #[test]
    fn each_waiting_call_has_a_dial_and_one_left_by_an_ended_call_serves_the_next() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let (first, _first) = join(&mut waiting);
        let Begin::Now(dial) = waiting.begin_dial(first, 8, now) else { panic!() };
        assert_eq!(waiting.begin_dial(first, 8, now), Begin::Never);
        assert!(waiting.leave(first).is_some());
        let (second, _second) = join(&mut waiting);
        assert_eq!(waiting.begin_dial(second, 8, now), Begin::At(now + ATTEMPT_DELAY));
        let (third, _third) = join(&mut waiting);
        assert!(matches!(waiting.begin_dial(third, 8, now), Begin::Now(_)), "one for two");
        assert!(waiting.end_dial(dial).is_none(), "its call has ended");
        assert_eq!(waiting.without_dial(), Some(second));
        assert!(matches!(waiting.begin_dial(second, 8, now), Begin::Now(_)));
        assert_eq!(waiting.begin_dial(first, 8, now), Begin::Never, "it waits no more");
    }

    #[test]
    fn a_dial_that_hangs_is_followed_by_another_after_250_ms_up_to_a_limit() {
        let (mut waiting, mut now) = (Waiting::default(), Instant::now());
        for dials in 0..4 {
            let (call, _receiver) = join(&mut waiting);
            assert_eq!(waiting.dials.len(), dials);
            assert!(matches!(waiting.begin_dial(call, 4, now), Begin::Now(_)));
            waiting.leave(call);
            now += ATTEMPT_DELAY;
        }
        let (call, _receiver) = join(&mut waiting);
        let Begin::At(later) = waiting.begin_dial(call, 4, now) else { panic!() };
        assert!(later > now, "it does not spin");
    }

    #[test]
    fn a_dial_that_ends_goes_to_its_own_call_and_what_is_free_to_the_oldest() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let calls: Vec<_> = (0..3).map(|_| join(&mut waiting)).collect();
        let begin = |(call, _): &(u64, _)| match waiting.begin_dial(*call, 8, now) {
            Begin::Now(dial) => dial,
            other => panic!("{other:?}"),
        };
        let dials: Vec<_> = calls.iter().map(begin).collect();
        let told = |told: Option<Told>| drop(told.unwrap().send(Err(crate::error::handed_back())));
        let ended = |at: usize| calls[at].1.is_terminated() || !calls[at].1.is_empty();
        told(waiting.end_dial(dials[1]));
        assert_eq!([0, 1, 2].map(ended), [false, true, false]);
        told(waiting.next());
        assert_eq!([0, 1, 2].map(ended), [true, true, false]);
    }
}
