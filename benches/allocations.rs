//! Allocations and bytes per call, both sides together.
//!
//! `cargo bench --bench allocations`

use std::sync::Arc;

use bytes::Bytes;
use rr_benches::counting::{Counting, allocated_bytes, allocations};
use rr_core::{
    Context, Error, Local, Request, Requester, RequesterExt, Response, Router, Stack, Target,
    connect, serve,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Calls that are not counted: pools fill, tables grow.
const WARM_UP: u64 = 500;

/// Calls that are counted.
const COUNTED: u64 = 2_000;

async fn echo(_: Context, request: Request) -> Result<Response, Error> {
    Ok(Response::new(request.body))
}

async fn double(n: u32) -> Result<u32, Error> {
    Ok(n * 2)
}

fn router() -> Router {
    Router::new().route("bench.echo", echo).route("bench.double", double)
}

async fn count(name: &str, client: &Arc<dyn Requester>) {
    let ctx = Context::background().with_timeout(std::time::Duration::from_secs(60));
    let target = Target::try_from("bench.echo").expect("a valid target");
    let body = Bytes::from_static(&[7; 16]);
    let (mut counted, mut bytes) = ([0; 2], 0);
    for (at, typed) in [false, true].into_iter().enumerate() {
        let mut before = (0, 0);
        for n in 0..WARM_UP + COUNTED {
            if n == WARM_UP {
                before = (allocations(), allocated_bytes());
            }
            if typed {
                let answer = client.call::<u32>(&ctx, "bench.double", &21).await;
                assert_eq!(answer.expect("the call is answered"), 42);
            } else {
                let request = Request::new(target.clone(), body.clone());
                let answer = client.request(&ctx, request).await.expect("the call is answered");
                assert_eq!(answer.body.len(), 16);
            }
        }
        counted[at] = allocations() - before.0;
        bytes = allocated_bytes() - before.1;
    }
    let per_call = |n: u64| n as f64 / COUNTED as f64;
    let bytes = per_call(bytes);
    println!(
        "{name:<28} {:>6.2} raw   {:>6.2} typed   {bytes:>8.0} B typed",
        per_call(counted[0]),
        per_call(counted[1]),
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    println!("allocations per call, both sides, 16-byte body");
    let local: Arc<dyn Requester> = Arc::new(Local::new(router()));
    count("Local", &local).await;
    let stacked: Arc<dyn Requester> = Arc::new(Stack::new(Local::new(router())));
    count("Local in an empty stack", &stacked).await;
    for (name, url) in [
        ("memory", "memory://bench"),
        ("http/1.1", "http://127.0.0.1:0"),
        ("h2c", "http://127.0.0.1:0?version=h2c"),
    ] {
        let server = serve(url, router()).await?;
        let client: Arc<dyn Requester> = Arc::new(connect(server.url()).await?);
        count(name, &client).await;
    }
    Ok(())
}
