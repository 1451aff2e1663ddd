//! A responder that fails in every way there is, and a requester that tries again where that is
//! safe. Each attempt is printed, and of each failed call why there was no further one.
//!
//! `cargo run --example resilience`, or with a URL: `http://127.0.0.1:0`, or `nats://127.0.0.1` where a
//! server runs

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rr_core::retry::{Retry, RetryConfig};
use rr_core::{
    CallError, Code, Context, Delivery, Error, HandlerExt, Middleware, Next, Reason, Request,
    RequesterExt, Response, Router, Stack, async_trait, connect, retry::RetryHint, serve,
};

/// Tells the first times from the others.
#[derive(Clone, Default)]
struct Times(Arc<AtomicU32>);

impl Times {
    fn is_within_first(&self, times: u32) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) < times
    }
}

/// Fails twice before it answers. The handler has run each time.
async fn stock(times: Times) -> Result<u32, Error> {
    if times.is_within_first(2) {
        return Err(Error::new(Code::Unavailable, "warming up"));
    }
    Ok(17)
}

/// Does not answer the first time.
async fn price(times: Times) -> Result<u32, Error> {
    if times.is_within_first(1) {
        std::future::pending::<()>().await;
    }
    Ok(250)
}

/// Is always exhausted, and says when to come back.
async fn report() -> Result<u32, Error> {
    let error = Error::new(Code::ResourceExhausted, "one report per hour");
    Err(error.with_retry(RetryHint::After(Duration::from_secs(200))))
}

async fn broken() -> Result<u32, Error> {
    Err(Error::new(Code::Unavailable, "the database is away"))
}

async fn cart() -> Result<u32, Error> {
    Ok(3)
}

/// Refuses the first request for the cart before its handler runs, as a server does that drains.
struct Refuse(Times);

#[async_trait]
impl Middleware for Refuse {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        if request.target == "shop.cart" && self.0.is_within_first(1) {
            let (code, reason) = (Code::Unavailable, Reason::DRAINING);
            return Err(Error::failure(code, Delivery::Rejected, reason, "shutting down"));
        }
        next.run(ctx, request).await
    }
}

/// A layer inside of the retries sees each attempt.
struct Print;

#[async_trait]
impl Middleware for Print {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        let outcome = next.run(ctx, request).await;
        let told = outcome.as_ref().map_or_else(Error::to_string, |_| "answered".into());
        println!("    after {} retries: {told}", ctx.retries());
        outcome
    }
}

fn shop() -> Router {
    let (stocked, ordered, priced) = (Times::default(), Times::default(), Times::default());
    Router::new()
        .route("shop.stock", (move |(): ()| stock(stocked.clone())).idempotent())
        .route("shop.order", move |(): ()| stock(ordered.clone()))
        .route("shop.price", (move |(): ()| price(priced.clone())).safe())
        .route("shop.report", (|(): ()| report()).safe())
        .route("shop.broken", (|(): ()| broken()).safe())
        .route("shop.cart", |(): ()| cart())
        .with(Refuse(Times::default()))
}

fn tell(outcome: Result<u32, CallError>) {
    match outcome {
        Ok(answer) => println!("  => {answer}\n"),
        Err(CallError::Rr(error)) => {
            println!("  => {}\n  hint: {}\n", error.report(), error.hint());
        }
        Err(error) => println!("  => {error}\n"),
    }
}

#[tokio::main]
async fn main() -> Result<(), CallError> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory://shop".into());
    let server = serve(&url, shop()).await?;

    let config = RetryConfig::default().with_attempt_timeout(Duration::from_millis(300));
    let retry = Retry::with_config(config);
    let budget = retry.budget().clone();
    let client = Stack::new(connect(server.url()).await?).with(retry).with(Print);
    let ctx = Context::background().with_timeout(Duration::from_secs(5));

    println!("an idempotent call to a handler that fails twice");
    tell(client.call(&ctx, "shop.stock", &()).idempotent().await);

    println!("the same failure, but the call must not run twice");
    tell(client.call(&ctx, "shop.order", &()).await);

    println!("a call that is refused before the handler runs: any call may be sent again");
    tell(client.call(&ctx, "shop.cart", &()).await);

    println!("no answer: the time for one attempt is up, that for the call is not");
    tell(client.call(&ctx, "shop.price", &()).safe().await);

    println!("told to come back later than the call may take");
    tell(client.call(&ctx, "shop.report", &()).safe().await);

    println!("a handler that fails for good");
    tell(client.call(&ctx, "shop.broken", &()).safe().await);

    println!("{} retries are left for all calls of the next ten seconds", budget.balance());
    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
