//! How long to wait before the next attempt to connect: pure.

use std::time::Duration;

use rr_spi::Entropy;

/// Pause after the first round of failures; a server that restarts is back within a few of them.
const BASE: Duration = Duration::from_millis(50);

/// Returns the pause after `failures` attempts in a row, given how many addresses there are.
///
/// Full jitter, so that a thousand clients of one server do not come back at once. The pause
/// grows once per round over the addresses: after a node has died, its neighbour is tried soon.
pub(super) fn pause(
    failures: u32,
    addresses: usize,
    max: Duration,
    entropy: &dyn Entropy,
) -> Duration {
    let rounds = failures / u32::try_from(addresses.max(1)).unwrap_or(u32::MAX);
    let ceiling = BASE.saturating_mul(1 << rounds.min(10)).min(max);
    spread(ceiling, entropy)
}

/// Returns the longest pause, less up to a quarter, so that a thousand clients do not come at once.
pub(super) fn longest(max: Duration, entropy: &dyn Entropy) -> Duration {
    max - spread(max / 4, entropy)
}

/// Returns anything up to `max`.
pub(super) fn spread(max: Duration, entropy: &dyn Entropy) -> Duration {
    let nanos = u64::try_from(max.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(entropy.next_u64() % nanos.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use rr_spi::SeededEntropy;

    use super::*;

    #[test]
    fn pauses_grow_per_round_and_stay_under_the_cap() {
        let entropy = SeededEntropy::new(7);
        let max = Duration::from_secs(2);
        for failures in 0..200 {
            let pause = pause(failures, 3, max, &entropy);
            assert!(pause <= max && pause <= BASE * (1 << (failures / 3).min(10)));
        }
        assert_eq!(pause(9, 1, Duration::ZERO, &entropy), Duration::ZERO);
        assert_eq!(longest(Duration::ZERO, &entropy), Duration::ZERO);
        for max in [max, Duration::MAX] {
            assert!((max / 4 * 3..=max).contains(&longest(max, &entropy)));
        }
    }
}
