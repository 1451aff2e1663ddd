//! Scenarios: load and conditions over time.

use std::sync::Arc;
use std::time::Duration;

use rr_core::{Context, Error, Request, Requester, Responder, Response, async_trait};
use tokio::time::sleep;

use crate::load::{Ended, Load, open_loop};
use crate::service::{Condition, Replica, WORKERS, Work};
use crate::stacks::Layers;

/// When the trouble begins.
const BEGINS: Duration = Duration::from_secs(10);

/// Load and conditions over time.
#[derive(Clone)]
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
    pub(crate) lasts: Duration,
    /// Factor of the load during the trouble; for each equal part of it, if there are several.
    load: Vec<f64>,
    /// Calls that come in one instant when the trouble begins.
    burst: usize,
    work: Work,
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
            lasts: seconds(60),
            load: vec![1.0],
            burst: 0,
            work: Work::Exponential,
            trouble: None,
        };
        vec![
            Self {
                load: vec![2.0],
                ..base("double-load", "One service gets twice its load for 10 s.")
            },
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
            Self {
                ends: seconds(12),
                burst: 2000,
                ..base("thundering-reconnect", "2,000 calls come in one instant, besides the load.")
            },
            Self {
                used: 0.9,
                load: vec![2.0],
                ..base(
                    "recovery",
                    "One service at 90 % of its capacity gets twice its load for 10 s.",
                )
            },
        ]
    }

    /// Returns the scenarios in which limits are compared.
    pub(crate) fn of_limits() -> Vec<Self> {
        let mut all = Self::all();
        let mut of = |name: &str| {
            let at = all.iter().position(|one| one.name == name).expect("a scenario");
            Self {
                lasts: Duration::from_secs(30),
                ends: Duration::from_secs(20),
                ..all.swap_remove(at)
            }
        };
        let (double, cold, burst) =
            (of("double-load"), of("cold-cache"), of("thundering-reconnect"));
        let downstream = Self {
            name: "downstream",
            about: "Twice the load; the handlers wait for 50 ms besides, without a limit.",
            work: Work::Behind,
            ..double.clone()
        };
        let mixed = Self {
            name: "mixed-methods",
            about: "90 % of the calls take 5 ms and 10 % 200 ms; the load changes every 2.5 s.",
            work: Work::Mixed,
            used: 0.6,
            load: vec![2.0, 0.8, 3.3, 1.5],
            ..double.clone()
        };
        vec![double, cold, downstream, mixed, burst]
    }

    /// Returns when the trouble begins.
    pub(crate) const fn begins() -> Duration {
        BEGINS
    }

    /// Returns the calls per second at a time.
    fn rate(&self, at: Duration) -> f64 {
        let mut factor = 1.0;
        if at >= BEGINS && at < self.ends {
            let part = (at - BEGINS).as_secs_f64() / (self.ends - BEGINS).as_secs_f64();
            factor = self.load[(part * self.load.len() as f64) as usize];
        }
        let capacity = WORKERS as f64 / self.work.mean().as_secs_f64();
        capacity * self.used * self.replicas as f64 * factor
    }

    /// Runs the scenario on the current runtime, whose clock is paused.
    pub(crate) async fn run(&self, layers: Layers, seed: u64) -> Run {
        let replicas: Vec<Replica> = (0..self.replicas)
            .map(|at| Replica::new(seed_of(seed, 10 + at as u64), self.work))
            .collect();
        let served = |handler: Arc<dyn Responder>| -> Arc<dyn Requester> {
            Arc::new(layers.server.around(handler))
        };
        let last = replicas.iter().map(|one| served(Arc::new(one.clone()))).collect();
        let mut client = layers.client.client(last, seed);
        for _ in 1..self.tiers {
            client = layers.client.client(vec![served(Arc::new(Passes(client)))], seed);
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
        let load = Load {
            rate: &|at| self.rate(at),
            burst: (BEGINS, self.burst),
            lasts: self.lasts,
            seed: seed_of(seed, 1),
        };
        let calls = open_loop(client, load).await;
        let runs_in_trouble = trouble.await.unwrap_or_default();
        Run { calls, runs_in_trouble }
    }
}

/// Returns the seed of a part of a run.
pub(crate) const fn seed_of(run: u64, part: u64) -> u64 {
    run * 1000 + part
}

/// Handler that passes each request to the next service.
struct Passes(Arc<dyn Requester>);

#[async_trait]
impl Responder for Passes {
    async fn respond(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        self.0.request(ctx, request).await
    }
}
