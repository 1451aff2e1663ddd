//! Configuration of the limits.

use std::time::Duration;

use serde::Deserialize;

/// Which waiting call runs first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Order {
    /// The one that has waited longest. If too many wait, a new call is refused. Fair, but under
    /// overload every call waits for as long as it may.
    #[default]
    OldestFirst,
    /// The one that came last. If too many wait, the oldest is refused. Under overload some calls
    /// are served quickly, and the others are refused after their wait.
    NewestFirst,
}

rr_spi::options! {
    /// Waits and refusals of a [`ConcurrencyLimit`](super::ConcurrencyLimit).
    pub struct ConcurrencyConfig {
        /// Longest wait of a call for its turn. Default 0: a call that may not run is refused.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub wait_max: Duration = Duration::ZERO, with_wait_max(Duration);
        /// Maximum number of waiting calls. Default 64; 0 refuses each call that may not run
        /// immediately. Each decision looks at all waiting calls.
        pub waiting_max: usize = 64, with_waiting_max(usize);
        /// Which waiting call runs first, among calls of the same criticality. Default oldest first.
        pub order: Order = Order::OldestFirst, with_order(Order);
        /// Part of the limit that the calls of one key may fill, in percent. Default 100; more
        /// counts as 100, and every key may have one call.
        pub key_percent_max: u32 = 100, with_key_percent_max(u32);
        /// Whether a call is refused if less time is left than the median time of the calls to its
        /// target. Default true.
        pub sheds_hopeless: bool = true, with_sheds_hopeless(bool);
    }
}

rr_spi::options! {
    /// Bounds of a limit that adapts.
    pub struct AdaptiveConfig {
        /// Limit at the start. Default 50; clamped to `min` at least and `max` at most.
        pub initial: usize = 50, with_initial(usize);
        /// Smallest limit. Default 2; 0 counts as 1.
        pub min: usize = 2, with_min(usize);
        /// Largest limit. Default 1000; less than `min` counts as `min`.
        pub max: usize = 1000, with_max(usize);
    }
}

impl AdaptiveConfig {
    /// Returns a limit within the bounds.
    pub(super) fn clamp(&self, limit: f64) -> f64 {
        let min = self.min.max(1);
        let (min, max) = (min as f64, self.max.max(min) as f64);
        limit.clamp(min, max)
    }
}

rr_spi::options! {
    /// Rate of a [`RateLimit`](super::RateLimit).
    pub struct RateConfig {
        /// Calls per second. Default 100; 0 counts as 1, and more than 1,000,000,000 is unlimited.
        pub calls_per_second: u32 = 100, with_calls_per_second(u32);
        /// Calls that may come simultaneously after a pause. Default 100; 0 counts as 1.
        pub burst: u32 = 100, with_burst(u32);
        /// Maximum number of keys with a separate limit. Default 1024; 0 makes all keys share one. The calls of further keys
        /// share one limit, until a key has been idle for the time in which its burst refills.
        pub keys_max: usize = 1024, with_keys_max(usize);
    }
}

impl RateConfig {
    /// Returns the time in which a bucket gains one call.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.calls_per_second.max(1)
    }

    /// Returns the time in which an empty bucket becomes full.
    pub(super) fn refill(&self) -> Duration {
        self.interval() * self.burst.max(1)
    }
}
