//! What layers around a requester cost, one call at a time on one thread.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use rr_benches_peers::process::thread_cpu_nanos;
use rr_benches_peers::statistics::median;
use rr_benches_peers::{Result, counting};
use rr_core::{
    Context, Error, Local, Middleware, Next, Request, Requester, RequesterExt as _, Response,
    Router, Stack, async_trait, connect, recommended, serve,
};
use serde::{Deserialize, Serialize};

/// Layers that do nothing, in a cell that has many: one costs less than what chance does.
const MANY: usize = 9;

/// What something costs over the same without it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Cost {
    /// Where it was measured.
    pub(crate) at: String,
    pub(crate) nanos: f64,
    pub(crate) allocations: f64,
}

/// What layers cost.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Layers {
    /// The recommended stack over the bare call.
    pub(crate) recommended: Vec<Cost>,
    /// One layer over one fewer.
    pub(crate) one_more: Vec<Cost>,
    /// A deadline on a future that pends once.
    pub(crate) deadline: Vec<Cost>,
}

async fn echo(_: Context, request: Request) -> Result<Response, Error> {
    Ok(Response::new(request.body))
}

/// A layer that does nothing.
struct Pass;

#[async_trait]
impl Middleware for Pass {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        next.run(ctx, request).await
    }
}

/// Measures everything in so many rounds of so many calls.
pub(crate) fn measure(calls: u64, rounds: usize) -> Result<Layers> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let router = || Router::new().route("bench.echo", echo);
        let server = serve("memory://bench", router()).await?;
        let memory = clients(connect(server.url()).await?);
        let local = clients(Local::new(router()));
        // An hour: longer than this takes.
        let bounded = Context::background().with_timeout(Duration::from_secs(3600));
        let mut layers = Layers::default();
        for (transport, clients) in [("Local", &local), ("memory", &memory)] {
            for (deadline, ctx) in [("own", &bounded), ("default", &Context::background())] {
                let at = format!("{transport}, {deadline} deadline");
                stacks(&at, clients, ctx, calls, rounds, &mut layers).await;
            }
        }
        layers.deadline.push(deadline(&bounded, calls, rounds).await);
        Ok(layers)
    })
}

/// Bare, with one layer, with many, and with the recommended stack.
fn clients<R: Requester + Clone>(bare: R) -> [Arc<dyn Requester>; 4] {
    let layers = |count| -> Arc<dyn Requester> {
        Arc::new((0..count).fold(Stack::new(bare.clone()), |stack, _| stack.with(Pass)))
    };
    [Arc::new(bare.clone()), layers(1), layers(MANY), Arc::new(recommended(bare.clone()))]
}

async fn stacks(
    at: &str,
    clients: &[Arc<dyn Requester>; 4],
    ctx: &Context,
    calls: u64,
    rounds: usize,
    layers: &mut Layers,
) {
    let (mut recommended, mut one_more) = (Differences::default(), Differences::default());
    for round in 0..=rounds {
        let mut cells = [Spent::default(); 4];
        let counts = Counts::in_first(round);
        for (cell, client) in cells.iter_mut().zip(clients) {
            *cell = spend(calls, async || {
                let body = Bytes::from_static(&[7; 16]);
                let answer = client.call_raw(ctx, "bench.echo", body).await;
                assert_eq!(answer.expect("the call is answered").body.len(), 16);
            })
            .await;
        }
        drop(counts);
        one_more.add(round, &cells[1], &cells[2], (MANY - 1) as f64);
        recommended.add(round, &cells[0], &cells[3], 1.0);
    }
    layers.recommended.push(recommended.cost(at));
    layers.one_more.push(one_more.cost(at));
}

/// The same future raced against a context without a deadline and against one with it.
async fn deadline(bounded: &Context, calls: u64, rounds: usize) -> Cost {
    let unbounded = Context::background().unbounded();
    let mut differences = Differences::default();
    for round in 0..=rounds {
        let mut cells = [Spent::default(); 2];
        let counts = Counts::in_first(round);
        for (cell, ctx) in cells.iter_mut().zip([&unbounded, bounded]) {
            *cell = spend(calls, async || {
                let outcome = ctx.race(pending_once()).await;
                assert!(outcome.is_ok(), "an hour has not passed");
            })
            .await;
        }
        drop(counts);
        differences.add(round, &cells[0], &cells[1], 1.0);
    }
    differences.cost("Context::race")
}

/// Is ready when it is polled for the second time.
async fn pending_once() {
    let mut polled = false;
    poll_fn(|cx| {
        if polled {
            return Poll::Ready(());
        }
        polled = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// CPU and allocations of one call.
#[derive(Clone, Copy, Default)]
struct Spent {
    nanos: f64,
    allocations: f64,
}

async fn spend(calls: u64, call: impl AsyncFn()) -> Spent {
    let before = (thread_cpu_nanos(), counting::allocations());
    for _ in 0..calls {
        call().await;
    }
    let per_call = |now: u64, then: u64| (now - then) as f64 / calls as f64;
    Spent {
        nanos: per_call(thread_cpu_nanos(), before.0),
        allocations: per_call(counting::allocations(), before.1),
    }
}

/// The first round warms up and counts allocations, the others measure time.
struct Counts;

impl Counts {
    fn in_first(round: usize) -> Option<Self> {
        (round == 0).then(|| {
            counting::start();
            Self
        })
    }
}

impl Drop for Counts {
    fn drop(&mut self) {
        counting::stop();
    }
}

/// What one costs more than another.
#[derive(Default)]
struct Differences {
    nanos: Vec<f64>,
    allocations: f64,
}

impl Differences {
    fn add(&mut self, round: usize, less: &Spent, more: &Spent, steps: f64) {
        if round == 0 {
            // A thousandth less than none is none.
            self.allocations = ((more.allocations - less.allocations) / steps).max(0.0);
        } else {
            self.nanos.push((more.nanos - less.nanos) / steps);
        }
    }

    fn cost(&self, at: &str) -> Cost {
        Cost { at: at.to_owned(), nanos: median(&self.nanos), allocations: self.allocations }
    }
}
