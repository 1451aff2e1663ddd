//! Configuration of hedging.

use std::time::Duration;

/// Bounds of the quantile, in thousandths. Below the median most calls would be hedged.
const PER_MILLE_MIN: u32 = 500;
const PER_MILLE_MAX: u32 = 999;

/// Most second requests per 100 calls: a call has one at most.
const PERCENT_MAX: u32 = 100;

rr_spi::options! {
    /// Time and number of second requests.
    pub struct HedgeConfig {
        /// Second requests per 100 calls. Default 1; 0 sends none, and more than 100 counts as 100.
        pub extra_percent: u32 = 1, with_extra_percent(u32);
        /// Part of the calls, in thousandths, that end before a second request leaves. Default 990;
        /// clamped to 500 at least and 999 at most.
        pub quantile_per_mille: u32 = 990, with_quantile_per_mille(u32);
        /// Shortest time before a second request leaves. Default 1 ms.
        #[serde(deserialize_with = "rr_spi::duration::deserialize")]
        pub delay_min: Duration = Duration::from_millis(1), with_delay_min(Duration);
    }
}

impl HedgeConfig {
    pub(super) fn percent(&self) -> u32 {
        self.extra_percent.min(PERCENT_MAX)
    }

    pub(super) fn per_mille(&self) -> u32 {
        self.quantile_per_mille.clamp(PER_MILLE_MIN, PER_MILLE_MAX)
    }
}
