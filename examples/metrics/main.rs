//! Metrics of both ends for Prometheus, served next to the app on a port of their own.
//!
//! * `cargo run --example metrics` serves, makes calls, prints the metrics and stops
//! * `cargo run --example metrics -- serve [ADDRESS]` serves the metrics at `http://ADDRESS/metrics`
//!   and makes calls until ctrl-c

#[cfg(test)]
mod dashboard;
mod overload;

use std::error::Error as StdError;
use std::fmt::Debug;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::routing::get;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use rr_core::config::ClientConfig;
use rr_core::observe::{MetricsObserver, Observers, names};
use rr_core::retry::{Retry, RetryBudgetConfig, RetryConfig};
use rr_core::{
    CallError, Code, Context, Error, Requester, RequesterExt as _, Router, Server, Stack, connect,
    connect_with, defaults, recommended, serve, shutdown_signal,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{interval, sleep};

/// Installs the recorder of the process, before anything is measured. The names are then those that
/// OpenTelemetry has for Prometheus, and the dashboard's.
fn install() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .with_recommended_naming(true)
        .set_buckets(&names::DURATION_BOUNDS)?
        .install_recorder()
}

/// Serves the metrics to Prometheus.
async fn serve_metrics(listener: TcpListener, handle: PrometheusHandle) -> io::Result<()> {
    let page = get({
        let handle = handle.clone();
        move || ready(handle.render())
    });
    tokio::select! {
        biased;
        served = axum::serve(listener, axum::Router::new().route("/metrics", page)) => served,
        () = upkeep(&handle) => Ok(()),
    }
}

/// Bounds the memory of the recorder while it is not scraped.
async fn upkeep(handle: &PrometheusHandle) {
    let mut ticks = interval(Duration::from_secs(5));
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}

/// The app: no line of it is about metrics.
fn orders() -> Router {
    let requests = AtomicU64::new(0);
    Router::new()
        .route("orders.place", async |item: String| {
            sleep(Duration::from_millis(3)).await;
            Ok::<_, Error>(format!("{item} is on its way"))
        })
        .route("orders.report", async |(): ()| {
            sleep(Duration::from_secs(1)).await;
            Ok::<_, Error>("sold out")
        })
        .route("orders.pay", async |ctx: Context, (): ()| match ctx.inbound_retries() {
            0 => Err(Error::new(Code::Unavailable, "the bank is closed")),
            _ => Ok("paid"),
        })
        .route("stock.find", move |item: String| {
            let is_slow = requests.fetch_add(1, Ordering::Relaxed) % 20 == 19;
            async move {
                sleep(Duration::from_millis(if is_slow { 1000 } else { 1 })).await;
                Ok::<_, Error>(format!("two packets of {item}"))
            }
        })
        .route("stock.fill", async |(): ()| {
            Err::<(), _>(Error::new(Code::Unavailable, "the warehouse is closed"))
        })
}

async fn serve_orders() -> Result<Server, Error> {
    serve("http://127.0.0.1:0", orders()).await
}

/// Returns a client whose calls have a budget of one retry each second. A stack that is not the
/// recommended one names its observers.
async fn frugal(url: &str) -> Result<impl Requester + use<>, Error> {
    let observers = Observers::new(MetricsObserver::new());
    let config = ClientConfig::default().with_observers(observers.clone());
    let client = connect_with(url, config).await?;
    let budget = RetryBudgetConfig::default().with_percent(0).with_floor_per_second(1);
    let config = RetryConfig::default().with_budget(budget.with_window(Duration::from_secs(1)));
    let retry = Retry::with_config(config).with_observers(observers.clone());
    Ok(Stack::new(client).with(retry).observed_by(observers))
}

/// Makes calls that succeed, fail, are tried again, and have no target.
async fn shop(client: &impl Requester, frugal: &impl Requester) {
    let ctx = Context::background().with_timeout(Duration::from_secs(5));
    for item in ["tea", "coffee", "cocoa"] {
        tell("orders.place", client.call::<String>(&ctx, "orders.place", item).await);
    }
    tell("orders.pay", client.call::<String>(&ctx, "orders.pay", &()).idempotent().await);
    // A body that does not decode, and a target that the server does not have.
    tell("orders.place", client.call::<String>(&ctx, "orders.place", &()).await);
    tell("orders.refund", client.call::<String>(&ctx, "orders.refund", &()).await);
    let hasty = ctx.with_timeout(Duration::from_millis(50));
    tell("orders.report", client.call::<String>(&hasty, "orders.report", &()).await);
    tell("stock.fill", frugal.call::<()>(&ctx, "stock.fill", &()).idempotent().await);
}

fn tell<T: Debug>(target: &str, outcome: Result<T, CallError>) {
    match outcome {
        Ok(reply) => println!("{target}: {reply:?}"),
        Err(error) => println!("{target}: {error}"),
    }
}

/// Gets the page that Prometheus gets.
async fn scrape(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await?;
    let (_, text) = reply.split_once("\r\n\r\n").unwrap_or_default();
    Ok(text.to_owned())
}

/// Serves both, makes the calls, and returns the metrics.
async fn demo(handle: PrometheusHandle) -> Result<String, Box<dyn StdError>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(serve_metrics(listener, handle));
    let server = serve_orders().await?;
    shop(&recommended(connect(server.url()).await?), &frugal(server.url()).await?).await;
    overload::calls(&server, serve_orders().await?).await?;
    let text = scrape(address).await?;
    serving.abort();
    server.shutdown(defaults::DRAIN_GRACE).await;
    Ok(text)
}

/// Makes the calls again and again.
async fn calls(server: &Server) -> Result<(), Error> {
    let url = server.url();
    let (client, frugal) = (recommended(connect(url).await?), frugal(url).await?);
    loop {
        shop(&client, &frugal).await;
        overload::calls(server, serve_orders().await?).await?;
        sleep(Duration::from_millis(50)).await;
    }
}

/// Serves both and makes calls until ctrl-c.
async fn run(address: &str) -> Result<(), Box<dyn StdError>> {
    let handle = install()?;
    let listener = TcpListener::bind(address).await?;
    println!("http://{}/metrics", listener.local_addr()?);
    let server = serve_orders().await?;
    tokio::select! {
        biased;
        () = shutdown_signal() => {}
        served = serve_metrics(listener, handle) => served?,
        called = calls(&server) => called?,
    }
    server.shutdown(defaults::DRAIN_GRACE).await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => run("127.0.0.1:9464").await,
        ["serve", address] => run(address).await,
        _ => {
            print!("\n{}", demo(install()?).await?);
            Ok(())
        }
    }
}
