//! Marks a thread while it polls an observed call, so that the failure of an attempt is not reported
//! besides that of its call.

use std::cell::Cell;

use rr_spi::observe::Kind;

thread_local! {
    /// Whether this thread is polling a call and not, inside of it, a request.
    static IN_CALL: Cell<bool> = const { Cell::new(false) };
}

/// Restores [`IN_CALL`] on drop, also in a panic.
struct Outer(bool);

impl Drop for Outer {
    fn drop(&mut self) {
        IN_CALL.set(self.0);
    }
}

/// Returns whether an operation of this kind that starts now is part of an observed call.
pub(crate) fn is_part_of_call(kind: Kind) -> bool {
    kind != Kind::ServerRequest && IN_CALL.get()
}

/// Runs one poll of an operation of this kind. Attempts that start within the poll of a call are part of
/// it; those that start within the poll of a request are not.
pub(crate) fn polled(kind: Kind, poll: impl FnOnce()) {
    let _outer = match kind {
        Kind::ClientAttempt => None,
        kind => Some(Outer(IN_CALL.replace(kind == Kind::ClientCall))),
    };
    poll();
}
