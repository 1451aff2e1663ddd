//! Closes unused connections when a call on a newer one has received nothing.

use rr_spi::{Attempt, Deadline};

use super::H1Shared;

/// Wait for the first answer to a request on a connection that had been unused.
///
/// If nothing arrives until the deadline, the path to the server may have been lost without a
/// reset, as when a NAT drops its state. Unused connections on which nothing has been received for
/// even longer are then closed, so that the next call dials instead of waiting on another dead one.
/// If only the handler was slow, this costs a dial for each call that could have used one of them.
pub(crate) struct SilenceGuard<'a> {
    shared: &'a H1Shared,
    attempt: &'a Attempt,
    /// When the connection was kept; `None` if it had not been unused, or once the wait has ended.
    idle_since: Option<u64>,
}

impl<'a> SilenceGuard<'a> {
    pub(super) fn new(shared: &'a H1Shared, attempt: &'a Attempt, idle_since: Option<u64>) -> Self {
        Self { shared, attempt, idle_since }
    }

    /// Ends the wait: a reply or an error has arrived.
    pub(crate) fn disarm(mut self) {
        self.idle_since = None;
    }
}

impl Drop for SilenceGuard<'_> {
    fn drop(&mut self) {
        let Some(idle_since) = self.idle_since else { return };
        if self.attempt.context().deadline().is_some_and(Deadline::has_passed) {
            // The newest connection is used first: all older ones have been unused since before the
            // request was sent.
            let is_older = |since: u64| since < idle_since;
            drop(self.shared.remove_where(|idle| idle.link.idle_since.is_some_and(is_older)));
        }
    }
}
