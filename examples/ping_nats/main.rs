//! The classic first programs over NATS: a responder that answers `service.ping` with `pong`, and
//! a requester that waits for it, two seconds at most.
//!
//! They need a NATS server; `cargo xtask fetch nats` gets one.
//!
//! * `cargo run --example ping_nats` starts a server and runs both in one process
//! * `cargo run --example ping_nats -- serve [URL]` answers until ctrl-c
//! * `cargo run --example ping_nats -- call [URL]` calls whoever answers `service.ping`

mod demo;

use std::io::Write as _;
use std::time::Duration;

use rr_core::{
    Context, Error, HandlerExt, Request, RequesterExt, Response, Router, connect, defaults, serve,
    shutdown_signal,
};
use rr_testkit::NatsServer;

/// Where a NATS server listens by default.
const URL: &str = "nats://127.0.0.1:4222";

async fn ping(_: Context, _: Request) -> Result<Response, Error> {
    Ok(Response::new("pong"))
}

/// The rest is for the peers that `cargo xtask interop` runs.
fn router() -> Router {
    Router::new().route("service.ping", ping.safe()).merge(demo::router())
}

async fn call(url: &str) -> Result<(), Error> {
    let client = connect(url).await?;
    let ctx = Context::background().with_timeout(Duration::from_secs(2));
    client.ready(&ctx).await?;
    let response = client.call_raw(&ctx, "service.ping", "ping").safe().await?;
    println!("{}", String::from_utf8_lossy(&response.body));
    Ok(())
}

async fn both() -> Result<(), Error> {
    let nats = match NatsServer::start().await {
        Ok(nats) => nats,
        Err(missing) => {
            eprintln!("{missing}");
            std::process::exit(1);
        }
    };
    let server = serve(&nats.url(), router()).await?;
    call(server.url()).await
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let (mode, url) = (args.next(), args.next());
    let url = url.as_deref().unwrap_or(URL);
    match mode.as_deref() {
        None => both().await,
        Some("serve") => {
            let server = serve(url, router()).await?;
            println!("serving {}", server.url());
            // Whoever started this process may be waiting for that line.
            let _ = std::io::stdout().flush();
            shutdown_signal().await;
            println!("{:?}", server.shutdown(defaults::DRAIN_GRACE).await);
            Ok(())
        }
        Some("call") => call(url).await,
        Some(other) => {
            eprintln!("unknown mode `{other}`: use `serve [URL]` or `call [URL]`");
            std::process::exit(2);
        }
    }
}
