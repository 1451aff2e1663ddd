//! The tests of rr-core through its public interface, one module for each subject.

use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::sync::{Mutex, PoisonError};

#[cfg(all(feature = "admin", feature = "http", feature = "json", feature = "memory"))]
mod admin;
mod any_config;
#[cfg(feature = "tls")]
#[path = "../../../rr-tls/tests/it/authority.rs"]
#[allow(dead_code, reason = "shared with other tests")]
#[allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]
mod authority;
mod balance;
mod codecs;
mod configuration;
#[cfg(feature = "json")]
mod configured_observers;
mod contracts;
mod dedup;
#[cfg(feature = "json")]
mod everywhere;
mod forward;
mod handler_macro;
mod large_bodies;
mod layer_events;
mod many;
mod metadata;
#[cfg(all(feature = "json", feature = "memory", feature = "metrics"))]
mod metrics;
mod mistakes;
mod mock;
mod nested;
mod observed;
mod overload;
mod panics;
mod recommended;
#[cfg(all(feature = "json", feature = "record"))]
mod record;
mod recording;
mod retry;
mod routing;
mod service_macro;
mod services;
mod serving;
mod several_hosts;
mod several_urls;
mod slow_causes;
mod stats;
#[cfg(all(feature = "http", feature = "tls"))]
mod tls;
#[cfg(feature = "tower")]
mod tower;
#[cfg(all(feature = "json", feature = "tracing"))]
mod tracing;
mod trials;

/// Adds a hook for panics to those that there are: tests of one process do not replace each other's.
#[allow(dead_code, reason = "some features leave no test that needs it")]
fn on_panic(hook: impl Fn(&PanicHookInfo<'_>) + Send + Sync + 'static) {
    static ADDING: Mutex<()> = Mutex::new(());
    let _adding = ADDING.lock().unwrap_or_else(PoisonError::into_inner);
    let before = take_hook();
    set_hook(Box::new(move |info| {
        hook(info);
        before(info);
    }));
}
