//! Calls that end early leave nothing behind: no slot, and no memory.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rr_benches_peers::counting::{self, Counting, live_bytes};
use rr_core::{Context, Error, Request, Requester, Response, Router, Target, serve};
use rr_nats::NatsRequester;
use rr_testkit::NatsServer;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CALLS: usize = 100_000;

const CONCURRENCY: usize = 50;

/// How much more may be live at the end than after a tenth of the calls.
const GROWTH_MAX: i64 = 64 * 1024;

async fn echo(_: Context, request: Request) -> Result<Response, Error> {
    Ok(Response::new(request.body))
}

async fn hang(_: Context, _: Request) -> Result<Response, Error> {
    std::future::pending().await
}

async fn one(client: &NatsRequester, number: usize) {
    let request = |name| Request::new(Target::try_from(name).expect("a target"), "x");
    let ctx = Context::background().with_timeout(Duration::from_secs(5));
    match number % 4 {
        0 => drop(client.request(&ctx, request("svc.echo")).await.expect("it is answered")),
        1 => {
            let ctx = ctx.with_timeout(Duration::from_millis(1));
            drop(client.request(&ctx, request("svc.hang")).await.expect_err("it hangs"));
        }
        2 => drop(client.request(&ctx, request("svc.none")).await.expect_err("nobody answers")),
        _ => {
            let mut call = client.request(&ctx, request("svc.hang"));
            let once = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending()));
            assert!(once.await, "it hangs");
        }
    }
}

async fn many(client: &NatsRequester, calls: usize) {
    let workers: Vec<_> = (0..CONCURRENCY)
        .map(|worker| {
            let client = client.clone();
            tokio::spawn(async move {
                for number in 0..calls / CONCURRENCY {
                    one(&client, worker + number).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("no worker panics");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_calls_leave_no_slot_and_no_memory() -> Result<(), Error> {
    counting::start();
    let nats = NatsServer::start().await.expect("a nats-server starts");
    let router = Router::new().route("svc.echo", echo).route("svc.hang", hang);
    let server = Arc::new(serve(&nats.url(), router).await?);
    let client = NatsRequester::connect(&nats.url()).await?;
    client.ready(&Context::background()).await?;
    let settle = async || {
        while server.in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        live_bytes()
    };
    many(&client, CALLS / 10).await;
    let early = settle().await;
    many(&client, CALLS - CALLS / 10).await;
    let late = settle().await;
    println!("live heap: {early} B after a tenth, {late} B at the end");
    assert_eq!(client.stats().in_flight, 0);
    assert!(late - early < GROWTH_MAX, "grew by {} B", late - early);
    Ok(())
}
