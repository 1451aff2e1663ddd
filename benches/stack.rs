//! What layers around a requester cost: CPU time and allocations per call, one call at a time.
//!
//! `cargo bench --bench stack`

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rr_benches::counting::{Counting, allocations};
use rr_benches::median;
use rr_core::{
    Context, Error, Local, Middleware, Next, Request, Requester, Response, Router, Stack, Target,
    async_trait, connect, recommended, serve,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Interleaved rounds; the medians of differences within a round are what is printed.
const ROUNDS: usize = 21;

/// Calls of one cell: at least 50 ms, as the kernel counts a thread's time in steps of some ms.
const CALLS: u64 = 100_000;

/// Layers that do nothing, in a cell that has many: one more costs less than what chance does.
const MANY: usize = 9;

/// What PERFORMANCE allows over the bare call, in nanoseconds and allocations.
const RECOMMENDED_NANOS_MAX: f64 = 400.0;
const LAYER_NANOS_MAX: f64 = 60.0;
const LAYER_ALLOCATIONS_MAX: f64 = 1.0;

async fn echo(_: Context, request: Request) -> Result<Response, Error> {
    Ok(Response::new(request.body))
}

fn router() -> Router {
    Router::new().route("bench.echo", echo)
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

/// Nanoseconds of CPU that this thread, which is all of the runtime, has used.
fn cpu_nanos() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace().next().and_then(|field| field.parse().ok()).unwrap_or(f64::NAN)
}

/// Nanoseconds and allocations per call.
async fn cell(client: &Arc<dyn Requester>, ctx: &Context) -> (f64, f64) {
    let target = Target::try_from("bench.echo").expect("a valid target");
    let body = Bytes::from_static(&[7; 16]);
    let before = (cpu_nanos(), allocations());
    for _ in 0..CALLS {
        let request = Request::new(target.clone(), body.clone());
        let answer = client.request(ctx, request).await.expect("the call is answered");
        assert_eq!(answer.body.len(), 16);
    }
    let (nanos, allocated) = (cpu_nanos() - before.0, allocations() - before.1);
    (nanos / CALLS as f64, allocated as f64 / CALLS as f64)
}

/// A stack with this many layers that do nothing.
fn layers<R: Requester>(count: usize, client: R) -> Arc<dyn Requester> {
    let stack = (0..count).fold(Stack::new(client), |stack, _| stack.with(Pass));
    Arc::new(stack)
}

/// The median over the rounds of what the second costs more than the first.
fn over(rounds: &[Vec<(f64, f64)>], first: usize, second: usize) -> (f64, f64) {
    let of = |pick: fn(&(f64, f64)) -> f64| {
        let differences = rounds.iter().map(|cells| pick(&cells[second]) - pick(&cells[first]));
        median(differences.collect())
    };
    (of(|cell| cell.0), of(|cell| cell.1))
}

fn verdict(value: f64, gate: f64) -> &'static str {
    if value <= gate { "ok" } else { "OVER" }
}

async fn compare(
    transport: &str,
    ctx_name: &str,
    ctx: &Context,
    clients: &[Arc<dyn Requester>; 4],
) {
    const NAMES: [&str; 4] = ["bare", "one layer", "nine layers", "recommended"];
    let mut rounds = Vec::new();
    // One round more than counted: the first warms up.
    for round in 0..=ROUNDS {
        let mut cells = Vec::new();
        for client in clients {
            cells.push(cell(client, ctx).await);
        }
        if round > 0 {
            rounds.push(cells);
        }
    }
    println!("\n{transport}, {ctx_name}");
    for (at, name) in NAMES.iter().enumerate() {
        let nanos = median(rounds.iter().map(|cells| cells[at].0).collect());
        let allocated = median(rounds.iter().map(|cells| cells[at].1).collect());
        let (more, more_allocated) = over(&rounds, 0, at);
        println!(
            "  {name:<12} {nanos:>7.0} ns {allocated:>6.2} allocations   {more:>+6.0} ns {more_allocated:>+6.2} over bare"
        );
    }
    let (layers, layers_allocations) = over(&rounds, 1, 2);
    let more = (MANY - 1) as f64;
    let (layer, layer_allocations) = (layers / more, layers_allocations / more);
    let (stack, _) = over(&rounds, 0, 3);
    println!(
        "  one more layer: {layer:.0} ns ({}, at most {LAYER_NANOS_MAX:.0}), {layer_allocations:.2} allocations ({}, at most {LAYER_ALLOCATIONS_MAX:.0})",
        verdict(layer, LAYER_NANOS_MAX),
        verdict(layer_allocations, LAYER_ALLOCATIONS_MAX),
    );
    println!(
        "  recommended: {stack:.0} ns ({}, at most {RECOMMENDED_NANOS_MAX:.0})",
        verdict(stack, RECOMMENDED_NANOS_MAX)
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    println!("CPU and allocations per call, both sides, 16-byte body, {ROUNDS} rounds of {CALLS}");
    let local = Local::new(router());
    let server = serve("memory://bench", router()).await?;
    let memory = connect(server.url()).await?;
    let local: [Arc<dyn Requester>; 4] = [
        Arc::new(local.clone()),
        layers(1, local.clone()),
        layers(MANY, local.clone()),
        Arc::new(recommended(local)),
    ];
    let memory: [Arc<dyn Requester>; 4] = [
        Arc::new(memory.clone()),
        layers(1, memory.clone()),
        layers(MANY, memory.clone()),
        Arc::new(recommended(memory)),
    ];
    // An hour: longer than the bench.
    let bounded = Context::background().with_timeout(Duration::from_secs(3600));
    for (transport, clients) in [("Local", &local), ("memory", &memory)] {
        compare(transport, "the caller has a deadline", &bounded, clients).await;
        compare(transport, "the default deadline applies", &Context::background(), clients).await;
    }
    Ok(())
}
