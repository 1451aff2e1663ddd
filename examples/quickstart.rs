//! The quickstart: one service and one call, over the transport that the URL names.
//!
//! `cargo run --example quickstart` or `cargo run --example quickstart http://127.0.0.1:0`

use std::time::Duration;

use rr_core::{CallError, Context, Error, RequesterExt, Router, connect, serve};

async fn ping(name: String) -> Result<String, Error> {
    Ok(format!("pong, {name}"))
}

#[tokio::main]
async fn main() -> Result<(), CallError> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory://quickstart".into());
    let server = serve(&url, Router::new().route("service.ping", ping)).await?;

    let client = connect(server.url()).await?;
    let ctx = Context::background().with_timeout(Duration::from_secs(2));
    let pong: String = client.call(&ctx, "service.ping", "rr").await?;
    println!("{pong} (over {})", server.url());

    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
