mod slow_start;

use std::collections::BTreeMap;

use proptest::prelude::*;
use rr_spi::SeededEntropy;

use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn ended(verdict: Verdict) -> Ended {
    Ended { verdict, avoided: Duration::ZERO }
}

/// Endpoints in virtual time, without a runtime.
struct Bench {
    endpoints: Endpoints<()>,
    config: BalanceConfig,
    entropy: SeededEntropy,
    now: Instant,
}

impl Bench {
    fn new(names: &[&str], seed: u64) -> Self {
        let mut bench = Self {
            endpoints: Endpoints::new(),
            config: BalanceConfig::default(),
            entropy: SeededEntropy::new(seed),
            now: Instant::now(),
        };
        bench.set(names);
        bench
    }

    fn set(&mut self, names: &[&str]) {
        let named = names.iter().map(|name| (Arc::from(*name), ())).collect();
        self.endpoints.set(named, self.now);
    }

    fn choose(&mut self, tried: &[u64]) -> Option<Chosen<()>> {
        self.choose_for(tried, Ejected::LastResort)
    }

    fn choose_for(&mut self, tried: &[u64], ejected: Ejected) -> Option<Chosen<()>> {
        self.endpoints.choose(tried, ejected, self.now, &self.entropy, &self.config)
    }

    fn end_call(&mut self, call: &Started, verdict: Verdict) {
        self.endpoints.end_call(call, ended(verdict), self.now, &self.config);
    }

    fn status(&self, name: &str) -> EndpointStatus {
        let all = self.endpoints.statuses(self.now, &self.config);
        all.into_iter().find(|one| &*one.name == name).unwrap()
    }

    /// Makes one call at a time; `outcome` is its duration and verdict.
    fn one_by_one(
        &mut self,
        calls: usize,
        outcome: impl Fn(&str) -> (u64, Verdict),
    ) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for _ in 0..calls {
            let Chosen { name, call, .. } = self.choose(&[]).unwrap();
            let (took, verdict) = outcome(&name);
            self.now += ms(took);
            self.end_call(&call, verdict);
            *counts.entry(name.to_string()).or_default() += 1;
        }
        counts
    }

    /// Makes a call every `pause`, each as long as `latency` says; `None` never ends.
    fn at_a_rate(
        &mut self,
        calls: usize,
        pause: Duration,
        latency: impl Fn(&str) -> Option<u64>,
    ) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        let mut running: Vec<(Instant, Started)> = Vec::new();
        let end = self.now + pause * calls as u32;
        while self.now < end {
            self.now += pause;
            let (done, rest) = running.into_iter().partition(|(at, _)| *at <= self.now);
            running = rest;
            for (at, call) in done {
                self.endpoints.end_call(&call, ended(Verdict::Success), at, &self.config);
            }
            let Chosen { name, call, .. } = self.choose(&[]).unwrap();
            *counts.entry(name.to_string()).or_default() += 1;
            if let Some(took) = latency(&name) {
                running.push((self.now + ms(took), call));
            }
        }
        counts
    }
}

#[test]
fn equal_endpoints_get_equal_shares() {
    for seed in 0..8 {
        let mut bench = Bench::new(&["a", "b", "c", "d"], seed);
        let counts = bench.at_a_rate(4000, ms(2), |_| Some(5));
        assert!(counts.values().all(|count| (800..1200).contains(count)), "{seed}: {counts:?}");
    }
}

#[test]
fn a_slow_endpoint_gets_few_calls_and_one_that_never_answers_fewer() {
    for seed in 0..8 {
        let mut bench = Bench::new(&["fast", "slow", "silent"], seed);
        let counts = bench.at_a_rate(2500, ms(2), |name| match name {
            "fast" => Some(5),
            "slow" => Some(500),
            _ => None,
        });
        assert!(counts["slow"] <= 25, "{seed}: {counts:?}");
        assert!(counts["silent"] <= 5, "{seed}: {counts:?}");
    }
}

#[test]
fn an_endpoint_that_was_slow_gets_calls_again_after_a_while() {
    let mut bench = Bench::new(&["a", "b"], 7);
    bench.at_a_rate(500, ms(2), |name| Some(if name == "a" { 300 } else { 5 }));
    let counts = bench.at_a_rate(60_000, ms(2), |_| Some(5));
    assert!(counts["a"] > 10_000, "{counts:?}");
}

#[test]
fn an_endpoint_without_data_takes_the_average_of_the_others() {
    let mut bench = Bench::new(&["a"], 1);
    bench.one_by_one(10, |_| (20, Verdict::Success));
    bench.set(&["a", "new"]);
    let cost = |bench: &Bench, at| {
        let usual = || bench.endpoints.typical(None, bench.now, &bench.config).unwrap();
        bench.endpoints.cost(at, usual, bench.now, &bench.config)
    };
    assert_eq!((cost(&bench, 0), cost(&bench, 1)), (0.020, 0.020));
    assert_eq!(bench.status("new").latency, None);
    // Also a while later, when the known average has decayed: neither is preferred for good.
    bench.now += ms(3000);
    assert_eq!(cost(&bench, 0), cost(&bench, 1));
    let counts = bench
        .one_by_one(40, |name| (20, if name == "a" { Verdict::Success } else { Verdict::Neutral }));
    assert!(counts["new"] > 5, "{counts:?}");
}

#[test]
fn a_refusal_in_no_time_is_no_fast_answer() {
    let mut bench = Bench::new(&["fast", "refuses"], 3);
    bench.config.failures_in_row_max = 0;
    bench.config.success_percent_min = 0;
    bench.one_by_one(200, |name| match name {
        "fast" => (10, Verdict::Success),
        _ => (0, Verdict::Failure),
    });
    assert_eq!(bench.status("refuses").latency, None);
}

#[test]
fn an_avoided_endpoint_gets_calls_only_if_no_other_is_left() {
    let mut bench = Bench::new(&["a", "b"], 5);
    let first = bench.choose(&[]).unwrap();
    let avoided = Ended { verdict: Verdict::Neutral, avoided: ms(1000) };
    bench.endpoints.end_call(&first.call, avoided, bench.now, &bench.config);
    for _ in 0..100 {
        let next = bench.choose(&[]).unwrap();
        assert_ne!(next.name, first.name);
        bench.end_call(&next.call, Verdict::Success);
    }
    let other = bench.choose(&[]).unwrap();
    assert_eq!(bench.choose(&[other.call.id]).unwrap().name, first.name);
    bench.now += ms(1000);
    let names: Vec<_> = (0..20).map(|_| bench.choose(&[]).unwrap().name).collect();
    assert!(names.contains(&first.name));
}

#[test]
fn a_dead_endpoint_is_ejected_probed_and_comes_back() {
    let mut bench = Bench::new(&["a", "b", "dead"], 11);
    let dead = |name: &str| match name {
        "dead" => (1, Verdict::Failure),
        _ => (1, Verdict::Success),
    };
    let counts = bench.one_by_one(100, dead);
    assert_eq!(counts["dead"], 5);
    assert!(bench.status("dead").ejected_for.unwrap() > ms(29_000));
    bench.now += ms(30_000);
    assert_eq!(&*bench.choose(&[]).unwrap().name, "dead", "a probe");
    assert_ne!(&*bench.choose(&[]).unwrap().name, "dead", "one at a time");
    let mut bench = Bench::new(&["a", "b", "dead"], 11);
    bench.one_by_one(100, dead);
    bench.now += ms(30_000);
    let counts = bench.one_by_one(100, dead);
    assert_eq!(counts["dead"], 1);
    bench.now += ms(60_000);
    bench.one_by_one(1, |_| (1, Verdict::Success));
    bench.now += bench.config.slow_start;
    let counts = bench.one_by_one(300, |_| (1, Verdict::Success));
    assert!(counts["dead"] > 50, "{counts:?}");
    assert_eq!(bench.status("dead").ejected_for, None);
}

#[test]
fn ranked_endpoints_begin_with_the_cheapest_healthy_ones_and_end_with_the_ejected() {
    let mut bench = Bench::new(&["dead", "slow", "a", "b"], 11);
    let dead = |name: &str| match name {
        "dead" => (1, Verdict::Failure),
        _ => (1, Verdict::Success),
    };
    bench.one_by_one(100, dead);
    bench.one_by_one(100, |name| (if name == "slow" { 40 } else { 1 }, Verdict::Success));
    assert!(bench.status("dead").ejected_for.is_some());
    let mut firsts = BTreeMap::new();
    for _ in 0..100 {
        let ranked = bench.endpoints.ranked(bench.now, &bench.entropy, &bench.config);
        let mut name = |id: &u64| bench.endpoints.start(*id, bench.now).unwrap();
        let started: Vec<_> = ranked.iter().map(&mut name).collect();
        let names: Vec<_> = started.iter().map(|one| one.name.to_string()).collect();
        assert_eq!(names[2..], ["slow", "dead"]);
        *firsts.entry(names[0].clone()).or_insert(0) += 1;
        for one in started {
            bench.end_call(&one.call, Verdict::Neutral);
        }
    }
    assert!(firsts["a"] > 20 && firsts["b"] > 20, "{firsts:?}");
    bench.set(&["a"]);
    assert_eq!(bench.endpoints.ranked(bench.now, &bench.entropy, &bench.config).len(), 1);
    assert!(bench.endpoints.start(99, bench.now).is_none());
}

#[test]
fn never_more_than_half_are_ejected_and_calls_go_somewhere_if_all_fail() {
    for (names, most) in
        [(&["a"][..], 0), (&["a", "b"], 1), (&["a", "b", "c"], 1), (&["a", "b", "c", "d"], 2)]
    {
        let mut bench = Bench::new(names, 2);
        bench.one_by_one(500, |_| (1, Verdict::Failure));
        let all = bench.endpoints.statuses(bench.now, &bench.config);
        assert_eq!(all.iter().filter(|one| one.ejected_for.is_some()).count(), most, "{names:?}");
    }
}

#[test]
fn a_success_rate_ejects_only_next_to_another_endpoint_with_enough_calls() {
    let failing = std::cell::Cell::new(0);
    let third_fails = |name: &str| match name {
        "bad" => {
            failing.set(failing.get() + 1);
            (1, if failing.get() % 3 == 0 { Verdict::Failure } else { Verdict::Success })
        }
        _ => (1, Verdict::Success),
    };
    let mut bench = Bench::new(&["bad", "good"], 4);
    bench.one_by_one(400, third_fails);
    assert!(bench.status("bad").ejected_for.is_some());

    let mut bench = Bench::new(&["bad", "idle"], 4);
    for count in 1..400_u32 {
        // Calls that were moved away from the other endpoint, which gets no answer.
        let idle = bench.endpoints.slots[1].id;
        let call = bench.choose(&[idle]).unwrap().call;
        let verdict = if count % 3 == 0 { Verdict::Failure } else { Verdict::Success };
        bench.end_call(&call, verdict);
    }
    assert_eq!(bench.status("bad").ejected_for, None);
}

#[test]
fn a_deadline_shorter_than_calls_take_elsewhere_is_no_failure() {
    let mut bench = Bench::new(&["a", "b"], 6);
    bench.one_by_one(20, |_| (50, Verdict::Success));
    bench.one_by_one(200, |_| (10, Verdict::Late));
    let all = bench.endpoints.statuses(bench.now, &bench.config);
    assert!(all.iter().all(|one| one.ejected_for.is_none()), "{all:?}");
    bench.one_by_one(200, |_| (100, Verdict::Late));
    let all = bench.endpoints.statuses(bench.now, &bench.config);
    assert_eq!(all.iter().filter(|one| one.ejected_for.is_some()).count(), 1);
}

#[test]
fn a_late_call_is_a_reason_to_avoid_its_endpoint_only_if_it_is_a_failure() {
    let mut bench = Bench::new(&["a", "b"], 6);
    bench.one_by_one(20, |_| (50, Verdict::Success));
    let late = Ended { verdict: Verdict::Late, avoided: ms(1000) };
    for (took, is_avoided) in [(10, false), (100, true)] {
        let Chosen { call, .. } = bench.choose(&[]).unwrap();
        bench.now += ms(took);
        bench.endpoints.end_call(&call, late, bench.now, &bench.config);
        let mut slots = bench.endpoints.slots.iter();
        assert_eq!(slots.any(|slot| slot.avoided_until.is_some()), is_avoided, "{took} ms");
    }
}

#[test]
fn a_call_that_moves_uses_an_ejected_endpoint_only_as_the_last_resort() {
    let mut bench = Bench::new(&["up", "dead"], 6);
    bench.one_by_one(50, |name| match name {
        "dead" => (1, Verdict::Failure),
        _ => (1, Verdict::Success),
    });
    assert!(bench.status("dead").ejected_for.is_some());
    let up = bench.endpoints.slots[0].id;
    assert!(bench.choose_for(&[up], Ejected::Unused).is_none());
    assert_eq!(&*bench.choose_for(&[up], Ejected::LastResort).unwrap().name, "dead");
}

#[test]
fn calls_without_an_answer_are_no_latency_while_none_is_known() {
    let mut bench = Bench::new(&["a", "b"], 6);
    bench.one_by_one(10, |_| (0, Verdict::Neutral));
    bench.one_by_one(2, |_| (100, Verdict::Late));
    for name in ["a", "b"] {
        assert_eq!(bench.status(name).latency, None);
    }
}

#[test]
fn of_many_endpoints_without_data_each_gets_calls() {
    let names: Vec<String> = (0..64).map(|at| at.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut bench = Bench::new(&names, 6);
    let counts = bench.one_by_one(2000, |_| (5, Verdict::Neutral));
    assert_eq!(counts.len(), 64, "{counts:?}");
}

#[test]
fn a_name_that_is_kept_keeps_its_statistics_and_a_removed_endpoint_ends_its_calls() {
    let mut bench = Bench::new(&["a", "b"], 8);
    bench.one_by_one(20, |_| (10, Verdict::Success));
    let kept = bench.choose(&[bench.endpoints.slots[1].id]).unwrap();
    let removed = bench.choose(&[bench.endpoints.slots[0].id]).unwrap();
    bench.set(&["c", "a"]);
    assert_eq!(bench.status("a").in_flight, 1);
    assert_eq!(bench.status("a").latency, Some(ms(10)));
    bench.end_call(&removed.call, Verdict::Failure);
    bench.end_call(&kept.call, Verdict::Success);
    assert_eq!((bench.status("a").in_flight, bench.status("c").in_flight), (0, 0));
    bench.set(&[]);
    assert!(bench.choose(&[]).is_none());
}

/// One event: milliseconds since the last, whether a call starts, what becomes of one that runs.
fn events() -> impl Strategy<Value = Vec<(u64, bool, u8)>> {
    let pause = prop_oneof![8 => 0_u64..50, 1 => 0_u64..40_000];
    prop::collection::vec((pause, any::<bool>(), any::<u8>()), 0..600)
}

proptest! {
    /// Whatever happens: at most half are ejected, a call finds an endpoint that it has not tried,
    /// and the calls in flight are those that have not ended.
    #[test]
    fn the_limits_hold_over_any_schedule(events in events(), names in 1_usize..7, seed: u64) {
        let all = ["a", "b", "c", "d", "e", "f", "g"];
        let mut bench = Bench::new(&all[..names], seed);
        let mut running: Vec<Started> = Vec::new();
        for (pause, starts, fate) in events {
            bench.now += ms(pause);
            if starts || running.is_empty() {
                let ids: Vec<u64> = bench.endpoints.slots.iter().map(|slot| slot.id).collect();
                let tried = &ids[..usize::from(fate) % names];
                let chosen = bench.choose(tried).expect("one is untried");
                prop_assert!(!tried.contains(&chosen.call.id));
                running.push(chosen.call);
            } else {
                let call = running.swap_remove(usize::from(fate) % running.len());
                let verdict = match fate % 8 {
                    0..3 => Verdict::Success,
                    3..6 => Verdict::Failure,
                    6 => Verdict::Late,
                    _ => Verdict::Neutral,
                };
                bench.end_call(&call, verdict);
            }
            let statuses = bench.endpoints.statuses(bench.now, &bench.config);
            let ejected = statuses.iter().filter(|one| one.ejected_for.is_some()).count();
            prop_assert!(ejected * 2 <= names, "{ejected} of {names}");
            let in_flight: usize = statuses.iter().map(|one| one.in_flight).sum();
            prop_assert_eq!(in_flight, running.len());
        }
    }
}
