//! Budgets of allocations per call on each path, both sides together. More fails; less is printed, and
//! belongs into the table.

use std::time::Duration;

use rr_benches_peers::counting::allocations;
use rr_core::{Context, Error, Request, Requester, RequesterExt as _, Response, Router};

/// Allocations of a call of 16 bytes, in a build with debug assertions.
///
/// NATS with a deadline is over what is aimed at, 14: all but four are the client library's own,
/// for a message with headers and three subjects.
const BUDGETS: [(&str, f64, f64); 15] = [
    ("Local", 3.0, SLACK),
    ("Local, default deadline", 3.0, SLACK),
    ("Local, empty stack", 3.0, SLACK),
    // The futures of the throttle and of the retries.
    ("Local, recommended", 5.0, SLACK),
    ("Local, balance over one", 3.0, SLACK),
    // The future of the choice.
    ("Local, balance over three", 4.0, SLACK),
    ("Local, typed", 9.0, SLACK),
    // The boxed future of the trait's method.
    ("Local, typed by a trait's client", 10.0, SLACK),
    // At the server as well.
    ("Local, typed by a trait's client and server", 11.0, SLACK),
    ("memory", 4.0, SLACK),
    ("memory, recommended", 6.0, SLACK),
    ("HTTP/1.1", 14.0, SLACK),
    // About every other call finds its connection's buffers empty: 19.2 on an idle machine, more or fewer on
    // a busy one. One allocation more is still outside.
    ("HTTP/2", 19.4, 0.4),
    ("NATS, deadline", 17.0, SLACK),
    ("NATS, unbounded", 6.0, SLACK),
];

/// Tolerance above a budget: a table that grows once in many calls, but no allocation of every
/// fourth call.
const SLACK: f64 = 0.2;

/// Calls that are not counted: pools fill, tables grow.
const WARM_UP: u64 = 1_000;

/// Calls of a batch. What grows once in many calls is in some batches and not in others.
const BATCH: u64 = 500;

const BATCHES: usize = 10;

async fn echo(_: Context, request: Request) -> Result<Response, Error> {
    Ok(Response::new(request.body))
}

/// What is served on every path.
pub fn router() -> Router {
    Router::new().route("bench.echo", echo)
}

/// A context whose deadline is the caller's own.
pub fn bounded() -> Context {
    Context::background().with_timeout(Duration::from_secs(600))
}

/// Counts a path and compares it with its budget; returns a complaint.
pub async fn check(path: &str, client: &dyn Requester, ctx: &Context) -> Option<String> {
    check_calls(path, async || {
        let answer = client.call_raw(ctx, "bench.echo", &[7_u8; 16][..]).await;
        assert_eq!(answer.expect("the call is answered").body.len(), 16);
    })
    .await
}

/// Counts calls and compares them with the budget of their path; returns a complaint.
pub async fn check_calls(path: &str, call: impl AsyncFn()) -> Option<String> {
    let budget = BUDGETS.iter().find(|(name, ..)| *name == path);
    let (_, budget, slack) = *budget.expect("every path has a budget");
    many(WARM_UP, &call).await;
    let mut least = u64::MAX;
    for _ in 0..BATCHES {
        let before = allocations();
        many(BATCH, &call).await;
        least = least.min(allocations() - before);
    }
    let per_call = least as f64 / BATCH as f64;
    let told = format!("{path}: {per_call:.2} allocations, {budget} in the budget");
    println!("{told}");
    if per_call < budget - slack {
        println!("{path}: LESS than its budget, which can be lowered in {}", file!());
    }
    (per_call > budget + slack).then_some(told)
}

async fn many(calls: u64, call: &impl AsyncFn()) {
    for _ in 0..calls {
        call().await;
    }
}
