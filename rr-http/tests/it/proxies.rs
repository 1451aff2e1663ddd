//! Calls through a forward proxy: a small one of the test, which sees what a requester says to it.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::*;
use rr_http::{HttpConfig, HttpProxy, HttpRequester, HttpServerConfig, HttpVersion};
use rr_spi::{Code, Delivery, Error, Origin, Requester as _, Response, RetryHint};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// What the proxy answers to a `CONNECT`.
#[derive(Clone, Copy)]
enum Answer {
    /// Opens the tunnel to this port of this machine, whatever is asked for; after bytes that belong
    /// to the head.
    Opens(u16, &'static str),
    Says(&'static str),
    /// Accepts the connection and says nothing.
    Silent,
}

/// A proxy, and the heads that it has received.
struct Proxy {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Proxy {
    async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        let serving = tokio::spawn(async move {
            let mut tunnels = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tunnels.spawn(tunnel(stream, answer, Arc::clone(&seen)));
            }
        });
        Self { port, heads, serving }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn tunnel(mut stream: TcpStream, answer: Answer, heads: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    heads.lock().unwrap().push(String::from_utf8(head).unwrap());
    match answer {
        Answer::Opens(port, lines) => {
            let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            // In two pieces, the second of which ends the head.
            stream.write_all(b"HTTP/1.1 200 Connection established\r").await.unwrap();
            tokio::task::yield_now().await;
            stream.write_all(format!("\n{lines}\r\n").as_bytes()).await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut server).await;
        }
        Answer::Says(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        Answer::Silent => drop(stream.read_to_end(&mut Vec::new()).await),
    }
}

fn port(fixture: &Fixture) -> u16 {
    fixture.address().rsplit(':').next().unwrap().parse().unwrap()
}

/// Makes a requester for a name that only the proxy reaches.
fn through(proxy: &str, version: HttpVersion) -> HttpRequester {
    let proxy: HttpProxy = proxy.parse().unwrap();
    let config = HttpConfig::default().with_proxy(proxy).with_version(version);
    HttpRequester::new("http://orders.invalid:8080", config).unwrap()
}

async fn call(client: &HttpRequester) -> Result<Response, Error> {
    within(client.request(&context(), request("echo", "hi"))).await
}

#[tokio::test]
async fn calls_go_through_one_tunnel_whatever_the_version() {
    for version in [HttpVersion::H1, HttpVersion::H2c] {
        let fixture = fixture(HttpServerConfig::default()).await;
        let lines = "via: 1.1 proxy\r\ncontent-length: 7\r\n";
        let proxy = Proxy::start(Answer::Opens(port(&fixture), lines)).await;
        let client = through(&proxy.url(), version);
        for _ in 0..3 {
            assert_eq!(call(&client).await.unwrap().body, "hi");
        }
        assert_eq!(client.connections(), 1);
        let expected = "CONNECT orders.invalid:8080 HTTP/1.1\r\nhost: orders.invalid:8080\r\n\r\n";
        assert_eq!(proxy.heads(), [expected], "{version:?}");
    }
}

#[tokio::test]
async fn credentials_are_sent_to_the_proxy_and_shown_nowhere() {
    let fixture = fixture(HttpServerConfig::default()).await;
    let proxy = Proxy::start(Answer::Opens(port(&fixture), "")).await;
    let url = proxy.url().replace("http://", "http://orders:hunter2@");
    let client = through(&url, HttpVersion::H1);
    assert_eq!(call(&client).await.unwrap().body, "hi");
    // `orders:hunter2` in base64.
    let authorization = "\r\nproxy-authorization: Basic b3JkZXJzOmh1bnRlcjI=\r\n";
    assert!(proxy.heads()[0].contains(authorization), "{:?}", proxy.heads());

    let refusing = Proxy::start(Answer::Says("HTTP/1.1 407 X\r\n\r\n")).await;
    let url = refusing.url().replace("http://", "http://orders:hunter2@");
    let config = HttpConfig::default().with_proxy(url.parse().unwrap());
    let client = HttpRequester::new("http://orders.invalid", config.clone()).unwrap();
    let error = call(&client).await.unwrap_err();
    let shown =
        format!("{client:?} {config:?} {error} {error:?} {} {}", error.hint(), error.report());
    assert!(!shown.contains("hunter2") && !shown.contains("b3JkZXJz"), "{shown}");
    let malformed = format!("http://h?proxy={}", url.replace("http://", "ftp://"));
    let error = HttpRequester::new(&malformed, HttpConfig::default()).unwrap_err();
    let shown = format!("{error} {error:?} {}", error.hint());
    assert!(shown.contains("proxy") && !shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn a_proxy_that_opens_no_tunnel_is_named_with_its_status_and_nothing_was_sent() {
    let not_connected = (Code::Unavailable, Delivery::NotSent, Some("connect-failed"));
    for (answer, says, hints) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n",
            "407",
            "user:password",
        ),
        ("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno", "403", "443"),
        ("HTTP/1.1 401 X\r\n\r\n", "401", "user:password"),
        ("HTTP/1.1 405 X\r\n\r\n", "405", "443"),
        ("HTTP/1.0 502 Bad Gateway\r\n\r\n<html>", "502", "does not reach"),
        ("HTTP/1.1 504\r\n\r\n", "504", "does not reach"),
        ("HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n", "302", "allows CONNECT"),
    ] {
        let proxy = Proxy::start(Answer::Says(answer)).await;
        for version in [HttpVersion::H1, HttpVersion::H2c] {
            let error = call(&through(&proxy.url(), version)).await.unwrap_err();
            assert_eq!((told(&error), error.origin()), (not_connected, Origin::Intermediary));
            let is_final = ["401", "403", "405", "407"].contains(&says);
            assert_eq!(error.retry() == RetryHint::Never, is_final, "{says} {version:?}");
            let message = error.message();
            let names = message.contains(says) && message.contains(&proxy.port.to_string());
            assert!(names && error.hint().contains(hints), "{message}: {}", error.hint());
            assert!(message.contains("orders.invalid:8080"), "{message}");
        }
    }
    let long: &str = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(9000)).leak();
    for (answer, says) in [
        ("", "closed the connection"),
        ("HTTP/1.1 200 OK\r\n", "closed the connection"),
        ("SSH-2.0-x\r\n\r\n", "not HTTP/1"),
        (long, "longer than 8 KiB"),
    ] {
        let proxy = Proxy::start(Answer::Says(answer)).await;
        let error = call(&through(&proxy.url(), HttpVersion::H1)).await.unwrap_err();
        assert_eq!(told(&error), not_connected, "{error}");
        assert!(error.message().contains(says), "{error}");
    }
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = call(&through(&format!("http://{gone}"), HttpVersion::H1)).await.unwrap_err();
    assert_eq!(told(&error), not_connected);
    assert!(error.message().contains(&format!("the proxy {gone}")), "{error}");
}

#[tokio::test]
async fn a_silent_proxy_ends_with_the_connect_timeout() {
    let proxy = Proxy::start(Answer::Silent).await;
    let config = HttpConfig::default()
        .with_proxy(proxy.url().parse().unwrap())
        .with_connect_timeout(Duration::from_millis(50));
    let client = HttpRequester::new("http://orders.invalid", config).unwrap();
    let error = call(&client).await.unwrap_err();
    assert_eq!(told(&error), (Code::Unavailable, Delivery::NotSent, Some("connect-failed")));
    assert_eq!(proxy.heads().len(), 1);
}

#[cfg(unix)]
#[tokio::test]
async fn unix_sockets_and_connectors_use_no_proxy() {
    let folder = std::env::temp_dir().join(format!("rr-proxies-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let url = format!("http+unix://{}/s", folder.display());
    let fixture = fixture_at(&url, HttpServerConfig::default()).await;
    let config = HttpConfig::default().with_proxy("http://127.0.0.1:1".parse().unwrap());
    let client = HttpRequester::new(&url, config.clone()).unwrap();
    assert_eq!(call(&client).await.unwrap().body, "hi");
    let path = folder.join("s");
    let connect = move || tokio::net::UnixStream::connect(path.clone());
    let client = HttpRequester::with_connector("http://orders", config, connect).unwrap();
    assert_eq!(call(&client).await.unwrap().body, "hi");
    drop(fixture);
    let _ = std::fs::remove_dir_all(&folder);
}
