//! Decides whether requests are polled first in the loop of their subscription, or in tasks.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::sync::lock;

/// Duration from which a first poll counts as slow. Shorter polls delay the requests behind them
/// little, and a busy machine sometimes preempts the thread for some milliseconds.
const SLOW: Duration = Duration::from_millis(10);

/// Time after a slow poll during which every request gets a task. Tasks cost a quarter of the
/// throughput of handlers that answer without waiting.
const HOLD_MIN: Duration = Duration::from_secs(1);

/// Longest such time, after repeated slow polls.
const HOLD_MAX: Duration = Duration::from_secs(64);

/// Growth factor of that time after each further slow poll.
const HOLD_GROWTH: u32 = 4;

/// Durations of the first polls of one subscription's requests. A slow poll delays the requests
/// behind it only once, since the next requests get tasks for a while.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    /// Nanoseconds from `start` until which requests get tasks; 0 before the first slow poll.
    spawn_until: AtomicU64,
    hold: Mutex<Hold>,
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    length: Duration,
    until: Option<Instant>,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        let hold = Hold { length: HOLD_MIN, until: None };
        Self { start: now, spawn_until: AtomicU64::new(0), hold: Mutex::new(hold) }
    }

    /// Returns whether a request that starts now gets a task from the start.
    pub(super) fn is_slow(&self, now: Instant) -> bool {
        let until = self.spawn_until.load(Ordering::Relaxed);
        until > 0 && self.nanos(now) < until
    }

    /// Records the duration of a request's first poll.
    pub(super) fn polled(&self, began: Instant, took: Duration) {
        if took >= SLOW {
            self.slow(began, began + took);
        }
    }

    fn slow(&self, began: Instant, now: Instant) {
        // Values are replaced as a whole: a panic leaves one of them.
        let mut hold = lock(&self.hold);
        let next = match hold.until {
            // Slow polls that began within the hold count as one.
            Some(until) if began < until => hold.length,
            // Soon after the last hold: the handlers are still slow.
            Some(until) if began - until < HOLD_MAX => (hold.length * HOLD_GROWTH).min(HOLD_MAX),
            _ => HOLD_MIN,
        };
        *hold = Hold { length: next, until: Some(now + next) };
        self.spawn_until.store(self.nanos(now + next), Ordering::Relaxed);
    }

    fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_millis(100);

    #[test]
    fn polls_that_are_not_slow_need_no_tasks() {
        let now = Instant::now();
        let pace = Pace::new(now);
        for at in 0..100 {
            let began = now + Duration::from_millis(at);
            assert!(!pace.is_slow(began));
            pace.polled(began, SLOW - Duration::from_nanos(1));
        }
    }

    #[test]
    fn a_slow_poll_delays_once_and_for_longer_each_time_that_it_comes_back() {
        let mut now = Instant::now();
        let pace = Pace::new(now);
        let mut delays = 0;
        // A slow request every 500 ms, for ten minutes.
        for _ in 0..1200 {
            if !pace.is_slow(now) {
                delays += 1;
            }
            pace.polled(now, LONG);
            now += Duration::from_millis(500);
        }
        assert_eq!(delays, 1, "slow polls in tasks keep the hold up");
        // At one request every two seconds, the next request comes after the first hold.
        let pace = Pace::new(now);
        delays = 0;
        for _ in 0..300 {
            delays += usize::from(!pace.is_slow(now));
            pace.polled(now, LONG);
            now += Duration::from_secs(2);
        }
        assert_eq!(delays, 2);
    }

    #[test]
    fn a_hold_ends_and_is_short_again_after_a_long_time() {
        let mut now = Instant::now();
        let pace = Pace::new(now);
        for _ in 0..10 {
            pace.polled(now, LONG);
            now += LONG + HOLD_MIN;
            assert!(pace.is_slow(now - Duration::from_nanos(1)) && !pace.is_slow(now));
            now += HOLD_MAX + HOLD_MAX;
        }
    }
}
