//! State of a connection's wake-ups, without the task that they wake.

use super::atomic::{AtomicU8, Ordering};

/// Nothing has happened since the last poll.
const QUIET: u8 = 0;
/// A poll is in progress, or about to start.
const POLLED: u8 = 1;
/// Another poll is needed. If none is in progress, the task has been woken.
const WOKEN: u8 = 2;
/// The poll is needed because of an event outside the poll in progress, such as one of the socket.
/// A poll of the call alone neither handles nor clears it.
const NEWS: u8 = 4;

/// Whether a connection is being polled, and whether it has been woken since the poll began.
#[derive(Debug)]
pub(super) struct WakeFlag(AtomicU8);

impl WakeFlag {
    pub(super) fn new() -> Self {
        Self(AtomicU8::new(QUIET))
    }

    /// Returns whether the connection has been woken since the last poll began.
    pub(super) fn is_woken(&self) -> bool {
        self.0.load(Ordering::Acquire) & WOKEN != 0
    }

    /// Starts a poll. Returns whether there was news.
    pub(super) fn begin_poll(&self) -> bool {
        // A swap, not a store, so that this poll sees everything that preceded a wake.
        self.0.swap(POLLED, Ordering::AcqRel) & NEWS != 0
    }

    /// Ends a poll. Returns `false` when another is needed.
    pub(super) fn end_poll(&self) -> bool {
        self.0.compare_exchange(POLLED, QUIET, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Records a wake. Returns whether the task has to be woken: not during a poll, which is
    /// repeated in place, and not twice.
    pub(super) fn wake(&self, is_news: bool) -> bool {
        let woken = if is_news { WOKEN | NEWS } else { WOKEN };
        self.0.fetch_or(woken, Ordering::AcqRel) == QUIET
    }
}
