//! A bridge: HTTP in front, NATS in between, memory behind. The deadline and a cancellation cross
//! all of it.
//!
//! `cargo run --example bridge`; without a NATS server to start, HTTP goes straight to memory.

use std::time::Duration;

use rr_core::{Context, Error, Forward, Requester, RequesterExt, Router, Server, connect, serve};
use rr_testkit::NatsServer;
use tokio::sync::mpsc;

/// Answers how many milliseconds the caller has left.
async fn left(ctx: Context, (): ()) -> Result<u128, Error> {
    Ok(ctx.remaining().unwrap_or_default().as_millis())
}

/// Serves a URL by calling on to another one.
async fn bridge(url: &str, onward: &str) -> Result<Server, Error> {
    let onward = connect(onward).await?;
    onward.ready(&Context::background()).await?;
    serve(url, forward(onward)).await
}

/// A bridge is one line: it passes every request on to the requester behind it.
fn forward(onward: impl Requester) -> Router {
    Router::new().fallback(Forward(onward))
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

    let nats = NatsServer::start().await;
    let mut hops = vec![backend];
    match &nats {
        // A fallback answers everything below the URL's prefix.
        Ok(nats) => hops.push(bridge(&format!("{}/bridged", nats.url()), hops[0].url()).await?),
        Err(missing) => println!("without NATS: {missing}"),
    }
    hops.push(bridge("http://127.0.0.1:0", hops[hops.len() - 1].url()).await?);
    hops.reverse();
    let client = connect(hops[0].url()).await?;
    println!("{}", hops.iter().map(|hop| hop.url().to_string()).collect::<Vec<_>>().join(" -> "));

    let ctx = Context::background().with_timeout(Duration::from_secs(2));
    let millis: u64 = client.call(&ctx, "clock.left", &()).await?;
    println!("of 2000 ms, the handler behind the bridges had {millis} ms left");

    let (cancelled, handle) = ctx.child();
    let call = tokio::spawn(async move {
        client.call::<()>(&cancelled, "clock.wait", &()).await.map_err(Error::from)
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    handle.cancel();
    let outcome = call.await.expect("the call does not panic");
    println!("the caller cancelled: {}", outcome.expect_err("the call was cancelled"));
    let cause = seen.recv().await.expect("the witness is there as long as the backend");
    println!("the handler behind the bridges ended: {cause:?}");

    for hop in hops {
        hop.shutdown(Duration::from_secs(5)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rr_testkit::worlds::{Fault, Network, Worlds};

    use super::*;

    /// Calls the backend over two bridges.
    async fn one_call(network: Network) {
        let runs = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&runs);
        network.serve("backend", move || {
            let counted = Arc::clone(&counted);
            Router::new().route("clock.left", move |ctx: Context, (): ()| {
                counted.fetch_add(1, Ordering::Relaxed);
                left(ctx, ())
            })
        });
        for (bridge, onward) in [("inner", "backend"), ("outer", "inner")] {
            let onward = network.client(bridge, onward);
            network.serve(bridge, move || forward(onward.clone()));
        }

        let client = network.client("client", "outer");
        let ctx = Context::background().with_timeout(Duration::from_secs(2));
        let outcome = client.call::<u64>(&ctx, "clock.left", &()).await.map_err(Error::from);
        network.settle(Duration::from_secs(60)).await;

        let runs = runs.load(Ordering::Relaxed);
        match outcome {
            Ok(millis) => assert!(runs > 0 && millis < 2000, "{millis} ms were left"),
            Err(error) if error.delivery().is_unexecuted() => {
                assert_eq!(
                    runs, 0,
                    "the backend ran, and the bridges say that it did not: {error}"
                );
            }
            Err(_) => {}
        }
    }

    #[test]
    fn no_bridge_denies_that_the_backend_ran_in_any_world() {
        // Of a request that arrives twice, one run may be refused while the other reaches the backend.
        let twice = [Fault::Duplicated, Fault::Repeated];
        let faults = Fault::ALL.into_iter().filter(|fault| !twice.contains(fault));
        let report = Worlds::up_to(2).with_faults(faults).run(one_call);
        assert!(report.is_complete(), "{report}");
    }
}
