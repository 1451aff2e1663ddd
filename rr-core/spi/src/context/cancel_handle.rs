//! Handle that cancels a context.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::cause::Cause;
use super::deadline::Deadline;
use super::node::Node;

/// Returns whether a cancellation now counts as the expiry of the deadline. The timers of both ends
/// of a connection fire at nearly the same time, and the end that first sees the other hang up must
/// not report a cancellation.
pub(super) fn is_close(deadline: Deadline) -> bool {
    const MARGIN: Duration = Duration::from_millis(5);
    deadline.remaining() <= MARGIN
}

/// Handle that cancels a context. Dropping the handle cancels with [`Cause::CallerDropped`].
#[must_use = "dropping the handle cancels the context"]
pub struct CancelHandle {
    node: Arc<Node>,
    deadline: Option<Deadline>,
}

impl CancelHandle {
    pub(super) fn new(node: Arc<Node>, deadline: Option<Deadline>) -> Self {
        Self { node, deadline }
    }

    /// Cancels the context. The first cause stays; later calls have no effect.
    pub fn cancel(&self) {
        self.cancel_with(Cause::Cancelled);
    }

    /// Cancels the context with this cause.
    ///
    /// Within 5 ms of the deadline, any cause but [`Cause::Finished`] becomes
    /// [`Cause::DeadlineExceeded`].
    pub fn cancel_with(&self, cause: Cause) {
        // Most handles are dropped after the scope has ended; that case need not read the clock.
        if self.node.cause().is_some() {
            return;
        }
        let at_deadline = cause != Cause::Finished && self.deadline.is_some_and(is_close);
        self.node.cancel(if at_deadline { Cause::DeadlineExceeded } else { cause });
    }
}

impl Drop for CancelHandle {
    fn drop(&mut self) {
        self.cancel_with(Cause::CallerDropped);
    }
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelHandle").field("cause", &self.node.cause()).finish_non_exhaustive()
    }
}
