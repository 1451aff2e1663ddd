//! Whether gates are met.
//!
//! A ratio is judged at every cell that PERFORMANCE names, and met when the median over the rounds
//! of the ratio within a round reaches the gate at each of them. A budget is met when no figure is
//! over it. What has not been measured is not met.

use rr_benches_peers::drive::Driven;
use rr_benches_peers::statistics::{median, quantile};
use serde::Serialize;

use crate::gates::{Budget, Ratio, Subject};
use crate::layers::Cost;
use crate::options::Options;
use crate::plan;
use crate::results::{Group, Results, cpu, rate};

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    GoalReached,
    Met,
    NotMet,
    NotMeasured,
}

impl Outcome {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::GoalReached => "goal reached",
            Self::Met => "met",
            Self::NotMet => "NOT MET",
            Self::NotMeasured => "not measured",
        }
    }
}

/// One figure of a gate.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) at: String,
    pub(crate) value: f64,
    /// The quartiles of the rounds; of a figure without rounds, itself.
    pub(crate) quartiles: (f64, f64),
    /// Whether the gate is judged by it.
    pub(crate) judged: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) label: String,
    pub(crate) is_ratio: bool,
    pub(crate) gate: f64,
    pub(crate) goal: f64,
    pub(crate) figures: Vec<Figure>,
    pub(crate) outcome: Outcome,
}

impl Verdict {
    /// With fewer figures than are needed, a gate is not measured.
    fn new(
        label: String,
        is_ratio: bool,
        (gate, goal): (f64, f64),
        figures: Vec<Figure>,
        needed: usize,
    ) -> Self {
        let mut verdict =
            Self { label, is_ratio, gate, goal, figures, outcome: Outcome::NotMeasured };
        let measured = verdict.judged().filter(|figure| figure.value.is_finite()).count();
        if needed > 0 && measured >= needed && verdict.judged().count() == measured {
            verdict.outcome = verdict.of(verdict.worst().map_or(f64::NAN, |figure| figure.value));
        }
        verdict
    }

    fn judged(&self) -> impl Iterator<Item = &Figure> {
        self.figures.iter().filter(|figure| figure.judged)
    }

    /// The figure that decides.
    pub(crate) fn worst(&self) -> Option<&Figure> {
        let by_value = |one: &&Figure, other: &&Figure| one.value.total_cmp(&other.value);
        let judged = self.judged();
        if self.is_ratio { judged.min_by(by_value) } else { judged.max_by(by_value) }
    }

    /// What a figure by itself would mean.
    pub(crate) fn of(&self, value: f64) -> Outcome {
        let reaches = |bound| if self.is_ratio { value >= bound } else { value <= bound };
        match value {
            _ if value.is_nan() => Outcome::NotMeasured,
            _ if reaches(self.goal) => Outcome::GoalReached,
            _ if reaches(self.gate) => Outcome::Met,
            _ => Outcome::NotMet,
        }
    }

    pub(crate) fn is_met(&self) -> bool {
        matches!(self.outcome, Outcome::GoalReached | Outcome::Met)
    }
}

/// Judges everything that the options leave.
pub(crate) fn all(options: &Options, results: &Results) -> Vec<Verdict> {
    let ratios = plan::ratios(options).map(|gate| ratio(gate, results));
    let budgets = plan::budgets(options).map(|gate| budget(gate, results));
    ratios.chain(budgets).collect()
}

fn ratio(gate: &Ratio, results: &Results) -> Verdict {
    let mut figures = Vec::new();
    let mut needed = 0;
    for group in &results.groups {
        let place = &group.place;
        let judged = plan::is_judged(place);
        // One at a time, wall time is the machine's wake-ups: what counts there is CPU.
        let by_cpu = place.concurrency == 1;
        let ratios = if by_cpu {
            within_rounds(group, gate.theirs, gate.ours, cpu)
        } else {
            within_rounds(group, gate.ours, gate.theirs, rate)
        };
        let Some(ratios) = ratios else { continue };
        needed += usize::from(judged);
        figures.push(Figure {
            at: if by_cpu { format!("{place}, by CPU") } else { place.to_string() },
            value: median(&ratios),
            quartiles: (quantile(&ratios, 0.25), quantile(&ratios, 0.75)),
            judged,
        });
    }
    Verdict::new(gate.label(), true, (gate.gate, gate.goal), figures, needed)
}

/// The ratio of each round in which both were measured; `None` where they do not meet, or failed in
/// more than a quarter of the rounds.
fn within_rounds(
    group: &Group,
    above: &str,
    below: &str,
    of: fn(&Driven) -> f64,
) -> Option<Vec<f64>> {
    let row = |name| group.rows.iter().find(|row| row.peer == name);
    let pairs = row(above)?.rounds.iter().zip(&row(below)?.rounds);
    let planned = pairs.len();
    let ratios: Vec<f64> = pairs
        .filter_map(|(above, below)| Some(of(above.as_ref()?) / of(below.as_ref()?)))
        .collect();
    (ratios.len() * 4 >= planned * 3).then_some(ratios)
}

fn budget(gate: &Budget, results: &Results) -> Verdict {
    let layers = results.layers.as_ref();
    let costs = |pick: fn(&crate::layers::Layers) -> &Vec<Cost>, of: fn(&Cost) -> f64| {
        let costs = layers.map(pick).into_iter().flatten();
        costs.map(|cost| figure(cost.at.clone(), of(cost))).collect::<Vec<_>>()
    };
    let figures = match gate.subject {
        Subject::Allocations(peer) => {
            let counts = results.counts.iter().filter(|count| count.peer == peer);
            // A body of 64 KiB takes a few more reads, by chance.
            let counts = counts.filter(|count| count.place.body_bytes == 16);
            // Whole ones: the calls in flight at both ends of the span differ.
            counts.map(|count| figure(count.place.to_string(), count.allocations.round())).collect()
        }
        Subject::RecommendedNanos => costs(|layers| &layers.recommended, |cost| cost.nanos),
        Subject::OneMoreNanos => costs(|layers| &layers.one_more, |cost| cost.nanos),
        Subject::OneMoreAllocations => {
            costs(|layers| &layers.one_more, |cost| hundredths(cost.allocations))
        }
        Subject::DeadlineNanos => costs(|layers| &layers.deadline, |cost| cost.nanos),
        Subject::DeadlineAllocations => {
            costs(|layers| &layers.deadline, |cost| hundredths(cost.allocations))
        }
        Subject::Held(url, calls) => {
            let held = results.held.iter().filter(|(held, _)| *held == url);
            held.map(|&(_, bytes)| figure(format!("{calls} in flight, 1 KiB"), bytes)).collect()
        }
    };
    // Counted at one call and at 64.
    let needed = match gate.subject {
        Subject::Allocations(_) => 2,
        _ => figures.len().max(1),
    };
    Verdict::new(gate.label.to_owned(), false, (gate.gate, gate.goal), figures, needed)
}

fn figure(at: String, value: f64) -> Figure {
    Figure { at, value, quartiles: (value, value), judged: true }
}

/// A table that grew once in many calls is no allocation of a call.
fn hundredths(allocations: f64) -> f64 {
    (allocations * 100.0).round() / 100.0
}
