//! Speed and memory of explorations: many worlds of the example of two services, and of an
//! application of five with retries. Ends with status 1 if a bound is missed.

mod five;
#[allow(dead_code, reason = "the example also runs the mistake")]
#[path = "../../examples/every_world/shop.rs"]
mod shop;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use rr_benches_peers::counting::{self, Counting, live_bytes};
use rr_testkit::worlds::{Network, Worlds, WorldsReport};
use tokio::time::Instant;

/// Counts only while memory is measured.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Threads of each exploration: the bounds are for two cores.
const THREADS: usize = 2;

/// Worlds between which the growth of the live heap is measured. Both have five faults: the list of
/// these worlds is made before the first of them runs.
const EARLY: usize = 40_000;
const LATE: usize = 100_000;

/// Worlds up to one of these in each of which the heap is read; the least reading counts.
const READINGS: usize = 1_000;

/// Bytes of the live heap for each world: its faults in the list of worlds. A trace or a runtime that
/// is left behind takes kilobytes.
const LIVE_MAX: f64 = 128.0;

/// Bytes by which the live heap may grow with each world: none, but for the noise of the readings.
const GROWTH_MAX: f64 = 1.0;

/// Explores this number of worlds: the smallest.
fn explore<S: Future<Output = ()>>(
    worlds: usize,
    scenario: impl Fn(Network) -> S + Send + Sync + 'static,
) -> WorldsReport {
    Worlds::up_to(5).with_worlds_max(worlds).with_threads(THREADS).run(scenario)
}

/// Prints a figure and its bound; returns whether it is met.
fn told(name: &str, worlds: usize, figure: f64, bound: f64, unit: &str) -> bool {
    let is_met = figure <= bound;
    let mark = if is_met { "" } else { " MISSED" };
    println!("| {name} | {worlds} | {figure:.2} {unit} | {bound:.0} {unit}{mark} |");
    is_met
}

/// Measures the real time of an exploration that finds nothing.
fn timed<S: Future<Output = ()>>(
    name: &str,
    (worlds, bound): (usize, f64),
    scenario: impl Fn(Network) -> S + Send + Sync + 'static,
) -> bool {
    let began = Instant::now();
    let report = explore(worlds, scenario);
    let seconds = began.elapsed().as_secs_f64();
    assert!(report.has_passed() && report.explored() == worlds, "{report}");
    told(name, worlds, seconds, bound, "s")
}

fn one_order(network: Network) -> impl Future<Output = ()> {
    shop::one_order(network, shop::a_key_for_each_order)
}

/// Measures what the list of the worlds holds, and what the worlds leave behind.
fn held() -> bool {
    let least = Arc::new([AtomicI64::new(i64::MAX), AtomicI64::new(i64::MAX)]);
    let (read, begun) = (Arc::clone(&least), AtomicUsize::new(0));
    counting::start();
    let report = explore(LATE, move |network| {
        let world = begun.fetch_add(1, Ordering::Relaxed);
        for (least, end) in read.iter().zip([EARLY, LATE]) {
            if (end - READINGS..end).contains(&world) {
                least.fetch_min(live_bytes(), Ordering::Relaxed);
            }
        }
        one_order(network)
    });
    counting::stop();
    assert!(report.has_passed() && report.explored() == LATE, "{report}");
    let [early, late] = [0, 1].map(|at: usize| least[at].load(Ordering::Relaxed) as f64);
    let growth = (late - early) / (LATE - EARLY) as f64;
    let is_met = told("live heap per world", LATE, late / LATE as f64, LIVE_MAX, "B");
    told("growth per world after the first 40,000", LATE, growth, GROWTH_MAX, "B") && is_met
}

fn main() -> ExitCode {
    println!("| | worlds | measured | bound |\n|---|--:|--:|--:|");
    let are_met = [
        timed("two services", (10_000, 10.0), one_order),
        timed("five services with retries", (1_000, 5.0), five::one_request),
        held(),
    ];
    if are_met == [true; 3] { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
