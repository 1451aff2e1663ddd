//! Bounds that the layers of rr keep with every seed.

use crate::limits::{self, Comparison};
use crate::report::{Figures, parallel};
use crate::scenario::Scenario;
use crate::stacks::{LimitKind, StackKind};

/// Seeds of the runs.
const SEEDS: [u64; 3] = [0, 1, 2];

/// Seconds from the beginning of the trouble until errors are rare.
const AVOIDED: usize = 5;

/// Layers with a hedge and a small limit.
const RR: &[StackKind] = &[StackKind::Rr];

/// Those, and the layers that the library recommends to all.
const BOTH: &[StackKind] = &[StackKind::Rr, StackKind::Recommended];

/// Figure of one scenario that must not be above a bound.
struct Bound {
    scenario: &'static str,
    layers: &'static [StackKind],
    about: &'static str,
    most: f64,
    measure: fn(&Figures) -> f64,
}

const BOUNDS: [Bound; 6] = [
    Bound {
        scenario: "double-load",
        layers: BOTH,
        about: "seconds until 95 % of the calls are answered",
        most: 5.0,
        measure: |figures| figures.recovers.map_or(f64::INFINITY, |seconds| seconds as f64),
    },
    Bound {
        scenario: "slow-replica",
        layers: RR,
        about: "failed part of the calls",
        most: 0.01,
        measure: |figures| 1.0 - figures.trouble.goodput,
    },
    Bound {
        scenario: "slow-replica",
        layers: RR,
        about: "p99 as a multiple of that before",
        most: 2.0,
        measure: |figures| figures.trouble.p99.as_secs_f64() / figures.before.p99.as_secs_f64(),
    },
    Bound {
        scenario: "slow-replica",
        layers: RR,
        about: "requests per call",
        most: 1.015,
        measure: |figures| figures.amplification,
    },
    Bound {
        scenario: "black-hole",
        layers: RR,
        about: "failed part of the calls, in the worst second after 5 s",
        most: 0.01,
        measure: |figures| {
            let from = Scenario::begins().as_secs() as usize + AVOIDED;
            1.0 - figures.goodput[from..].iter().copied().fold(1.0, f64::min)
        },
    },
    Bound {
        scenario: "retry-storm",
        layers: BOTH,
        about: "requests per call",
        most: 1.3,
        measure: |figures| figures.amplification,
    },
];

/// Smallest goodput of the adaptive limit, as a part of that of the best fixed one.
const OF_BEST: f64 = 0.9;

/// The same with mixed methods, whose latencies vary most: each probe takes longer.
const OF_BEST_MIXED: f64 = 0.85;

/// Returns the larger figure. A run without a figure, such as one without calls, meets no bound.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// Prints each bound with the worst figure of all seeds; returns whether all are met.
pub(crate) fn check() -> bool {
    println!("| scenario | layers | figure | bound | measured | met |\n|---|---|---|--:|--:|---|");
    let mut is_met = true;
    let mut row = |scenario, layers, about, bound: String, measured: f64, met: bool| {
        let word = if met { "yes" } else { "no" };
        println!("| {scenario} | {layers} | {about} | {bound} | {measured:.3} | {word} |");
        is_met &= met;
    };
    for scenario in Scenario::all() {
        for layers in BOTH {
            let applies =
                |one: &&Bound| one.scenario == scenario.name && one.layers.contains(layers);
            let bounds: Vec<_> = BOUNDS.iter().filter(applies).collect();
            if bounds.is_empty() {
                continue;
            }
            let runs = parallel(&SEEDS, |seed| Figures::of(&scenario, *layers, *seed));
            for Bound { about, most, measure, .. } in bounds {
                let worst = runs.iter().map(measure).fold(0.0, worse);
                let bound = format!("<= {most}");
                row(scenario.name, layers.name(), *about, bound, worst, worst <= *most);
            }
        }
    }
    for scenario in Scenario::of_limits() {
        let compared = Comparison::of(&scenario, StackKind::Bare, &limits::SOME, &SEEDS);
        let ratio = compared.ratio(LimitKind::Adaptive);
        let about = "adaptive limit, as a part of the best fixed one";
        let least = if scenario.name == "mixed-methods" { OF_BEST_MIXED } else { OF_BEST };
        let layers = StackKind::Bare.name();
        row(scenario.name, layers, about, format!(">= {least}"), ratio, ratio >= least);
    }
    is_met
}
