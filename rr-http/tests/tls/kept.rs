//! Kept connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rr_http::{HttpConfig, HttpRequester, HttpVersion};
use rr_tls::TlsAcceptor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::authority::Authority;
use crate::support::{assert_not_sent, call, client, echo, serve, server_tls, trusting, until};

#[tokio::test]
async fn session_tickets_do_not_spoil_a_kept_connection() {
    let authority = Authority::new("a");
    let (server, stats) = serve(server_tls(&authority.pair(&["localhost"]))).await;
    for version in [HttpVersion::H1, HttpVersion::H2] {
        let client = client(&server, trusting(&authority), version);
        // The tickets of the server arrive while the connection is unused.
        client.ready(&rr_spi::Context::background()).await.unwrap();
        until(|| stats.connections() > 0 && stats.handshakes() == 0).await;
        let first = call(&client, "lab.from", "").await.unwrap();
        for _ in 0..100 {
            assert_eq!(call(&client, "lab.from", "").await.unwrap(), first, "{version:?}");
            tokio::task::yield_now().await;
        }
        drop(client);
        until(|| stats.connections() == 0).await;
    }
}

/// A server in a thread of its own, which answers each request and then sends something unasked.
struct Unasked {
    url: String,
    /// Number of times that something unasked has been sent.
    sent: Arc<AtomicUsize>,
}

impl Unasked {
    /// Sends these bytes, or the end of the connection if there are none.
    fn start(authority: &Authority, unasked: &'static [u8]) -> Self {
        let acceptor = TlsAcceptor::new(&server_tls(&authority.pair(&["localhost"])), &[]).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let sent = Arc::<AtomicUsize>::default();
        let server = serve_unasked(listener, acceptor, unasked, Arc::clone(&sent));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        std::thread::spawn(move || runtime.block_on(server));
        Self { url, sent }
    }

    /// Waits without giving way: the runtime of the client does not see what has arrived.
    fn wait_for(&self, sent: usize) {
        while self.sent.load(Ordering::SeqCst) < sent {
            std::thread::yield_now();
        }
    }
}

async fn serve_unasked(
    listener: std::net::TcpListener,
    acceptor: TlsAcceptor,
    unasked: &'static [u8],
    sent: Arc<AtomicUsize>,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        // What is counted as sent has arrived.
        stream.set_nodelay(true).unwrap();
        let (acceptor, sent) = (acceptor.clone(), Arc::clone(&sent));
        tokio::spawn(async move {
            let config = acceptor.server_config();
            let mut stream = tokio_rustls::TlsAcceptor::from(config).accept(stream).await.unwrap();
            let mut request = vec![0; 4096];
            while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
                stream.write_all(answer).await.unwrap();
                stream.flush().await.unwrap();
                if unasked.is_empty() {
                    // With the alert of TLS.
                    stream.shutdown().await.unwrap();
                } else {
                    stream.write_all(unasked).await.unwrap();
                    stream.flush().await.unwrap();
                }
                sent.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
}

#[tokio::test]
async fn neither_an_unasked_reply_nor_an_unseen_end_spoils_the_next_call() {
    let authority = Authority::new("a");
    let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
    for unasked in [&reply[..], b""] {
        let server = Unasked::start(&authority, unasked);
        let tls = trusting(&authority);
        let config = HttpConfig::default().with_tls(tls).with_version(HttpVersion::H1);
        let client = HttpRequester::new(&server.url, config).unwrap();
        for round in 1..=30 {
            assert_eq!(echo(&client, "x").await.unwrap(), "hi", "round {round}");
            server.wait_for(round);
        }
    }
}

#[tokio::test]
async fn a_version_that_the_server_lacks_is_told() {
    let authority = Authority::new("a");
    let tls = server_tls(&authority.pair(&["localhost"]));
    for alpn in [&[][..], &[&b"http/1.1"[..]]] {
        let acceptor = TlsAcceptor::new(&tls, alpn).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let config = acceptor.server_config();
                let _ = tokio_rustls::TlsAcceptor::from(config).accept(stream).await;
            }
        });
        let config = HttpConfig::default().with_tls(trusting(&authority));
        let config = config.with_version(HttpVersion::H2);
        let error = echo(&HttpRequester::new(&url, config).unwrap(), "x").await.unwrap_err();
        assert_not_sent(&error);
        assert!(error.message().contains("ALPN"), "{error}");
        assert!(error.hint().contains("leave out `version"), "{}", error.hint());
    }
}
