//! One application over every transport compiled in, and the same outcomes on each.
//!
//! `cargo run --example transports`; it starts a nats-server if one is installed.

mod app;

use rr_core::{Error, connect, serve};
use rr_testkit::NatsServer;

/// One URL per transport. These lines are all that differs between them.
const URLS: [&str; 3] = ["memory://orders", "http://127.0.0.1:0", "http://127.0.0.1:0?version=h2c"];

#[tokio::main]
async fn main() -> Result<(), Error> {
    let nats = NatsServer::start().await;
    let mut urls = URLS.map(str::to_owned).to_vec();
    match &nats {
        Ok(server) => urls.push(server.url()),
        Err(missing) => println!("without NATS: {missing}\n"),
    }
    let mut all = Vec::new();
    for url in &urls {
        let server = serve(url, app::router()).await?;
        let client = connect(server.url()).await?;
        client.ready(&rr_core::Context::background()).await?;
        println!("{}", server.url());
        let outcomes = app::customer(&client).await;
        for outcome in &outcomes {
            println!("  {outcome}");
        }
        let report = server.shutdown(rr_core::defaults::DRAIN_GRACE).await;
        println!("  drained, {} aborted\n", report.aborted);
        all.push(outcomes);
    }
    let equal = all.iter().all(|outcomes| *outcomes == all[0]);
    let told = if equal { "equal" } else { "NOT equal" };
    println!("outcomes over {} transports are {told}", all.len());
    // Leaving the process by `exit` drops nothing, and the NATS server ends when it is dropped.
    drop(nats);
    std::process::exit(i32::from(!equal));
}
