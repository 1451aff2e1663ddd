//! Bounds how deep calls in this process run on one stack.

use std::cell::Cell;

/// Most handlers that run one within another on one stack: a handler that calls itself must not
/// exhaust it, and a debug build takes some 20 to 50 KiB of a thread's 2 MiB for each.
const NESTED_MAX: usize = 8;

thread_local! {
    /// How many handlers this thread polls, one within another.
    static NESTED: Cell<usize> = const { Cell::new(0) };
}

/// Tells whether as many handlers run on this stack as may.
pub(crate) fn is_full() -> bool {
    NESTED.get() >= NESTED_MAX
}

/// Polls a handler as one that runs within those of this stack.
pub(crate) fn within<T>(poll: impl FnOnce() -> T) -> T {
    let _nesting = Nesting::begin();
    poll()
}

/// A handler being polled; dropping it ends that, in a panic too.
struct Nesting(());

impl Nesting {
    fn begin() -> Self {
        NESTED.set(NESTED.get() + 1);
        Self(())
    }
}

impl Drop for Nesting {
    fn drop(&mut self) {
        NESTED.set(NESTED.get() - 1);
    }
}
