//! Containment of panics of foreign code.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Contained panic, with its message. The message must not leave the process.
pub(crate) struct Panicked(pub(crate) Option<Box<str>>);

/// Runs foreign code and contains its panic, including a second panic from dropping the payload.
pub(crate) fn contained<T>(run: impl FnOnce() -> T) -> Result<T, Panicked> {
    let discard = |payload: Box<dyn Any + Send>| {
        let message = message(&*payload);
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            mem::forget(again);
        }
        Panicked(message)
    };
    catch_unwind(AssertUnwindSafe(run)).map_err(discard)
}

/// Returns the message of a panic; `None` if its payload is not a text.
fn message(payload: &(dyn Any + Send)) -> Option<Box<str>> {
    let fixed = payload.downcast_ref::<&str>().copied();
    let message = fixed.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    message.map(Box::from)
}
