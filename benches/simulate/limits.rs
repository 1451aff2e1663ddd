//! Limits of calls in flight compared: fixed numbers, and those that adapt.

use std::fmt::Write as _;
use std::time::Duration;

use crate::report::{Phase, parallel, run};
use crate::scenario::Scenario;
use crate::stacks::{Layers, LimitKind, Server, StackKind};

/// Fixed limits of the table, and those of the check, which has less time. The last one stands for no limit.
pub(crate) const ALL: [usize; 10] = [8, 16, 24, 32, 48, 64, 96, 128, 256, usize::MAX];
pub(crate) const SOME: [usize; 5] = [32, 64, 128, 256, usize::MAX];

/// Time after the trouble that counts with it.
const AFTER: Duration = Duration::from_secs(10);

/// Outcome of a scenario with one limit.
struct Outcome {
    kind: LimitKind,
    phases: Vec<Phase>,
}

impl Outcome {
    /// Returns the answered part of the calls for each seed.
    fn goodput(&self) -> impl Iterator<Item = f64> {
        self.phases.iter().map(|phase| phase.goodput)
    }

    fn mean(&self) -> f64 {
        self.goodput().sum::<f64>() / self.phases.len() as f64
    }

    fn p99(&self) -> Duration {
        self.phases.iter().map(|phase| phase.p99).max().unwrap_or_default()
    }
}

/// Limits around the service of one scenario.
pub(crate) struct Comparison {
    name: &'static str,
    outcomes: Vec<Outcome>,
}

impl Comparison {
    /// Runs a scenario with each limit and each of the seeds.
    pub(crate) fn of(
        scenario: &Scenario,
        client: StackKind,
        fixed: &[usize],
        seeds: &[u64],
    ) -> Self {
        let kinds = fixed.iter().map(|calls| LimitKind::Fixed(*calls));
        let kinds: Vec<_> = kinds.chain([LimitKind::Adaptive, LimitKind::Additive]).collect();
        let jobs: Vec<_> =
            kinds.iter().flat_map(|kind| seeds.iter().map(move |seed| (*kind, *seed))).collect();
        let mut phases = parallel(&jobs, |(kind, seed)| {
            let layers = Layers { client, server: Server::Limit(*kind) };
            let calls = run(scenario, layers, *seed).calls;
            Phase::of(&calls, Scenario::begins(), scenario.ends + AFTER)
        })
        .into_iter();
        let outcomes = kinds
            .into_iter()
            .map(|kind| Outcome { kind, phases: phases.by_ref().take(seeds.len()).collect() })
            .collect();
        Self { name: scenario.name, outcomes }
    }

    fn best(&self) -> &Outcome {
        let fixed = self.outcomes.iter().filter(|one| matches!(one.kind, LimitKind::Fixed(_)));
        fixed.max_by(|a, b| a.mean().total_cmp(&b.mean())).expect("some fixed limits")
    }

    fn outcome(&self, kind: LimitKind) -> &Outcome {
        self.outcomes.iter().find(|one| one.kind == kind).expect("each limit has run")
    }

    /// Returns the goodput of a limit as a part of that of the best fixed one: the least of all
    /// seeds.
    pub(crate) fn ratio(&self, kind: LimitKind) -> f64 {
        let parts = self.outcome(kind).goodput().zip(self.best().goodput());
        parts.map(|(one, best)| one / best).fold(f64::INFINITY, f64::min)
    }
}

fn name(kind: LimitKind) -> String {
    match kind {
        LimitKind::Fixed(usize::MAX) => "none".to_owned(),
        LimitKind::Fixed(calls) => calls.to_string(),
        LimitKind::Adaptive => "adaptive".to_owned(),
        LimitKind::Additive => "additive".to_owned(),
    }
}

/// Returns the comparisons as a table in Markdown.
pub(crate) fn table(comparisons: &[Comparison]) -> String {
    let Some(first) = comparisons.first() else { return String::new() };
    let mut table = "| scenario |".to_owned();
    for outcome in &first.outcomes {
        let _ = write!(table, " {} |", name(outcome.kind));
    }
    table.push_str(" adaptive of the best | p99 of the best | p99 adaptive |\n|---|");
    table.push_str(&"--:|".repeat(first.outcomes.len() + 3));
    table.push('\n');
    for one in comparisons {
        let _ = write!(table, "| {} |", one.name);
        for outcome in &one.outcomes {
            let _ = write!(table, " {:.1} |", outcome.mean() * 100.0);
        }
        let _ = writeln!(
            table,
            " {:.2} | {} ms | {} ms |",
            one.ratio(LimitKind::Adaptive),
            one.best().p99().as_millis(),
            one.outcome(LimitKind::Adaptive).p99().as_millis()
        );
    }
    table
}
