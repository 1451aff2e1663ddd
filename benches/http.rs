//! rr-http beside raw hyper with a hand-written pool and beside reqwest + axum, interleaved.
//!
//! `cargo bench --bench http --features peers`

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::{TokioIo, TokioTimer};
use rr_benches::{cpu_seconds, drive, median};
use rr_core::{Context, Request, Requester, Response, Router, Target, connect, serve};
use tokio::net::{TcpListener, TcpStream};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Call = Arc<dyn Fn(Bytes) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Interleaved rounds; the medians of ratios within a round are what is printed.
const ROUNDS: usize = 9;

/// Length of one cell.
const SPAN: Duration = Duration::from_millis(400);

async fn echo(_: Context, request: Request) -> Result<Response, rr_core::Error> {
    Ok(Response::new(request.body))
}

/// rr over `url`, as an application uses it.
async fn rr(url: &str) -> Result<Call, BoxError> {
    let server = serve(url, Router::new().route("bench.echo", echo)).await?;
    let client: Arc<dyn Requester> = Arc::new(connect(server.url()).await?);
    // The server lives as long as the bench.
    std::mem::forget(server);
    let target = Target::try_from("bench.echo")?;
    Ok(Arc::new(move |body| {
        let (client, target) = (Arc::clone(&client), target.clone());
        Box::pin(async move {
            let ctx = Context::background();
            let sent = body.len();
            let answer = client.request(&ctx, Request::new(target, body)).await;
            assert_eq!(answer.expect("the call is answered").body.len(), sent);
        })
    }))
}

async fn hyper_echo(
    request: hyper::Request<hyper::body::Incoming>,
) -> Result<hyper::Response<Full<Bytes>>, hyper::Error> {
    Ok(hyper::Response::new(Full::new(request.into_body().collect().await?.to_bytes())))
}

/// hyper's connection API on both sides, with the smallest pool that works.
async fn raw_hyper() -> Result<Call, BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new());
            let service = hyper::service::service_fn(hyper_echo);
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
        }
    });
    let pool: Arc<Mutex<Vec<SendRequest<Full<Bytes>>>>> = Arc::default();
    Ok(Arc::new(move |body| {
        let pool = Arc::clone(&pool);
        Box::pin(async move {
            let pooled = pool.lock().expect("no panic under the lock").pop();
            let mut sender = match pooled {
                Some(sender) => sender,
                None => open(address).await.expect("loopback accepts"),
            };
            sender.ready().await.expect("an idle connection stays");
            let sent = body.len();
            let request = hyper::Request::post("/bench/echo")
                .header("host", "bench")
                .body(Full::new(body))
                .expect("a valid request");
            let answer = sender.send_request(request).await.expect("the call is answered");
            let received = answer.into_body().collect().await.expect("the body arrives").to_bytes();
            assert_eq!(received.len(), sent);
            pool.lock().expect("no panic under the lock").push(sender);
        })
    }))
}

async fn open(address: std::net::SocketAddr) -> Result<SendRequest<Full<Bytes>>, BoxError> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// What most services are written with today.
async fn reqwest_axum() -> Result<Call, BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/bench/echo", listener.local_addr()?);
    let echo = axum::routing::post(|body: Bytes| async move { Ok::<_, Infallible>(body) });
    let app = axum::Router::new().route("/bench/echo", echo);
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        let _ = stream.set_nodelay(true);
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
    Ok(Arc::new(move |body| {
        let request = client.post(&url).body(body.clone());
        Box::pin(async move {
            let answer = request.send().await.expect("the call is answered");
            assert_eq!(answer.bytes().await.expect("the body arrives").len(), body.len());
        })
    }))
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), BoxError> {
    let contenders: Vec<(&str, Call)> = vec![
        ("rr-http h1", rr("http://127.0.0.1:0").await?),
        ("rr-http h2c", rr("http://127.0.0.1:0?version=h2c").await?),
        ("raw hyper h1", raw_hyper().await?),
        ("reqwest + axum", reqwest_axum().await?),
    ];
    for (size, concurrency) in [(16, 64), (16, 1), (64 * 1024, 64)] {
        let body = Bytes::from(vec![7; size]);
        let mut rates = vec![Vec::new(); contenders.len()];
        let mut cpus = rates.clone();
        // One round more than counted: the first warms the pools.
        for round in 0..=ROUNDS {
            for (at, (_, call)) in contenders.iter().enumerate() {
                let (call, body) = (Arc::clone(call), body.clone());
                let before = cpu_seconds();
                let rate = drive(concurrency, SPAN, move || call(body.clone())).await;
                if round > 0 {
                    rates[at].push(rate);
                    let calls = rate * SPAN.as_secs_f64();
                    cpus[at].push((cpu_seconds() - before) / calls * 1e6);
                }
            }
        }
        println!("\n{size} B, concurrency {concurrency}, {ROUNDS} rounds");
        for (at, (name, _)) in contenders.iter().enumerate() {
            let ratios = rates[0].iter().zip(&rates[at]).map(|(rr, other)| rr / other).collect();
            println!(
                "  {name:<16} {:>9.0} req/s   {:>6.1} us CPU per call   rr-http h1 is {:>5.2} of it",
                median(rates[at].clone()),
                median(cpus[at].clone()),
                median(ratios),
            );
        }
    }
    Ok(())
}
