//! Limit on the nesting of in-process calls on one stack.

use std::cell::Cell;

/// Maximum number of handlers nested on one stack, so that a handler that calls itself does not
/// exhaust it. In a debug build each takes some 20 to 50 KiB of a thread's 2 MiB.
const NESTED_MAX: usize = 8;

thread_local! {
    /// Number of nested handlers that this thread is polling.
    static NESTED: Cell<usize> = const { Cell::new(0) };
}

/// Returns whether this stack has the most nested handlers allowed.
pub(crate) fn is_full() -> bool {
    NESTED.get() >= NESTED_MAX
}

/// Polls a handler and counts it as nested on this stack.
pub(crate) fn within<T>(poll: impl FnOnce() -> T) -> T {
    let _nesting = Nesting::enter();
    poll()
}

/// Count of one handler being polled, released on drop, also in a panic.
struct Nesting(());

impl Nesting {
    fn enter() -> Self {
        NESTED.set(NESTED.get() + 1);
        Self(())
    }
}

impl Drop for Nesting {
    fn drop(&mut self) {
        NESTED.set(NESTED.get() - 1);
    }
}
