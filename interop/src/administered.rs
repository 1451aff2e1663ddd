//! A server with the admin page, on which calls have failed and others are in flight, for the check in
//! `tests/interop/browser.rs`: `administered URL`.

use std::future::pending;
use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;

use rr_core::admin::Admin;
use rr_core::config::{ClientConfig, ServerConfig};
use rr_core::{
    Code, Context, Error, Request, Requester, RequesterExt as _, Response, Router, Stack,
    connect_with, recommended_with, serve_with, shutdown_signal,
};

/// Ends elements and attributes where text is not escaped, and would run where scripts are.
const HOSTILE: &str = "\"'><script>document.title='hacked'</script><img src=x onerror=alert(1)>";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let url = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:0".to_owned());
    match serve(&url).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(url: &str) -> Result<(), Error> {
    let admin = Admin::new();
    let router = Router::new()
        .route("orders.find", answer)
        .route("orders.place", hang)
        .route("orders.cancel", refuse)
        .route("orders.print", panic)
        .route("inventory.v1.warehouses.reserve-the-whole-shelf", hang)
        .merge(admin.router());
    let config = ServerConfig::default().with_observers(admin.observers());
    let server = serve_with(url, router, config).await?;
    admin.watch_server(&server);
    let client = connected(server.url(), "orders", &admin).await?;
    fail(&client, &admin).await?;
    let ctx = Context::background().with_request_id(HOSTILE)?;
    let ctx = ctx.with_timeout(Duration::from_secs(240));
    let hangs = ["orders.place", "inventory.v1.warehouses.reserve-the-whole-shelf"];
    let calls = hangs.map(|target| client.call_raw(&ctx, target, "one"));
    println!("serving {}", server.url());
    let [first, second] = calls.map(IntoFuture::into_future);
    tokio::select! {
        biased;
        () = shutdown_signal() => {}
        _ = first => {}
        _ = second => {}
    }
    Ok(())
}

async fn connected(url: &str, name: &str, admin: &Admin) -> Result<Stack<impl Requester>, Error> {
    let config = ClientConfig::default().with_observers(admin.observers());
    let client = connect_with(url, config).await?;
    admin.watch_client(name, &client);
    Ok(recommended_with(client, admin.observers()))
}

/// Makes calls that fail in different ways, and one that succeeds.
async fn fail(client: &impl Requester, admin: &Admin) -> Result<(), Error> {
    let ctx = Context::background().with_request_id(HOSTILE)?;
    client.call_raw(&ctx, "orders.find", "seven").await?;
    for target in ["orders.cancel", "orders.print", "orders.unknown"] {
        let _ = client.call_raw(&ctx, target, "seven").await;
    }
    let short = ctx.with_timeout(Duration::from_millis(300));
    let _ = client.call_raw(&short, "orders.place", "seven").await;
    // The listener never answers: it is bound and not accepted from.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| Ok((listener.local_addr()?, listener)));
    if let Ok((address, _listener)) = silent {
        let silent = connected(&format!("http://{address}"), "silent", admin).await?;
        let short = ctx.with_timeout(Duration::from_millis(400));
        let _ = silent.call_raw(&short, "billing.v2.charge", "seven").await;
    }
    let away = connected("http://127.0.0.1:1", "away", admin).await?;
    let _ = away.call_raw(&ctx, "billing.v2.refund", "seven").idempotent().await;
    Ok(())
}

async fn answer(_: Context, request: Request) -> Result<Response, Error> {
    Ok(Response::new(request.body))
}

async fn hang(_: Context, _: Request) -> Result<Response, Error> {
    pending().await
}

async fn refuse(_: Context, _: Request) -> Result<Response, Error> {
    Err(Error::new(Code::FailedPrecondition, format!("order seven is shipped {HOSTILE}")))
}

async fn panic(_: Context, _: Request) -> Result<Response, Error> {
    panic!("the printer is on fire")
}
