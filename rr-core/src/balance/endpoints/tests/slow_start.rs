//! Slow start of endpoints that are new or have returned.

use std::cell::RefCell;

use super::*;

/// Makes a balance whose endpoint `c` has been ejected, until it is to be probed.
fn ejected(slow_start: Duration, seed: u64) -> Bench {
    let mut bench = Bench::new(&["a", "b", "c"], seed);
    bench.config.slow_start = slow_start;
    bench.one_by_one(100, |name| match name {
        "c" => (1, Verdict::Failure),
        _ => (1, Verdict::Success),
    });
    assert!(bench.status("c").ejected_for.is_some());
    bench.now += ms(30_000);
    bench
}

/// Returns the calls of an endpoint in each of the next twelve seconds, in percent of an equal share.
fn shares(bench: &mut Bench, name: &str, pause: Duration) -> Vec<usize> {
    let calls = (Duration::from_secs(1).as_micros() / pause.as_micros()) as usize;
    let equal = calls / bench.endpoints.slots.len();
    let chosen = RefCell::new(Vec::new());
    bench.at_a_rate(calls * 12, pause, |one| {
        chosen.borrow_mut().push(one == name);
        Some(5)
    });
    let seconds = chosen.into_inner();
    let seconds = seconds.chunks(calls).map(|calls| calls.iter().filter(|it| **it).count());
    seconds.map(|calls| calls * 100 / equal).collect()
}

/// Asserts that the share grows from a tenth to the whole.
fn assert_grows(shares: &[usize]) {
    for (second, share) in shares.iter().enumerate() {
        let percent = (second * 10 + 5).clamp(10, 100);
        assert!((percent / 3..=percent * 2).contains(share), "second {second}: {shares:?}");
    }
    assert!(shares[10..].iter().all(|share| (80..125).contains(share)), "{shares:?}");
}

#[test]
fn an_endpoint_that_has_returned_gets_its_share_gradually() {
    for seed in 0..3 {
        for micros in [2000, 400] {
            let mut bench = ejected(Duration::from_secs(10), seed);
            assert_grows(&shares(&mut bench, "c", Duration::from_micros(micros)));
        }
        let shares = shares(&mut ejected(Duration::ZERO, seed), "c", ms(2));
        assert!(shares.iter().all(|share| *share > 80), "without: {shares:?}");
    }
}

#[test]
fn a_new_endpoint_gets_its_share_gradually_also_among_many() {
    let names: Vec<String> = (0..40).map(|at| at.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for old in [3, 39] {
        let mut bench = Bench::new(&names[..old], 4);
        bench.at_a_rate(10_000, ms(2), |_| Some(5));
        bench.set(&names[..=old]);
        assert_grows(&shares(&mut bench, names[old], Duration::from_micros(400)));
    }
}

#[test]
fn endpoints_of_one_age_do_not_slow_each_other() {
    for seed in 0..4 {
        let counts = |slow_start| {
            let mut bench = Bench::new(&["a", "b", "c"], seed);
            bench.config.slow_start = slow_start;
            let first = bench.at_a_rate(500, ms(2), |_| Some(5));
            // A look-up that finds addresses instead of names.
            bench.set(&["d", "e", "f"]);
            (first, bench.at_a_rate(500, ms(2), |_| Some(5)))
        };
        assert_eq!(counts(Duration::from_secs(10)), counts(Duration::ZERO));
    }
}

#[test]
fn one_old_endpoint_is_not_left_with_the_calls_of_many_new_ones() {
    let names = ["old", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let mut bench = Bench::new(&names[..1], 9);
    bench.now += ms(60_000);
    bench.set(&names);
    let counts = bench.at_a_rate(1000, ms(1), |_| Some(20));
    assert!((100..230).contains(&counts["old"]), "{counts:?}");
}

#[test]
fn a_sole_healthy_endpoint_gets_all_calls_in_its_slow_start() {
    let mut bench = ejected(Duration::from_secs(10), 2);
    bench.one_by_one(1, |_| (1, Verdict::Success));
    assert_eq!(bench.status("c").ejected_for, None);
    bench.set(&["c"]);
    assert_eq!(bench.one_by_one(50, |_| (1, Verdict::Success))["c"], 50);
}

/// Returns the 99th percentile of the calls in the quarter of a second after the return of `c`, whose
/// cache is cold then, over many returns.
fn p99_after_the_return(slow_start: Duration) -> u64 {
    let times = RefCell::new(Vec::new());
    for seed in 0..64 {
        let mut bench = ejected(slow_start, seed);
        bench.one_by_one(1, |_| (5, Verdict::Success));
        bench.at_a_rate(125, ms(2), |name| {
            let took = if name == "c" { 100 } else { 5 };
            times.borrow_mut().push(took);
            Some(took)
        });
    }
    let mut times = times.into_inner();
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

#[test]
fn a_cold_cache_raises_the_p99_only_without_a_slow_start() {
    assert_eq!(p99_after_the_return(Duration::ZERO), 100);
    assert_eq!(p99_after_the_return(Duration::from_secs(10)), 5);
}
