//! Pauses before the next attempt: full jitter, and the pause that a peer asks for.

use std::time::Duration;

use rr_spi::Entropy;

/// A pause that the peer asks for is prolonged at random by up to this part of it. Otherwise,
/// callers that a peer refused simultaneously would return simultaneously.
const SPREAD: u32 = 5;

/// Draws a pause of up to `base` doubled `step` times, and of at most `max`. Of all schemes, full
/// jitter makes the fewest calls in a stampede.
pub(super) fn full_jitter(
    base: Duration,
    max: Duration,
    step: u32,
    entropy: &dyn Entropy,
) -> Duration {
    let factor = 1_u32.checked_shl(step).unwrap_or(u32::MAX);
    fraction(base.saturating_mul(factor).min(max), entropy)
}

/// Draws a pause between `asked`, which the peer asked for, and a fifth more.
pub(super) fn spread(asked: Duration, entropy: &dyn Entropy) -> Duration {
    asked.saturating_add(fraction(asked / SPREAD, entropy))
}

/// Draws evenly from zero to just under `whole`.
fn fraction(whole: Duration, entropy: &dyn Entropy) -> Duration {
    // Saturates at five centuries, longer than any pause.
    let nanos = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX);
    let drawn = (u128::from(nanos) * u128::from(entropy.next_u64())) >> u64::BITS;
    Duration::from_nanos(u64::try_from(drawn).unwrap_or(nanos))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rr_spi::SeededEntropy;

    use super::*;

    /// Entropy that always draws the same value.
    struct Fixed(u64);

    impl Entropy for Fixed {
        fn next_u64(&self) -> u64 {
            self.0
        }
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let half = Fixed(1 << 63);
        let drawn = |step| full_jitter(ms(50), ms(2000), step, &half);
        let drawn: Vec<_> = (0..8).map(drawn).collect();
        assert_eq!(drawn, [25, 50, 100, 200, 400, 800, 1000, 1000].map(ms));
    }

    #[test]
    fn the_extremes_of_chance_stay_within_bounds() {
        assert_eq!(full_jitter(ms(50), ms(2000), 3, &Fixed(0)), Duration::ZERO);
        let most = full_jitter(ms(50), ms(2000), 3, &Fixed(u64::MAX));
        assert!(most < ms(400) && most > ms(399));
        assert_eq!(spread(ms(500), &Fixed(0)), ms(500));
        assert_eq!(spread(ms(500), &Fixed(1 << 63)), ms(550));
    }

    proptest! {
        #[test]
        fn no_base_step_or_draw_overflows_or_goes_over_the_longest(
            base in any::<u64>(), max in any::<u64>(), step in any::<u32>(), seed in any::<u64>(),
        ) {
            let entropy = SeededEntropy::new(seed);
            let (base, max) = (Duration::from_millis(base), Duration::from_millis(max));
            prop_assert!(full_jitter(base, max, step, &entropy) <= max);
            prop_assert!(spread(base, &entropy) >= base);
        }
    }
}
