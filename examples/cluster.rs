//! Three servers behind one URL. One of them stops and comes back while calls continue: no call fails.
//!
//! `cargo run --example cluster`

use std::collections::BTreeMap;
use std::time::Duration;

use rr_core::{CallError, Client, Context, Error, RequesterExt, Router, Server, connect, serve};
use rr_core::{Stack, recommended};

/// Starts a server that answers with its name.
async fn start(name: &'static str, address: &str) -> Result<Server, Error> {
    serve(&format!("http://{address}"), router(name)).await
}

fn router(name: &'static str) -> Router {
    let who = move |(): ()| async move { Ok::<_, Error>(name.to_owned()) };
    Router::new().route("cluster.who", who)
}

/// Calls for a while, and prints how often each server answered.
async fn call(client: &Stack<Client>, what: &str) -> Result<(), CallError> {
    let mut answers: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..300 {
        let ctx = Context::background().with_timeout(Duration::from_secs(2));
        let name: String = client.call(&ctx, "cluster.who", &()).idempotent().await?;
        *answers.entry(name).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("{what}: {answers:?}");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), CallError> {
    let any = "127.0.0.1:0";
    let (anna, berta) = (start("anna", any).await?, start("berta", any).await?);
    let carla = start("carla", any).await?;
    let host = |server: &Server| server.url().replace("http://", "");
    let stopping = host(&berta);

    // Balances the calls, and tries again what is safe to try again.
    let url = format!("http://{},{stopping},{}", host(&anna), host(&carla));
    let client = recommended(connect(&url).await?);
    client.ready(&Context::background().with_timeout(Duration::from_secs(5))).await?;
    call(&client, "three servers").await?;

    berta.shutdown(Duration::from_secs(5)).await;
    call(&client, "berta has stopped").await?;

    let _berta = start("berta", &stopping).await?;
    call(&client, "berta is back").await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rr_testkit::worlds::{Fault, Network, Worlds};

    use super::*;

    /// Faults of a server that stops or dies. Its messages are not lost without a sign.
    const STOPPING: [Fault; 6] = [
        Fault::ConnectFails,
        Fault::Draining,
        Fault::BrokenAfter,
        Fault::BrokenWithin,
        Fault::Reset,
        Fault::Crashed,
    ];

    async fn calls(network: Network) {
        network.serve_instances("cluster", 3, || router("one of three"));
        let client = recommended(network.client("client", "cluster"));
        for call in 1..=4 {
            let ctx = Context::background().with_timeout(Duration::from_secs(2));
            let name = client.call::<String>(&ctx, "cluster.who", &()).idempotent().await;
            assert!(name.is_ok(), "call {call} failed: {name:?}");
        }
    }

    #[test]
    fn no_call_fails_whatever_two_servers_do_when_they_stop() {
        let report = Worlds::up_to(2).with_faults(STOPPING).run(calls);
        assert!(report.is_complete(), "{report}");
    }
}
