//! rr-nats beside async-nats by itself, on one real nats-server, interleaved.
//!
//! `cargo bench --bench nats --features nats`

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::service::ServiceExt as _;
use async_nats::{Client, HeaderMap, Subscriber};
use bytes::Bytes;
use futures_core::Stream as _;
use rr_benches::counting::{Counting, allocations, live_bytes};
use rr_benches::{cpu_seconds, drive, median};
use rr_core::{Context, Request, Requester, Response, Router, Target, connect, serve};
use rr_testkit::NatsServer;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Call = Arc<dyn Fn(Bytes) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Interleaved rounds; the medians of ratios within a round are what is printed.
const ROUNDS: usize = 9;

/// Length of one cell.
const SPAN: Duration = Duration::from_millis(400);

async fn echo(_: Context, request: Request) -> Result<Response, rr_core::Error> {
    Ok(Response::new(request.body))
}

/// rr over NATS, as an application uses it.
async fn rr(url: &str, ctx: Context) -> Result<Call, BoxError> {
    let server = serve(url, Router::new().route("bench.echo", echo)).await?;
    let client = connect(server.url()).await?;
    client.ready(&Context::background()).await?;
    let client: Arc<dyn Requester> = Arc::new(client);
    // The server lives as long as the bench.
    std::mem::forget(server);
    let target = Target::try_from("bench.echo")?;
    Ok(Arc::new(move |body| {
        let (client, target, ctx) = (Arc::clone(&client), target.clone(), ctx.clone());
        Box::pin(async move {
            let sent = body.len();
            let answer = client.request(&ctx, Request::new(target, body)).await;
            assert_eq!(answer.expect("the call is answered").body.len(), sent);
        })
    }))
}

/// How a responder written by hand answers.
#[derive(Clone, Copy, PartialEq)]
enum Answer {
    InLoop,
    InLoopWithHeader,
    Spawned,
}

/// The client library's own request, answered by its own subscription.
async fn raw(url: &str, subject: &'static str, answer: Answer) -> Result<Call, BoxError> {
    let responder = async_nats::connect(url).await?;
    let subscriber = responder.queue_subscribe(subject, "q".to_owned()).await?;
    responder.flush().await?;
    tokio::spawn(respond(responder, subscriber, answer));
    let client = async_nats::connect(url).await?;
    Ok(Arc::new(move |body| {
        let client = client.clone();
        Box::pin(async move {
            let sent = body.len();
            let reply = if answer == Answer::InLoopWithHeader {
                client.request_with_headers(subject, header("t=10000"), body).await
            } else {
                client.request(subject, body).await
            };
            assert_eq!(reply.expect("the call is answered").payload.len(), sent);
        })
    }))
}

/// The client library's own service API, one request at a time as its documentation shows.
async fn service(url: &str) -> Result<Call, BoxError> {
    let responder = async_nats::connect(url).await?;
    let service = responder.service_builder().start("bench", "1.0.0").await?;
    let mut endpoint = service.endpoint("raw.service").await?;
    responder.flush().await?;
    tokio::spawn(async move {
        // The service ends when it is dropped.
        let _service = service;
        let mut next =
            async || std::future::poll_fn(|cx| Pin::new(&mut endpoint).poll_next(cx)).await;
        while let Some(request) = next().await {
            let body = request.message.payload.clone();
            let _ = request.respond(Ok(body)).await;
        }
    });
    let client = async_nats::connect(url).await?;
    Ok(Arc::new(move |body| {
        let client = client.clone();
        Box::pin(async move {
            let sent = body.len();
            let reply = client.request("raw.service", body).await;
            assert_eq!(reply.expect("the call is answered").payload.len(), sent);
        })
    }))
}

fn header(value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("rr", value);
    headers
}

async fn respond(client: Client, mut subscriber: Subscriber, answer: Answer) {
    let mut next =
        async || std::future::poll_fn(|cx| Pin::new(&mut subscriber).poll_next(cx)).await;
    while let Some(message) = next().await {
        let Some(reply) = message.reply else { continue };
        match answer {
            Answer::InLoop => drop(client.publish(reply, message.payload).await),
            Answer::InLoopWithHeader => {
                let _ = client.publish_with_headers(reply, header("ok"), message.payload).await;
            }
            Answer::Spawned => {
                let client = client.clone();
                tokio::spawn(async move { client.publish(reply, message.payload).await });
            }
        }
    }
}

async fn allocations_per_call(call: &Call) -> f64 {
    const CALLS: u64 = 2000;
    let body = Bytes::from_static(&[7; 16]);
    for _ in 0..100 {
        call(body.clone()).await;
    }
    let before = allocations();
    for _ in 0..CALLS {
        call(body.clone()).await;
    }
    (allocations() - before) as f64 / CALLS as f64
}

async fn hang(_: Context, _: Request) -> Result<Response, rr_core::Error> {
    std::future::pending().await
}

/// Bytes that a call holds while it waits for its handler, both sides together.
async fn held_per_call(url: &str) -> Result<f64, BoxError> {
    const CALLS: usize = 1000;
    let server = serve(url, Router::new().route("bench.hang", hang)).await?;
    let client = connect(server.url()).await?;
    client.ready(&Context::background()).await?;
    let before = live_bytes();
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                let ctx = Context::background();
                let request = Request::new(Target::try_from("bench.hang")?, "x");
                client.request(&ctx, request).await
            })
        })
        .collect();
    while server.in_flight() < CALLS {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let held = (live_bytes() - before) as f64 / CALLS as f64;
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(held)
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), BoxError> {
    let server = NatsServer::start().await?;
    let url = server.url();
    let contenders: Vec<(&str, Call)> = vec![
        ("rr, deadline", rr(&format!("{url}/a"), Context::background()).await?),
        ("rr, unbounded", rr(&format!("{url}/b"), Context::background().unbounded()).await?),
        ("raw, headers", raw(&url, "raw.headers", Answer::InLoopWithHeader).await?),
        ("raw, in loop", raw(&url, "raw.loop", Answer::InLoop).await?),
        ("raw, spawned", raw(&url, "raw.spawned", Answer::Spawned).await?),
        ("raw, service", service(&url).await?),
    ];
    println!("allocations per call, one at a time, both sides");
    for (name, call) in &contenders {
        println!("  {name:<14} {:>5.1}", allocations_per_call(call).await);
    }
    println!("held per call in flight: {:.0} B", held_per_call(&format!("{url}/c")).await?);
    for (size, concurrency) in [(16, 64), (16, 1), (64 * 1024, 64)] {
        let body = Bytes::from(vec![7; size]);
        let mut rates = vec![Vec::new(); contenders.len()];
        let mut cpus = rates.clone();
        // One round more than counted: the first warms up.
        for round in 0..=ROUNDS {
            for (at, (_, call)) in contenders.iter().enumerate() {
                let (call, body) = (Arc::clone(call), body.clone());
                let before = cpu_seconds();
                let rate = drive(concurrency, SPAN, move || call(body.clone())).await;
                if round > 0 {
                    rates[at].push(rate);
                    cpus[at].push((cpu_seconds() - before) / (rate * SPAN.as_secs_f64()) * 1e6);
                }
            }
        }
        println!("\n{size} B, concurrency {concurrency}, {ROUNDS} rounds");
        for (at, (name, _)) in contenders.iter().enumerate() {
            let of = |ours: usize| {
                let ratios = rates[ours].iter().zip(&rates[at]).map(|(rr, other)| rr / other);
                median(ratios.collect())
            };
            println!(
                "  {name:<14} {:>8.0} req/s  {:>6.1} us CPU  with a deadline {:>5.2} of it, without {:>5.2}",
                median(rates[at].clone()),
                median(cpus[at].clone()),
                of(0),
                of(1),
            );
        }
    }
    Ok(())
}
