//! The classic first programs over HTTP: a server that answers `/ping`, and a client that prints
//! the answer.
//!
//! * `cargo run --example ping_http` runs both in one process
//! * `cargo run --example ping_http -- serve [URL]` serves until ctrl-c; try `curl URL/ping`
//! * `cargo run --example ping_http -- call URL` calls any server that answers `/ping`

mod demo;

use std::io::Write as _;
use std::time::Duration;

use rr_core::{
    Context, Error, HandlerExt, Request, RequesterExt, Response, Router, connect, defaults, serve,
    shutdown_signal,
};

async fn ping(_: Context, _: Request) -> Result<Response, Error> {
    Ok(Response::new("Hello from the server!\n"))
}

/// `ping` is safe, so that GET runs it; the rest is for the peers that `cargo xtask interop` runs.
fn router() -> Router {
    Router::new().route("ping", ping.safe()).merge(demo::router())
}

async fn call(url: &str) -> Result<(), Error> {
    let client = connect(url).await?;
    let ctx = Context::background().with_timeout(Duration::from_secs(2));
    let response = client.call_raw(&ctx, "ping", "").safe().await?;
    print!("{}", String::from_utf8_lossy(&response.body));
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let (mode, url) = (args.next(), args.next());
    let url = url.as_deref().unwrap_or("http://127.0.0.1:0");
    match mode.as_deref() {
        None => {
            let server = serve(url, router()).await?;
            call(server.url()).await
        }
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
            eprintln!("unknown mode `{other}`: use `serve [URL]` or `call URL`");
            std::process::exit(2);
        }
    }
}
