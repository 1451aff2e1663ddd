//! A bridge: HTTP in front, memory behind. The deadline and a cancellation cross it.
//!
//! `cargo run --example bridge`

use std::time::Duration;

use rr_core::{Context, Error, Forward, RequesterExt, Router, connect, serve};
use tokio::sync::mpsc;

/// Answers how many milliseconds the caller has left.
async fn left(ctx: Context, (): ()) -> Result<u128, Error> {
    Ok(ctx.remaining().unwrap_or_default().as_millis())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    // The backend: a handler that waits, and a witness that outlives it.
    let (witness, mut seen) = mpsc::unbounded_channel();
    let wait = move |ctx: Context, (): ()| {
        let (watched, witness) = (ctx.clone(), witness.clone());
        tokio::spawn(async move { witness.send(watched.cancelled().await) });
        async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok::<_, Error>(())
        }
    };
    let backend = serve(
        "memory://backend",
        Router::new().route("clock.left", left).route("clock.wait", wait),
    )
    .await?;

    // The bridge is one line: whatever comes in by HTTP goes on to the backend.
    let onward = Forward(connect(backend.url()).await?);
    let front = serve("http://127.0.0.1:0", Router::new().fallback(onward)).await?;
    let client = connect(front.url()).await?;
    println!("{} -> {}", front.url(), backend.url());

    let ctx = Context::background().with_timeout(Duration::from_secs(2));
    let millis: u64 = client.call(&ctx, "clock.left", &()).await?;
    println!("of 2000 ms, the handler behind the bridge had {millis} ms left");

    let (cancelled, handle) = ctx.child();
    let call = tokio::spawn(async move {
        client.call::<()>(&cancelled, "clock.wait", &()).await.map_err(Error::from)
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    handle.cancel();
    let outcome = call.await.expect("the call does not panic");
    println!("the caller cancelled: {}", outcome.expect_err("the call was cancelled"));
    let cause = seen.recv().await.expect("the witness is there as long as the backend");
    println!("the handler behind the bridge ended: {cause:?}");

    front.shutdown(Duration::from_secs(5)).await;
    backend.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
