//! Streams instead of sockets: who makes them, who takes them, and how they end. All on tokio's
//! paused clock, which a pipe does not hold up.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::support::{Probe, context, eventually, request, told};
use rr_http::{HttpConfig, HttpRequester, HttpServerConfig, HttpServerStats, serve_streams};
use rr_spi::{Code, Declared, Delivery, Requester as _, Route, Routes, Server};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

const URL: &str = "http://pipe/api";

/// Serves the probe's `echo` and `hang` on what is sent into the channel.
fn serve(config: HttpServerConfig) -> (mpsc::Sender<DuplexStream>, Server, HttpServerStats) {
    let probe = Arc::new(Probe { seen: mpsc::unbounded_channel().0, runs: Arc::default() });
    let mut routes = Routes::new();
    for name in ["echo", "hang"] {
        let route = Route::Target(name.into());
        routes.insert(route, Declared::Unspecified, Arc::clone(&probe) as _).unwrap();
    }
    let (sender, incoming) = mpsc::channel(4);
    let (server, stats) = serve_streams(URL, incoming, routes, config).unwrap();
    (sender, server, stats)
}

fn connect(sender: mpsc::Sender<DuplexStream>, url: &str) -> HttpRequester {
    let connect = move || {
        let sender = sender.clone();
        async move {
            let (near, far) = duplex(1024);
            sender.send(far).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(near)
        }
    };
    HttpRequester::with_connector(url, HttpConfig::default(), connect).unwrap()
}

/// Writes what a client would, and returns all that comes back until the server closes.
async fn exchange(sender: &mpsc::Sender<DuplexStream>, text: &str) -> String {
    let (mut near, far) = duplex(1024);
    sender.send(far).await.unwrap();
    near.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(start_paused = true)]
async fn a_pipe_carries_calls_and_closes_with_its_client() {
    let (sender, server, stats) = serve(HttpServerConfig::default());
    assert_eq!(server.url(), URL);
    for version in ["h1", "h2c"] {
        let client = connect(sender.clone(), &format!("{URL}?version={version}"));
        client.ready(&context()).await.unwrap();
        for body in ["", "hello", &"x".repeat(100_000)] {
            let answer = client.request(&context(), request("echo", body.to_owned())).await;
            assert_eq!(answer.unwrap().body, body);
        }
        assert_eq!((client.connections(), stats.connections()), (1, 1), "{version}");
        drop(client);
        eventually("the connection ends", || stats.connections() == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn health_is_answered_on_a_pipe() {
    let (sender, server, _stats) = serve(HttpServerConfig::default());
    let ask = "GET /.well-known/rr/health HTTP/1.1\r\nhost: pipe\r\nconnection: close\r\n\r\n";
    let answer = exchange(&sender, ask).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with(r#"{"status":"serving"}"#), "{answer}");
    let (answer, _) = tokio::join!(
        async {
            tokio::task::yield_now().await;
            exchange(&sender, ask).await
        },
        server.shutdown(Duration::from_secs(1)),
    );
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.ends_with(r#"{"status":"draining"}"#), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_is_closed_when_its_time_is_over_and_not_before() {
    let (sender, _server, stats) = serve(HttpServerConfig::default());
    let start = Instant::now();
    assert_eq!(exchange(&sender, "PRI * HT").await, "");
    let limit = HttpServerConfig::default().first_bytes_timeout;
    assert!(start.elapsed() >= limit && start.elapsed() < limit + Duration::from_millis(10));
    eventually("the connection ends", || stats.connections() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_connector_fails_with_is_the_source_and_nothing_was_sent() {
    for version in ["h1", "h2c"] {
        let connect = || async { Err::<DuplexStream, _>(io::Error::other("no cable")) };
        let url = format!("{URL}?version={version}");
        let client = HttpRequester::with_connector(&url, HttpConfig::default(), connect).unwrap();
        let error = client.request(&context(), request("echo", "")).await.unwrap_err();
        let expected = (Code::Unavailable, Delivery::NotSent, Some("connect-failed"));
        assert_eq!(told(&error), expected);
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "no cable");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_takes_too_long_is_dropped() {
    for version in ["h1", "h2c"] {
        let (held, mut dropped) = mpsc::channel::<()>(1);
        let connect = move || {
            let held = held.clone();
            async move {
                let _held = held;
                pending::<io::Result<DuplexStream>>().await
            }
        };
        let url = format!("{URL}?version={version}");
        let client = HttpRequester::with_connector(&url, HttpConfig::default(), connect).unwrap();
        let start = Instant::now();
        let error = client.request(&context(), request("echo", "")).await.unwrap_err();
        let expected = (Code::Unavailable, Delivery::NotSent, Some("connect-failed"));
        assert_eq!(told(&error), expected);
        assert_eq!(start.elapsed().as_secs(), HttpConfig::default().connect_timeout.as_secs());
        drop(client);
        assert_eq!(dropped.recv().await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn streams_beyond_the_most_connections_wait_in_the_channel() {
    let (sender, _server, stats) = serve(HttpServerConfig::default().with_connections_max(1));
    let first = connect(sender.clone(), URL);
    first.request(&context(), request("echo", "")).await.unwrap();
    let second = connect(sender.clone(), URL);
    let ctx = context();
    let call = second.request(&ctx, request("echo", "late"));
    let mut call = std::pin::pin!(call);
    let soon = tokio::time::timeout(Duration::from_secs(1), call.as_mut()).await;
    assert!(soon.is_err(), "there is one place");
    assert_eq!(stats.connections(), 1);
    drop(first);
    assert_eq!(call.await.unwrap().body, "late");
}

#[tokio::test(start_paused = true)]
async fn a_server_goes_on_when_nobody_can_connect_any_more() {
    let (sender, server, stats) = serve(HttpServerConfig::default());
    let (near, far) = duplex(1024);
    sender.send(far).await.unwrap();
    drop(sender);
    let near = std::sync::Mutex::new(Some(near));
    let connect = move || {
        let only = near.lock().unwrap().take();
        async move { only.ok_or_else(|| io::ErrorKind::ConnectionRefused.into()) }
    };
    let client = HttpRequester::with_connector(URL, HttpConfig::default(), connect).unwrap();
    for _ in 0..3 {
        client.request(&context(), request("echo", "")).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(stats.connections(), 1);
    server.shutdown(Duration::from_secs(1)).await;
    assert_eq!(stats.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_connects_as_a_drain_begins_is_answered_and_later_ones_are_refused() {
    let config = HttpServerConfig::default().with_drain_linger(Duration::ZERO);
    let (sender, server, _stats) = serve(config);
    let (mut near, far) = duplex(1024);
    let ask = b"POST /api/echo HTTP/1.1\r\nhost: pipe\r\ncontent-length: 0\r\n\r\n";
    near.write_all(ask).await.unwrap();
    sender.send(far).await.unwrap();
    server.shutdown(Duration::from_secs(1)).await;
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    // Whoever comes later is told that it is not taken.
    let (_near, far) = duplex(1024);
    assert!(sender.send(far).await.is_err());
    let late = connect(sender, URL).request(&context(), request("echo", "")).await.unwrap_err();
    assert_eq!(told(&late).1, Delivery::NotSent);
}

#[tokio::test(start_paused = true)]
async fn streams_in_the_channel_are_refused_at_a_drain_even_if_unused_ones_hold_every_place() {
    for (version, linger) in [("h1", 0), ("h2c", 0), ("h1", 250), ("h2c", 250)] {
        let config = HttpServerConfig::default()
            .with_connections_max(1)
            .with_drain_linger(Duration::from_millis(linger));
        let (sender, server, stats) = serve(config);
        let url = format!("{URL}?version={version}");
        let unused = connect(sender.clone(), &url);
        unused.request(&context(), request("echo", "")).await.unwrap();
        // One client writes only when the drain has come to its end.
        let (mut silent, far) = duplex(1024);
        sender.send(far).await.unwrap();
        let queued = |sender: &mpsc::Sender<DuplexStream>| {
            let client = connect(sender.clone(), &url);
            tokio::spawn(async move { client.request(&context(), request("echo", "")).await })
        };
        let calls = [queued(&sender), queued(&sender)];
        eventually("both streams wait", || sender.capacity() == 1).await;
        assert_eq!(stats.connections(), 1);
        let drain = server.shutdown(Duration::from_secs(5));
        let late = async {
            sender.closed().await;
            let ask = b"POST /api/echo HTTP/1.1\r\nhost: pipe\r\ncontent-length: 0\r\n\r\n";
            silent.write_all(ask).await.unwrap();
            let mut answer = String::new();
            silent.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let (report, answer) = tokio::join!(drain, late);
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        let expected = (Code::Unavailable, Delivery::Rejected, Some("draining"));
        for call in calls {
            assert_eq!(told(&call.await.unwrap().unwrap_err()), expected, "{version} {linger}");
        }
        assert_eq!((report.refused, report.aborted), (3, 0), "{version} {linger}");
        assert_eq!(stats.connections(), 0);
        drop(unused);
    }
}

#[tokio::test(start_paused = true)]
async fn https_is_what_http_2_requests_say_when_the_connector_encrypts() {
    for (url, scheme) in [("https://h:1/p", "https"), ("http://h:1/p", "http")] {
        let (sender, mut incoming) = mpsc::channel(1);
        let client = connect(sender, &format!("{url}?version=h2c"));
        let server = async {
            let mut connection =
                h2::server::handshake(incoming.recv().await.unwrap()).await.unwrap();
            let (request, _) = connection.accept().await.unwrap().unwrap();
            request.uri().to_string()
        };
        let ctx = context();
        let call = client.request(&ctx, request("echo", ""));
        let seen = tokio::select! { biased; seen = server => seen, _ = call => unreachable!() };
        assert_eq!(seen, format!("{scheme}://h:1/p/echo"));
    }
}

#[tokio::test]
async fn urls_that_name_no_stream_are_refused() {
    for url in ["http+unix:///a/b", "https://", "memory://a", "https://h?verison=h2c"] {
        let (_sender, incoming) = mpsc::channel::<DuplexStream>(1);
        let refused = serve_streams(url, incoming, Routes::new(), HttpServerConfig::default());
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument, "{url}");
        let connect = || async { Ok(duplex(1).0) };
        let refused = HttpRequester::with_connector(url, HttpConfig::default(), connect);
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument, "{url}");
    }
}

/// A pipe that counts how often it is shut down: over TLS the peer must hear of the end.
struct Counted {
    pipe: DuplexStream,
    ends: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(cx, into)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ends.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_ends_a_connection_it_is_shut_down() {
    let (sender, _server, _) = serve(HttpServerConfig::default());
    let ends = Arc::new(AtomicUsize::new(0));
    let connect = {
        let ends = Arc::clone(&ends);
        move || {
            let (sender, ends) = (sender.clone(), Arc::clone(&ends));
            async move {
                let (pipe, far) = duplex(1024);
                sender.send(far).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
                Ok(Counted { pipe, ends })
            }
        }
    };
    let client = HttpRequester::with_connector(URL, HttpConfig::default(), connect).unwrap();
    let ended = || ends.load(Ordering::SeqCst);
    client.request(&context(), request("echo", "hi")).await.unwrap();
    assert_eq!((client.connections(), ended()), (1, 0));
    // Unused for too long.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((client.connections(), ended()), (0, 1));
    // Dropped with its call.
    let ctx = context();
    let hanging = client.request(&ctx, request("hang", "hi"));
    assert!(tokio::time::timeout(Duration::from_secs(1), hanging).await.is_err());
    assert_eq!((client.connections(), ended()), (0, 2));
    // Dropped with its requester.
    client.request(&context(), request("echo", "hi")).await.unwrap();
    drop(client);
    assert_eq!(ended(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_before_its_body_is_whole_and_the_last_reply_whatever_follows() {
    for rest in ["dy", "dyno head at all\r\n\r\n", "dyPOST /api/echo HTTP/1.1\r\nhost: h\r\n\r\n"] {
        let (sender, _server, stats) = serve(HttpServerConfig::default());
        // The reply is longer than the pipe: it waits while the body and what follows it arrive.
        let (mut near, far) = duplex(64);
        sender.send(far).await.unwrap();
        let head = "POST /api/nope HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nbo";
        near.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 1];
        near.read_exact(&mut answer).await.unwrap();
        let (mut read, mut write) = tokio::io::split(near);
        let more = async {
            let _ = write.write_all(rest.as_bytes()).await;
            // Everything has come before any more of the reply is read.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let _ = read.read_to_end(&mut answer).await;
        };
        more.await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 404 ") && head.contains("connection: close"), "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        eventually("the connection ends", || stats.connections() == 0).await;
    }
}
