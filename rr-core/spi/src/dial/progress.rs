//! Progress of a dial: where its time went, for the attempts that wait for it.

use std::fmt;

use tokio::time::Instant;

use crate::error::Error;
use crate::timeline::{Ledger, Stage, Timeline};

/// Progress of a dial, which begins with [`Stage::Lookup`].
///
/// A dial runs in a task for which several attempts may wait. The attempts read the progress only if
/// they fail; see [`Attempt::still_dialing`](crate::Attempt::still_dialing).
///
/// # Examples
///
/// ```
/// use rr_spi::Stage;
/// use rr_spi::dial::DialProgress;
///
/// let progress = DialProgress::new();
/// progress.stage(Stage::Connect);
/// assert_eq!(progress.timeline().last(), Stage::Connect);
/// ```
pub struct DialProgress(Ledger);

impl DialProgress {
    /// Makes the progress of a dial that begins now.
    #[must_use]
    pub fn new() -> Self {
        let ledger = Ledger::new(Instant::now());
        ledger.enter(Stage::Lookup);
        Self(ledger)
    }

    /// Records that the dial has reached a stage. The order of stages is that of a connection: a
    /// stage before the current one changes nothing, as when several addresses are tried.
    pub fn stage(&self, stage: Stage) {
        if stage > self.0.stage() {
            self.0.tick();
            self.0.enter(stage);
        }
    }

    /// Returns the times of the stages until now.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        self.0.timeline_now()
    }

    /// Adds the times of the stages to the error of the dial; see
    /// [`Attempt::dial_failed`](crate::Attempt::dial_failed).
    #[must_use]
    pub fn failed(&self, error: Error) -> Error {
        error.with_timeline(self.timeline())
    }
}

impl Default for DialProgress {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for DialProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialProgress").field("stage", &self.0.stage()).finish_non_exhaustive()
    }
}
