//! Adaptive limit over calls that take different times.

use std::time::Duration;

use rr_spi::{Entropy as _, SeededEntropy};
use tokio::time::Instant;

use super::{Gradient, Limit, Sample};
use crate::limit::AdaptiveConfig;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Destination that runs each call for a drawn time, without contention; as many calls are in
/// flight as the limit or `used` allows.
struct Uncontended {
    now: Instant,
    used: usize,
    /// End, begin and calls in flight of the calls.
    running: Vec<(Instant, Instant, usize)>,
}

impl Uncontended {
    fn new(used: usize) -> Self {
        Self { now: Instant::now(), used, running: Vec::new() }
    }

    /// Runs for a time. Returns the smallest and the mean number of calls in flight.
    fn run(
        &mut self,
        limit: &mut dyn Limit,
        time: Duration,
        mut took: impl FnMut() -> Duration,
        mut is_overload: impl FnMut() -> bool,
    ) -> (usize, usize) {
        let end = self.now + time;
        let (mut least, mut sum, mut ended) = (usize::MAX, 0, 0);
        while self.now < end {
            while self.running.len() < limit.limit(self.now).min(self.used) {
                let in_flight = self.running.len() + 1;
                self.running.push((self.now + took(), self.now, in_flight));
            }
            least = least.min(self.running.len());
            sum += self.running.len();
            ended += 1;
            let next = (0..self.running.len()).min_by_key(|at| self.running[*at].0).unwrap();
            let (now, began, in_flight) = self.running.swap_remove(next);
            self.now = now;
            let took = now - began;
            limit.ended(Sample { now, took, in_flight, is_overload: is_overload() });
        }
        (least, sum / ended)
    }
}

/// Returns 5 ms for nine of ten draws, and 200 ms otherwise.
fn mixed(seed: u64) -> impl FnMut() -> Duration {
    let entropy = SeededEntropy::new(seed);
    move || if entropy.next_u64() % 10 == 0 { ms(200) } else { ms(5) }
}

#[test]
fn a_method_that_takes_long_and_is_called_seldom_does_not_lower_an_adaptive_limit() {
    for seed in 0..5 {
        let mut limit = Gradient::new(AdaptiveConfig::default().with_max(50));
        let mut calls = Uncontended::new(usize::MAX);
        let (_, mean) = calls.run(&mut limit, ms(30_000), mixed(seed), || false);
        assert!(mean >= 45, "seed {seed}: {mean} calls in flight");
    }
}

#[test]
fn a_few_late_calls_do_not_lower_an_adaptive_limit_and_many_do() {
    for (of_hundred, lowers) in [(5, false), (30, true)] {
        let entropy = SeededEntropy::new(1);
        let mut limit = Gradient::new(AdaptiveConfig::default().with_max(50));
        let is_late = || entropy.next_u64() % 100 < of_hundred;
        let mut calls = Uncontended::new(50);
        calls.run(&mut limit, ms(10_000), || ms(10), is_late);
        let limit = limit.limit(calls.now);
        assert_eq!(limit < 50, lowers, "{of_hundred} %: {limit}");
    }
}

#[test]
fn an_adaptive_limit_above_the_use_falls_to_twice_the_use_when_the_latency_rises() {
    let mut limit = Gradient::new(AdaptiveConfig::default().with_initial(1000));
    let mut calls = Uncontended::new(100);
    calls.run(&mut limit, ms(5000), || ms(10), || false);
    assert_eq!(limit.limit(calls.now), 1000);
    calls.run(&mut limit, ms(5000), || ms(50), || false);
    let limit = limit.limit(calls.now);
    assert!((200..=250).contains(&limit), "{limit}");
}

#[test]
fn an_adaptive_limit_does_not_hold_back_few_calls_that_all_take_long() {
    let mut limit = Gradient::new(AdaptiveConfig::default().with_initial(1000));
    let entropy = SeededEntropy::new(1);
    let took = || ms(15_000 + entropy.next_u64() % 10_000);
    let mut calls = Uncontended::new(200);
    let (least, _) = calls.run(&mut limit, ms(600_000), took, || false);
    assert_eq!((least, limit.limit(calls.now)), (200, 1000));
}

#[test]
fn an_adaptive_limit_does_not_follow_latencies_that_only_show_the_scheduler() {
    let mut limit = Gradient::new(AdaptiveConfig::default().with_max(200));
    let mut calls = Uncontended::new(usize::MAX);
    for micros in [2, 20] {
        calls.run(&mut limit, ms(1), || Duration::from_micros(micros), || false);
        assert_eq!(limit.limit(calls.now), 200);
    }
}

#[test]
fn probes_that_confirm_the_latency_become_rare() {
    let mut limit = Gradient::new(AdaptiveConfig::default());
    let mut now = Instant::now();
    // Four calls run in parallel per ms, and more calls wait.
    let mut lowered = Vec::new();
    let (mut before, start) = (limit.limit(now), now);
    while now - start < ms(120_000) {
        let in_flight = limit.limit(now);
        let took = ms(10).mul_f64((in_flight as f64 / 40.0).max(1.0));
        now += took;
        for _ in 0..in_flight {
            limit.ended(Sample { now, took, in_flight, is_overload: false });
        }
        let limit = limit.limit(now);
        if limit * 10 <= before * 6 {
            lowered.push((now - start).as_secs());
        }
        before = limit;
    }
    assert!((3..=10).contains(&lowered.len()), "{lowered:?}");
}

#[test]
fn a_probe_ends_when_the_load_falls() {
    let mut limit = Gradient::new(AdaptiveConfig::default().with_max(50));
    let mut calls = Uncontended::new(usize::MAX);
    while limit.limit(calls.now) == 50 {
        calls.run(&mut limit, ms(10), || ms(10), || false);
        assert!(limit.probe.is_some() || calls.running.len() <= 50);
    }
    assert_eq!(limit.limit(calls.now), 25);
    calls.now += ms(3000);
    assert_eq!(limit.limit(calls.now), 50, "no call has to end for that");
    // The calls of that probe do not count, and the next one is as far away as the first was.
    calls.running.clear();
    let (least, _) = calls.run(&mut limit, ms(29_000), || ms(10), || false);
    assert_eq!(least, 50);
}

#[test]
fn a_latency_that_few_calls_have_shown_needs_no_probe() {
    let mut limit = Gradient::new(AdaptiveConfig::default().with_initial(100).with_max(100));
    let mut calls = Uncontended::new(40);
    calls.run(&mut limit, ms(5000), || ms(100), || false);
    calls.used = 80;
    calls.run(&mut limit, ms(200), || ms(100), || false);
    let (least, _) = calls.run(&mut limit, ms(100_000), || ms(100), || false);
    assert_eq!(least, 80);
}

#[test]
fn faster_work_is_confirmed_by_one_probe() {
    let mut limit = Gradient::new(AdaptiveConfig::default().with_initial(100).with_max(100));
    let mut calls = Uncontended::new(80);
    for millis in [100, 50] {
        let mut probes = 0;
        for _ in 0..5000 {
            let was_probing = limit.probe.is_some();
            calls.run(&mut limit, ms(20), || ms(millis), || false);
            probes += usize::from(!was_probing && limit.probe.is_some());
        }
        assert_eq!(probes, 1, "{millis} ms");
    }
}
