//! An axum app that has a page and a service of rr on one port: called by a client of rr and by plain
//! HTTP, and drained together.
//!
//! * `cargo run --example axum_mount` serves, calls and stops in one run
//! * `cargo run --example axum_mount -- serve [ADDRESS]` serves until ctrl-c

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use axum::routing::get;
use rr_core::{
    Context, Error, HandlerExt as _, RequesterExt as _, Router, connect, defaults, shutdown_signal,
};
use rr_http::HttpService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

async fn page() -> &'static str {
    "a page of the app\n"
}

async fn greet(ctx: Context, name: String) -> Result<String, Error> {
    let caller = ctx.request().peer().and_then(|peer| peer.address());
    let caller = caller.map_or_else(|| "nowhere".to_owned(), |address| address.ip().to_string());
    Ok(format!("Hello, {name} at {caller}!"))
}

/// Takes longer than a caller of the page would wait.
async fn report(_: Context, _: ()) -> Result<String, Error> {
    tokio::time::sleep(Duration::from_millis(300)).await;
    Ok("the report".to_owned())
}

fn routes() -> Router {
    Router::new().route("greeter.greet", greet.safe()).route("greeter.report", report)
}

/// Passes the address of the caller on to the handlers of rr.
async fn address(
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> axum::response::Response {
    request.extensions_mut().insert(address);
    next.run(request).await
}

/// Serves the app until `signal`; then drains the service, and stops the app's server after it.
async fn serve(
    listener: TcpListener,
    signal: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let service: HttpService = rr_http::service(routes());
    let app = axum::Router::new()
        .route("/", get(page))
        .nest_service("/rr", service.clone())
        .layer(from_fn(address))
        .into_make_service_with_connect_info::<SocketAddr>();
    let drained = async move {
        signal.await;
        println!("{:?}", service.shutdown(defaults::DRAIN_GRACE).await);
    };
    axum::serve(listener, app).with_graceful_shutdown(drained).await
}

/// Sends one request without any library.
async fn plain(address: SocketAddr, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let head = "HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
    stream.write_all(request.replacen("HTTP/1.1\r\n", head, 1).as_bytes()).await?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await?;
    let (_, body) = reply.split_once("\r\n\r\n").unwrap_or_default();
    Ok(body.to_owned())
}

async fn demo(listener: TcpListener) -> Result<(), Box<dyn std::error::Error>> {
    let address = listener.local_addr()?;
    let stop = std::sync::Arc::new(Notify::new());
    let signal = std::sync::Arc::clone(&stop);
    let serving = tokio::spawn(serve(listener, async move { signal.notified().await }));

    print!("GET /                 {}", plain(address, "GET / HTTP/1.1\r\n\r\n").await?);
    let body = "\"Ada\"";
    let head = "POST /rr/greeter/greet HTTP/1.1\r\ncontent-type: application/json\r\n";
    let post = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    println!("POST /rr/greeter/greet {}", plain(address, &post).await?);

    let client = connect(&format!("http://{address}/rr")).await?;
    let ctx = Context::background().with_timeout(Duration::from_secs(5));
    let greeting: String = client.call(&ctx, "greeter.greet", "Grace").await?;
    println!("greeter.greet         {greeting}");

    // A call that is in flight when the drain begins is answered.
    let report = client.call::<String>(&ctx, "greeter.report", &());
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stop.notify_one();
    };
    let (report, ()) = tokio::join!(report, stopping);
    println!("greeter.report        {}", report?);
    serving.await??;
    let refused = client.call::<String>(&ctx, "greeter.greet", "Ada").await;
    println!("after the stop        {}", refused.err().map_or_else(String::new, |e| e.to_string()));
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        None => demo(TcpListener::bind("127.0.0.1:0").await?).await,
        Some("serve") => {
            let address = args.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
            let listener = TcpListener::bind(address).await?;
            println!("serving http://{}", listener.local_addr()?);
            Ok(serve(listener, shutdown_signal()).await?)
        }
        Some(other) => Err(format!("unknown mode `{other}`: use `serve [ADDRESS]`").into()),
    }
}
