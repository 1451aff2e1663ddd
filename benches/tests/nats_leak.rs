//! Calls that end early leave nothing behind: no slot, and no memory.

mod live;

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use live::grown;
use rr_benches_peers::counting::{self, Counting, live_bytes};
use rr_core::{Context, Error, Request, Requester, Response, Router, Target, serve};
use rr_nats::NatsRequester;
use rr_testkit::NatsServer;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Calls of a batch.
const BATCH: usize = 10_000;

/// Batches before those that are looked at: tables grow.
const WARM_UP: usize = 3;

const BATCHES: usize = 9;

const CONCURRENCY: usize = 50;

/// Most growth from the first third of the batches to the last, in bytes. A table may double once more; eight
/// bytes that every third call leaves behind are more.
const GROWTH_MAX: i64 = 128 * 1024;

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

#[tokio::test]
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
    many(&client, WARM_UP * BATCH).await;
    let mut live = Vec::new();
    for _ in 0..BATCHES {
        many(&client, BATCH).await;
        live.push(settle().await);
    }
    let grown = grown(&live);
    println!("grown by {grown} bytes; live after each batch: {live:?}");
    assert_eq!(client.nats_stats().in_flight, 0);
    assert!(grown <= GROWTH_MAX, "the live heap grew by {grown} bytes");
    Ok(())
}
