//! A runtime in virtual time, and panics anywhere in it.

use std::cell::Cell;
use std::panic;
use std::sync::Once;

use tokio::runtime::Builder;

thread_local! {
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// Text of the panics that a scenario's handlers cause on purpose.
pub(crate) const ON_PURPOSE: &str = "on purpose";

/// Counts panics of this thread: tokio and rr contain them, so that nothing else shows them.
fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<String>().is_none_or(|text| text != ON_PURPOSE) {
                PANICS.set(PANICS.get() + 1);
                before(info);
            }
        }));
    });
}

/// Runs a scenario to its end on a single thread in virtual time.
///
/// # Panics
///
/// When anything in it panicked, in a task too.
pub(crate) fn run(scenario: impl Future<Output = ()>) {
    count_panics();
    PANICS.set(0);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
    runtime.block_on(scenario);
    drop(runtime);
    assert_eq!(PANICS.get(), 0, "a task panicked");
}
