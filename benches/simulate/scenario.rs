//! Scenarios: load and conditions over time.

use std::sync::Arc;
use std::time::Duration;

use rr_core::{Context, Error, Request, Requester, Responder, Response, async_trait};
use tokio::time::sleep;

use crate::load::{Ended, open_loop};
use crate::service::{Condition, Replica};
use crate::stacks::StackKind;

/// Workers of a replica and the mean time of their work: 640 calls per second.
const WORKERS: usize = 32;
const WORK: Duration = Duration::from_millis(50);

/// Calls per second that a replica can answer.
const CAPACITY: f64 = 640.0;

/// When the trouble begins, and how long a scenario lasts.
const BEGINS: Duration = Duration::from_secs(10);
const LASTS: Duration = Duration::from_secs(60);

/// Load and conditions over time.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    replicas: usize,
    /// Load without trouble, as a part of the capacity.
    used: f64,
    /// Services in a row: all but the last pass their calls to the next.
    tiers: usize,
    /// When the trouble ends.
    pub(crate) ends: Duration,
    /// Factor of the load during the trouble.
    load: f64,
    /// Condition of some replicas during the trouble.
    trouble: Option<(usize, Condition)>,
}

/// Outcome of a scenario.
pub(crate) struct Run {
    pub(crate) calls: Vec<Ended>,
    /// Requests that reached the last service during the trouble.
    pub(crate) runs_in_trouble: u64,
}

impl Scenario {
    pub(crate) fn all() -> Vec<Self> {
        let seconds = Duration::from_secs;
        let base = |name, about| Self {
            name,
            about,
            replicas: 1,
            used: 0.7,
            tiers: 1,
            ends: seconds(20),
            load: 1.0,
            trouble: None,
        };
        vec![
            Self { load: 2.0, ..base("double-load", "One service gets twice its load for 10 s.") },
            Self {
                replicas: 3,
                used: 0.5,
                ends: seconds(40),
                trouble: Some((1, Condition::Slow(20.0))),
                ..base("slow-replica", "One of three replicas takes 20 times longer for 30 s.")
            },
            Self {
                replicas: 3,
                used: 0.5,
                ends: seconds(40),
                trouble: Some((1, Condition::BlackHole)),
                ..base("black-hole", "One of three replicas answers nothing for 30 s.")
            },
            Self {
                trouble: Some((1, Condition::Dead)),
                tiers: 3,
                ..base("retry-storm", "The last of three services fails every call for 10 s.")
            },
            Self {
                trouble: Some((1, Condition::Slow(4.0))),
                ..base("cold-cache", "One service takes 4 times longer for 10 s.")
            },
        ]
    }

    /// Returns when the trouble begins.
    pub(crate) const fn begins() -> Duration {
        BEGINS
    }

    pub(crate) const fn lasts() -> Duration {
        LASTS
    }

    /// Returns the calls per second at a time.
    pub(crate) fn rate(&self, at: Duration) -> f64 {
        let is_trouble = at >= BEGINS && at < self.ends;
        let factor = if is_trouble { self.load } else { 1.0 };
        CAPACITY * self.used * self.replicas as f64 * factor
    }

    /// Runs the scenario on the current runtime, whose clock is paused.
    pub(crate) async fn run(&self, stack: StackKind) -> Run {
        let replicas: Vec<Replica> =
            (0..self.replicas).map(|at| Replica::new(at as u64, WORKERS, WORK)).collect();
        let served =
            |handler: Arc<dyn Responder>| -> Arc<dyn Requester> { Arc::new(stack.server(handler)) };
        let last = replicas.iter().map(|one| served(Arc::new(one.clone()))).collect();
        let mut client = stack.client(last);
        for _ in 1..self.tiers {
            client = stack.client(vec![served(Arc::new(Passes(client)))]);
        }
        let trouble = {
            let (trouble, ends) = (self.trouble, self.ends);
            tokio::spawn(async move {
                let (some, condition) = trouble.unwrap_or((0, Condition::Healthy));
                sleep(BEGINS).await;
                replicas.iter().take(some).for_each(|one| one.set(condition));
                let count = || replicas.iter().map(Replica::runs).sum::<u64>();
                let before = count();
                sleep(ends - BEGINS).await;
                replicas.iter().for_each(|one| one.set(Condition::Healthy));
                count() - before
            })
        };
        let calls = open_loop(client, &|at| self.rate(at), LASTS).await;
        let runs_in_trouble = trouble.await.unwrap_or_default();
        Run { calls, runs_in_trouble }
    }
}

/// Handler that passes each request to the next service.
struct Passes(Arc<dyn Requester>);

#[async_trait]
impl Responder for Passes {
    async fn respond(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        self.0.request(ctx, request).await
    }
}
