//! Containment of panics of foreign code.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Marker of a contained panic, whose text goes to the panic hook and nowhere else.
pub(crate) struct Panicked;

/// Runs foreign code and contains its panic, including a second panic from dropping the payload.
pub(crate) fn contained<T>(run: impl FnOnce() -> T) -> Result<T, Panicked> {
    let discard = |payload: Box<dyn Any + Send>| {
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            mem::forget(again);
        }
        Panicked
    };
    catch_unwind(AssertUnwindSafe(run)).map_err(discard)
}
