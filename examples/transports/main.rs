//! One application over every transport compiled in, and the same outcomes on each.
//!
//! `cargo run --example transports`

mod app;

use rr_core::{Error, connect, serve};

/// One URL per transport. This line is all that differs between them.
const URLS: [&str; 3] = ["memory://orders", "http://127.0.0.1:0", "http://127.0.0.1:0?version=h2c"];

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut all = Vec::new();
    for url in URLS {
        let server = serve(url, app::router()).await?;
        let client = connect(server.url()).await?;
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
    println!(
        "outcomes over {} transports are {}",
        all.len(),
        if equal { "equal" } else { "NOT equal" }
    );
    std::process::exit(i32::from(!equal));
}
