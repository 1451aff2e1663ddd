//! Slow start: an endpoint that is new or has returned gets its share of the calls gradually.

use std::time::Duration;

/// Fraction of its share that an endpoint gets at first (Envoy's `min_weight_percent`). Without calls,
/// the endpoint would never become warm.
const FRACTION_MIN: f64 = 0.1;

/// Returns the fraction of its share that an endpoint of this age gets. The fraction grows in proportion
/// to the age, from a tenth to 1 at the end of the slow start (Envoy's slow start with `aggression` 1).
pub(super) fn fraction(age: Duration, slow_start: Duration) -> f64 {
    if age >= slow_start {
        return 1.0;
    }
    (age.as_secs_f64() / slow_start.as_secs_f64()).clamp(FRACTION_MIN, 1.0)
}

/// Returns whether the cheaper of two drawn endpoints keeps a call; otherwise the other one gets it.
/// `fraction` is that of the cheaper endpoint, relative to that of the other; `drawn` is a random
/// number.
///
/// An endpoint that gets few calls has few in flight, so it is the cheaper one nearly each time, instead
/// of half of the time: a chance of half of its fraction, rising to 1, gives it that fraction of
/// an equal share. To divide the cost by the fraction would not do: while little is in flight, the older
/// endpoint would get every call.
pub(super) fn keeps(fraction: f64, drawn: impl FnOnce() -> u64) -> bool {
    fraction >= 1.0 || unit(drawn()) < fraction / (2.0 - fraction)
}

/// Returns a random number from 0 to below 1.
fn unit(drawn: u64) -> f64 {
    (drawn >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    #[test]
    fn the_fraction_grows_from_a_tenth_to_the_whole() {
        let after = |millis| fraction(Duration::from_millis(millis), WINDOW);
        assert_eq!([0, 999, 1000].map(after), [0.1; 3]);
        assert_eq!([2500, 5000, 9000].map(after), [0.25, 0.5, 0.9]);
        assert_eq!([10_000, 60_000].map(after), [1.0; 2]);
        assert_eq!(fraction(Duration::ZERO, Duration::ZERO), 1.0);
        assert_eq!(fraction(Duration::ZERO, Duration::MAX), 0.1);
    }

    #[test]
    fn a_younger_endpoint_keeps_half_of_its_fraction_of_the_calls_and_an_older_one_all() {
        let never = || panic!("no number is drawn");
        assert!(keeps(1.0, never) && keeps(3.0, never));
        let percent = |percent| move || u64::MAX / 100 * percent;
        assert!(keeps(0.2, percent(11)) && !keeps(0.2, percent(12)));
        assert!(keeps(0.9, percent(81)) && !keeps(0.9, percent(82)));
    }
}
