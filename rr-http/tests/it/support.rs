//! What the tests share: handlers, servers, raw sockets.
#![allow(dead_code, missing_docs, missing_debug_implementations, unreachable_pub)]
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rr_http::{HttpServerConfig, HttpServerStats, serve_with_stats};
use rr_spi::{
    BoxFuture, Cause, Code, Context, Declared, Delivery, Error, Headers, Request, Responder,
    Response, Route, Routes, Server, async_trait,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What a handler saw: when it began, and why it ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    Began,
    Cancelled(Cause),
    Dropped,
}

/// A handler that says what it sees and does what its target asks for.
pub struct Probe {
    pub seen: mpsc::UnboundedSender<Seen>,
    pub runs: Arc<AtomicUsize>,
}

/// Tells when a handler's future was dropped, and what its context said then.
struct OnDrop(mpsc::UnboundedSender<Seen>, Context);

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(cause) = self.1.cause() {
            let _ = self.0.send(Seen::Cancelled(cause));
        }
        let _ = self.0.send(Seen::Dropped);
    }
}

#[async_trait]
impl Responder for Probe {
    async fn respond(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        match request.target.method() {
            "echo" | "safe" => {
                let mut headers = Headers::new();
                for (name, value) in request.headers.iter().filter(|(n, _)| n.starts_with("x-")) {
                    if Headers::is_binary_name(name) {
                        headers.append_bin(name.to_owned(), value.clone())?;
                    } else {
                        let value = String::from_utf8(value.to_vec()).unwrap();
                        headers.append(name.to_owned(), value)?;
                    }
                }
                Ok(Response::new(request.body).with_headers(headers))
            }
            "headers" => Ok(Response::new(format!("{:?}", request.headers))),
            "context" => Ok(Response::new(format!(
                "{} {:?} {:?} {:?} {}",
                ctx.inbound_retries(),
                ctx.request_id(),
                ctx.traceparent(),
                request.idempotency,
                ctx.remaining().unwrap().as_millis().div_ceil(100),
            ))),
            "trace" => Ok(Response::new(format!("{:?} {:?}", ctx.tracestate(), ctx.baggage()))),
            "panic" => panic!("secret"),
            "fail" => Err(Error::new(Code::NotFound, "no order 17")),
            "big" => Ok(Response::new(vec![b'x'; 100_000])),
            "medium" => Ok(Response::new(vec![b'x'; 40_000])),
            "hang" => {
                let _watch = OnDrop(self.seen.clone(), ctx.clone());
                let _ = self.seen.send(Seen::Began);
                pending().await
            }
            "slow" => {
                let _ = self.seen.send(Seen::Began);
                let millis = std::str::from_utf8(&request.body).unwrap().parse().unwrap();
                tokio::time::sleep(Duration::from_millis(millis)).await;
                Ok(Response::new("done"))
            }
            "busy" => {
                // More than a task may do without giving way to others.
                for _ in 0..1000 {
                    tokio::task::coop::consume_budget().await;
                }
                Ok(Response::new("done"))
            }
            "caller" => {
                let address = ctx.request().peer().and_then(rr_spi::Peer::address);
                Ok(Response::new(address.map_or_else(|| "none".to_owned(), |a| a.to_string())))
            }
            other => Err(Error::new(Code::Internal, other.to_owned())),
        }
    }
}

/// A server with the probe behind every target, and `safe` declared safe.
pub struct Fixture {
    pub server: Server,
    pub stats: HttpServerStats,
    pub seen: mpsc::UnboundedReceiver<Seen>,
    pub runs: Arc<AtomicUsize>,
}

pub async fn fixture(config: HttpServerConfig) -> Fixture {
    fixture_at("http://127.0.0.1:0", config).await
}

pub async fn fixture_at(url: &str, config: HttpServerConfig) -> Fixture {
    let (routes, seen, runs) = probed();
    let (server, stats) = serve_with_stats(url, routes, config).await.unwrap();
    Fixture { server, stats, seen, runs }
}

/// Routes with the probe behind every target, what it sees, and how often it has run.
pub fn probed() -> (Routes, mpsc::UnboundedReceiver<Seen>, Arc<AtomicUsize>) {
    let (sender, seen) = mpsc::unbounded_channel();
    let runs = Arc::new(AtomicUsize::new(0));
    let probe = Arc::new(Probe { seen: sender, runs: Arc::clone(&runs) });
    let mut routes = Routes::new();
    let safe = Route::Target("safe".into());
    routes.insert(safe, Declared::Safe, Arc::clone(&probe) as Arc<dyn Responder>).unwrap();
    for name in ["echo", "headers", "context", "panic", "fail", "big", "hang", "slow", "busy"] {
        let route = Route::Target(name.into());
        routes.insert(route, Declared::Unspecified, Arc::clone(&probe) as _).unwrap();
    }
    routes.insert(Route::Service("svc".into()), Declared::Unspecified, probe).unwrap();
    (routes, seen, runs)
}

impl Fixture {
    pub fn address(&self) -> String {
        self.server.url().trim_start_matches("http://").to_owned()
    }

    pub async fn raw(&self) -> Raw {
        Raw(TcpStream::connect(self.address()).await.unwrap())
    }

    pub async fn next(&mut self) -> Seen {
        within(self.seen.recv()).await.unwrap()
    }

    pub fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    /// Waits until nothing is open any more.
    pub async fn quiet(&self) {
        let none = || self.stats.connections() == 0 && self.stats.tasks() == 0;
        eventually("connections and tasks end", none).await;
    }
}

/// Bounds a wait, so that what never happens fails a test rather than hanging it.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it takes too long")
}

/// Waits until something holds that no event tells of.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

/// A client that writes bytes as they are.
pub struct Raw(pub TcpStream);

/// One reply as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Checks that this is an error of ours, and which.
    pub fn assert_error(&self, status: u16, code: &str, delivery: &str) {
        self.assert_headers(status, code, delivery);
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(body["code"], code, "{self:?}");
        assert_eq!(body.get("delivery"), None, "Connect's error and nothing more: {self:?}");
    }

    /// Checks that this is a refusal of the protocol, whose code Connect infers from the status.
    pub fn assert_text_error(&self, status: u16, code: &str, delivery: &str) {
        self.assert_headers(status, code, delivery);
        assert_eq!(self.header("content-type"), Some("text/plain; charset=utf-8"), "{self:?}");
        assert!(!self.text().starts_with('{'), "{self:?}");
    }

    fn assert_headers(&self, status: u16, code: &str, delivery: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("rr-code"), Some(code), "{self:?}");
        assert_eq!(self.header("rr-delivery"), Some(delivery), "{self:?}");
    }
}

impl Raw {
    pub async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Sends a POST with these header lines.
    pub async fn post(&mut self, path: &str, headers: &str, body: &str) {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nhost: h\r\n{headers}content-length: {length}");
        self.send(&format!("{head}\r\n\r\n{body}")).await;
    }

    /// Reads one reply with a content length; `None` when the connection ends first.
    pub async fn answer(&mut self) -> Option<Answer> {
        within(self.read_answer(true)).await
    }

    /// Reads one reply to HEAD, which has no body.
    pub async fn answer_to_head(&mut self) -> Option<Answer> {
        within(self.read_answer(false)).await
    }

    async fn read_answer(&mut self, has_body: bool) -> Option<Answer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        let length: usize = answer.header("content-length").unwrap_or("0").parse().unwrap();
        if has_body {
            answer.body = vec![0; length];
            self.0.read_exact(&mut answer.body).await.ok()?;
        }
        Some(answer)
    }

    /// Waits until the server closes, and returns what came before.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = within(self.0.read_to_end(&mut rest)).await;
        rest
    }
}

/// A server that reads one request and does as it is told.
pub struct Script {
    listener: TcpListener,
}

impl Script {
    pub async fn bind() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (Self { listener }, url)
    }

    /// Accepts the next connection, however late it comes.
    pub async fn accept_any(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    pub async fn accept(&self) -> TcpStream {
        within(self.listener.accept()).await.unwrap().0
    }
}

/// Reads one whole request with a content length, and returns it.
pub async fn read_request(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let length = within(stream.read(&mut chunk)).await.unwrap();
        assert!(length > 0, "the client closed early");
        read.extend_from_slice(&chunk[..length]);
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
    }
}

pub fn request(target: &'static str, body: impl Into<bytes::Bytes>) -> Request {
    Request::new(target.try_into().unwrap(), body)
}

pub fn context() -> Context {
    Context::background().with_timeout(Duration::from_secs(8))
}

pub fn told(error: &Error) -> (Code, Delivery, Option<&str>) {
    (error.code(), error.delivery(), error.reason().map(rr_spi::Reason::as_str))
}

pub type Boxed<T> = BoxFuture<'static, T>;
