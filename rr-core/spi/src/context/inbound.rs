//! What a server knows of a request it handles: how far it got, and on whose account it runs.

use std::sync::atomic::{AtomicU8, Ordering};

/// How far a call got on the server's side; it only ever goes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Mark {
    /// The handler has not been entered: whatever goes wrong now is `Rejected`.
    NotRun = 0,
    /// The call waits on another run, elsewhere: whatever goes wrong now is `Unknown`, and an
    /// answer that comes back passes verbatim.
    Passed = 1,
    /// The handler was entered: every error is `Processed`.
    Ran = 2,
}

/// The server's side of an inbound context.
pub(crate) struct InboundState {
    mark: AtomicU8,
    pub(crate) account: Account,
}

/// Whoever waits for the work of a call: the intake that admitted it.
pub(crate) type Account = std::sync::Arc<crate::intake::Shared>;

impl InboundState {
    pub(super) fn new(account: Account) -> Self {
        Self { mark: AtomicU8::new(Mark::NotRun as u8), account }
    }

    pub(super) fn raise(&self, mark: Mark) {
        self.mark.fetch_max(mark as u8, Ordering::Relaxed);
    }

    pub(super) fn mark(&self) -> Mark {
        match self.mark.load(Ordering::Relaxed) {
            0 => Mark::NotRun,
            1 => Mark::Passed,
            _ => Mark::Ran,
        }
    }
}
