//! Figures of a run, and their table.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;

use crate::load::Ended;
use crate::scenario::{Run, Scenario};
use crate::stacks::{Layers, StackKind};

/// Part of the offered calls that are answered once a service has recovered.
const RECOVERED: f64 = 0.95;

/// Seconds for which it must last.
const STEADY: usize = 3;

/// Figures of a scenario with one set of layers.
pub(crate) struct Figures {
    pub(crate) stack: StackKind,
    /// Answered calls of each second in which they began, as a part of the calls that began.
    pub(crate) goodput: Vec<f64>,
    pub(crate) before: Phase,
    pub(crate) trouble: Phase,
    /// Requests that reached the last service, for each call.
    pub(crate) amplification: f64,
    /// Seconds from the end of the trouble until nearly all calls are answered again.
    pub(crate) recovers: Option<usize>,
}

/// Calls that began in a part of the run.
pub(crate) struct Phase {
    pub(crate) goodput: f64,
    p50: Duration,
    pub(crate) p99: Duration,
    calls: usize,
}

impl Phase {
    pub(crate) fn of(calls: &[Ended], from: Duration, to: Duration) -> Self {
        let calls: Vec<_> = calls.iter().filter(|call| call.at >= from && call.at < to).collect();
        let mut took: Vec<_> =
            calls.iter().filter(|call| call.is_answered).map(|call| call.took).collect();
        took.sort_unstable();
        let quantile = |part: f64| {
            let at = (took.len() as f64 * part) as usize;
            took.get(at.min(took.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        Self {
            goodput: took.len() as f64 / calls.len().max(1) as f64,
            p50: quantile(0.5),
            p99: quantile(0.99),
            calls: calls.len(),
        }
    }
}

impl Figures {
    /// Runs a scenario, and measures it.
    pub(crate) fn of(scenario: &Scenario, stack: StackKind, seed: u64) -> Self {
        let Run { calls, runs_in_trouble } = run(scenario, stack.layers(), seed);
        let (begins, ends) = (Scenario::begins(), scenario.ends);
        let trouble = Phase::of(&calls, begins, ends);
        let second = Duration::from_secs;
        let goodput: Vec<f64> = (0..scenario.lasts.as_secs())
            .map(|at| Phase::of(&calls, second(at), second(at + 1)).goodput)
            .collect();
        let after = goodput.get(usize::try_from(ends.as_secs()).unwrap_or(0)..).unwrap_or_default();
        let recovers =
            after.windows(STEADY).position(|some| some.iter().all(|part| *part >= RECOVERED));
        Self {
            stack,
            before: Phase::of(&calls, second(2), begins),
            amplification: runs_in_trouble as f64 / trouble.calls.max(1) as f64,
            trouble,
            recovers,
            goodput,
        }
    }
}

/// Runs a scenario in virtual time.
pub(crate) fn run(scenario: &Scenario, layers: Layers, seed: u64) -> Run {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without IO needs no resource");
    runtime.block_on(scenario.run(layers, seed))
}

/// Does jobs on all processors; returns their results in the order of the jobs.
pub(crate) fn parallel<J: Sync, R: Send>(jobs: &[J], work: impl Fn(&J) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut done = thread::scope(|scope| {
        let worker = || {
            let mut done = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(job) = jobs.get(at) else { return done };
                done.push((at, work(job)));
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let joined = workers.into_iter().map(|one| one.join().expect("no job panics"));
        joined.flatten().collect::<Vec<_>>()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Returns the figures of a scenario as a table in Markdown.
pub(crate) fn table(scenario: &Scenario, figures: &[Figures]) -> String {
    let mut table = format!(
        "Trouble from {} s to {} s; each call has 1 s.\n\n\
         | layers | answered in trouble | p50 before | p50 | p99 before | p99 | runs per call | recovers after |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|\n",
        Scenario::begins().as_secs(),
        scenario.ends.as_secs()
    );
    for Figures { stack, before, trouble, amplification, recovers, .. } in figures {
        let recovers = recovers.map_or("never".to_owned(), |seconds| format!("{seconds} s"));
        let ms = |time: Duration| match time.is_zero() {
            true => "-".to_owned(),
            false => format!("{} ms", time.as_millis()),
        };
        let _ = writeln!(
            table,
            "| {} | {:.1} % | {} | {} | {} | {} | {amplification:.2} | {recovers} |",
            stack.name(),
            trouble.goodput * 100.0,
            ms(before.p50),
            ms(trouble.p50),
            ms(before.p99),
            ms(trouble.p99),
        );
    }
    table
}
