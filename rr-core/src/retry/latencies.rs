//! Recent latencies of calls, by target.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_spi::Target;
use tokio::time::Instant;

use super::latency::LatencyWindow;

/// Maximum number of targets with a separate window; later targets share one. At 3 KiB each, the
/// windows take 400 KiB.
const TARGETS_MAX: usize = 128;

/// Recent latencies of calls. Each target has a separate window: the latency of a slow report must
/// not keep a fast lookup from being retried.
#[derive(Default)]
pub(crate) struct Latencies(Mutex<Windows>);

#[derive(Default)]
struct Windows {
    /// Ordered: for the few targets of a client, comparing costs less than hashing.
    own: BTreeMap<String, LatencyWindow>,
    shared: LatencyWindow,
}

impl Latencies {
    /// Records the duration of a call that ended at `now`.
    pub(crate) fn record(&self, target: &Target, now: Instant, took: Duration) {
        let mut windows = self.lock();
        if let Some(own) = windows.own.get_mut(target.as_str()) {
            return own.record(now, took);
        }
        if windows.own.len() >= TARGETS_MAX {
            return windows.shared.record(now, took);
        }
        windows.own.entry(target.as_str().to_owned()).or_default().record(now, took);
    }

    /// Returns the median duration of the calls; `None` if there were too few.
    pub(crate) fn median(&self, target: &Target, now: Instant) -> Option<Duration> {
        self.read(target, |window| window.median(now))
    }

    /// Returns the duration that so many of a thousand calls did not exceed; `None` if there were
    /// too few calls.
    pub(crate) fn quantile(
        &self,
        target: &Target,
        now: Instant,
        per_mille: u32,
    ) -> Option<Duration> {
        self.read(target, |window| window.quantile(now, per_mille))
    }

    fn read<T>(&self, target: &Target, read: impl FnOnce(&mut LatencyWindow) -> T) -> T {
        let mut windows = self.lock();
        let Windows { own, shared } = &mut *windows;
        read(own.get_mut(target.as_str()).unwrap_or(shared))
    }

    fn lock(&self) -> MutexGuard<'_, Windows> {
        // A panic cannot leave the counts half-changed: no foreign code runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latencies").field("targets", &self.lock().own.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(n: usize) -> Target {
        Target::parse(&format!("orders.place{n}")).unwrap()
    }

    #[test]
    fn each_target_has_its_own_until_there_are_too_many() {
        let (latencies, now) = (Latencies::default(), Instant::now());
        let took = |n| Duration::from_millis(if n < TARGETS_MAX { 10 } else { 1000 });
        for n in 0..TARGETS_MAX + 10 {
            for _ in 0..if n < TARGETS_MAX { 10 } else { 1 } {
                latencies.record(&target(n), now, took(n));
            }
        }
        let median = |n| latencies.median(&target(n), now).unwrap();
        for own in [0, TARGETS_MAX - 1] {
            assert!(median(own) < Duration::from_millis(12));
        }
        for shared in [TARGETS_MAX, TARGETS_MAX + 1000] {
            assert!(median(shared) >= Duration::from_secs(1), "ten others have told");
        }
        assert_eq!(latencies.lock().own.len(), TARGETS_MAX);
    }
}
