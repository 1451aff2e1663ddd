//! Measuring, one child after another.

use std::time::Duration;

use rr_benches_peers::drive::Driven;
use rr_benches_peers::{Family, Result, Runs};
use rr_testkit::NatsServer;
use tokio::time::Instant;

use crate::cell::{Cell, Place, Task};
use crate::contenders::find;
use crate::gates::BROKER;
use crate::machine::Machine;
use crate::nats_go;
use crate::options::{Extent, Options};
use crate::plan::{Group, Plan};
use crate::process::{answer, ask, own};
use crate::results::{self, Count, Results, Row};

/// Measures all that the options leave.
pub(crate) async fn all(options: &Options) -> Result<Results> {
    let begin = Instant::now();
    let plan = Plan::new(options);
    let mut run = Run::new(options).await;
    let mut groups: Vec<_> = plan.groups.iter().map(empty).collect();
    let rounds = plan.groups.iter().map(|group| group.rounds).max().unwrap_or(0);
    for round in 0..rounds {
        eprintln!("{:>4} s: round {} of {rounds}", begin.elapsed().as_secs(), round + 1);
        for (group, result) in plan.groups.iter().zip(&mut groups) {
            if round < group.rounds {
                run.round(round, group, result).await;
            }
        }
    }
    eprintln!("{:>4} s: allocations, memory, layers", begin.elapsed().as_secs());
    let mut results = Results {
        machine: Machine { broker: run.broker_version(), ..Machine::here() },
        seconds: 0.0,
        groups,
        counts: Vec::new(),
        layers: None,
        held: Vec::new(),
        allocator_nanos: None,
        complaints: Vec::new(),
    };
    run.budgets(&plan, &mut results).await;
    results.complaints = run.complaints;
    results.seconds = begin.elapsed().as_secs_f64();
    Ok(results)
}

fn empty(group: &Group) -> results::Group {
    let row = |&peer| Row { peer, rounds: Vec::new() };
    results::Group {
        family: group.family.title(),
        place: group.place,
        rows: group.peers.iter().map(row).collect(),
    }
}

struct Run<'a> {
    options: &'a Options,
    broker: Option<NatsServer>,
    complaints: Vec<String>,
}

impl<'a> Run<'a> {
    async fn new(options: &'a Options) -> Self {
        let mut complaints = Vec::new();
        let broker = NatsServer::start().await;
        if let Err(error) = &broker {
            complaints.push(format!("NATS: {error}"));
        }
        Self { options, broker: broker.ok(), complaints }
    }

    /// One cell of each peer, one after the other. Each round begins with another one: the first
    /// finds the broker as another load has left it.
    async fn round(&mut self, round: usize, group: &Group, result: &mut results::Group) {
        let first = round % result.rows.len().max(1);
        let (last, begin) = result.rows.split_at_mut(first);
        for row in begin.iter_mut().chain(last) {
            let outcome = self.load(row.peer, group.place, group.span, false).await;
            row.rounds.push(self.kept(&format!("{}, {}", row.peer, group.place), outcome));
        }
    }

    /// Keeps an outcome, or the first complaint of its kind.
    fn kept<T>(&mut self, what: &str, outcome: Result<T>) -> Option<T> {
        outcome
            .inspect_err(|error| {
                let complaint = format!("{what}: {error}");
                if !self.complaints.contains(&complaint) {
                    self.complaints.push(complaint);
                }
            })
            .ok()
    }

    async fn load(&self, peer: &str, place: Place, span: Duration, counts: bool) -> Result<Driven> {
        let peer = find(peer)?;
        let broker = match (peer.family, &self.broker) {
            (Family::Nats, None) => return Err("there is no nats-server".into()),
            (Family::Nats, Some(broker)) => Some((broker.url(), broker_process()?)),
            _ => None,
        };
        let warm_up = self.options.warm_up();
        let cell = Cell { peer: peer.name.to_owned(), place, warm_up, span, counts, broker };
        let command = match peer.runs {
            Runs::Elsewhere => nats_go::command(&cell)?,
            _ => own(&Task::Load(cell))?,
        };
        answer(command, warm_up + span).await
    }

    async fn budgets(&mut self, plan: &Plan, results: &mut Results) {
        let quick = self.options.extent == Extent::Quick;
        for &(peer, place) in &plan.counts {
            let outcome = self.load(peer, place, Duration::from_millis(120), true).await;
            if let Some(driven) = self.kept(&format!("{peer}, allocations, {place}"), outcome) {
                let per_call = |sum: u64| sum as f64 / driven.calls as f64;
                let (allocations, bytes) =
                    (per_call(driven.allocations), per_call(driven.allocated));
                results.counts.push(Count { peer, place, allocations, bytes });
            }
        }
        for &(url, calls) in &plan.held {
            let outcome = self.held(url, calls).await;
            let bytes = self.kept(&format!("held over {url}"), outcome);
            results.held.extend(bytes.map(|bytes| (url, bytes)));
        }
        if plan.layers {
            let (calls, rounds) = if quick { (20_000, 9) } else { (100_000, 21) };
            let outcome = ask(&Task::Layers { calls, rounds }).await;
            results.layers = self.kept("layers", outcome);
        }
        let outcome = ask(&Task::AllocatorCost).await;
        results.allocator_nanos = self.kept("the allocator's own cost", outcome);
    }

    async fn held(&self, url: &str, calls: usize) -> Result<f64> {
        let url = match (url, &self.broker) {
            (BROKER, Some(broker)) => format!("{}/held", broker.url()),
            (BROKER, None) => return Err("there is no nats-server".into()),
            (url, _) => url.to_owned(),
        };
        ask(&Task::Held { url, calls }).await
    }

    /// What the broker says of itself.
    fn broker_version(&self) -> Option<String> {
        self.broker.as_ref()?;
        let process = broker_process().ok()?;
        let program = std::fs::read_link(format!("/proc/{process}/exe")).ok()?;
        let said = std::process::Command::new(program).arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&said.stdout).trim().replace(": v", " "))
    }
}

/// The broker is the only child that is alive between two cells.
fn broker_process() -> Result<u32> {
    let own = std::process::id().to_string();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Ok(process) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // After the name in parentheses come the state and the parent.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
        if parent == Some(own.as_str()) {
            return Ok(process);
        }
    }
    Err("the nats-server has no process".into())
}
