//! Pauses before the next attempt to connect: pure functions.

use std::time::Duration;

use rr_spi::Entropy;

/// Longest pause after the first failure; a server that restarts is back within a few such pauses.
const BASE: Duration = Duration::from_millis(50);

/// Returns the pause after so many failures in a row: zero after none.
///
/// Full jitter, so that a thousand clients of one server do not reconnect simultaneously.
pub(super) fn pause(failures: u32, max: Duration, entropy: &dyn Entropy) -> Duration {
    match failures.checked_sub(1) {
        Some(doublings) => spread(BASE.saturating_mul(1 << doublings.min(10)).min(max), entropy),
        None => Duration::ZERO,
    }
}

/// Returns the longest pause less a random part of up to a quarter, so that a thousand clients do
/// not reconnect simultaneously.
pub(super) fn longest(max: Duration, entropy: &dyn Entropy) -> Duration {
    max - spread(max / 4, entropy)
}

/// Returns a random duration of at most `max`.
pub(super) fn spread(max: Duration, entropy: &dyn Entropy) -> Duration {
    let nanos = u64::try_from(max.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(entropy.next_u64() % nanos.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use rr_spi::SeededEntropy;

    use super::*;

    #[test]
    fn pauses_grow_per_failure_and_stay_under_the_cap() {
        let entropy = SeededEntropy::new(7);
        let max = Duration::from_secs(2);
        assert_eq!(pause(0, max, &entropy), Duration::ZERO);
        for failures in 1..200 {
            let pause = pause(failures, max, &entropy);
            assert!(pause <= max && pause <= BASE * (1 << (failures - 1).min(10)));
        }
        assert_eq!(pause(9, Duration::ZERO, &entropy), Duration::ZERO);
        assert_eq!(longest(Duration::ZERO, &entropy), Duration::ZERO);
        for max in [max, Duration::MAX] {
            assert!((max / 4 * 3..=max).contains(&longest(max, &entropy)));
        }
    }
}
