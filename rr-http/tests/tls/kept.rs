//! Kept connections.

use rr_http::{HttpConfig, HttpRequester, HttpVersion};
use rr_tls::TlsAcceptor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::authority::Authority;
use crate::support::{assert_not_sent, client, echo, serve, server_tls, trusting, until};

#[tokio::test]
async fn session_tickets_do_not_spoil_a_kept_connection() {
    let authority = Authority::new("a");
    let (server, stats) = serve(server_tls(&authority.pair(&["localhost"]))).await;
    for version in [HttpVersion::H1, HttpVersion::H2] {
        let client = client(&server, trusting(&authority), version);
        // The tickets of the server arrive while the connection is unused.
        client.ready(&rr_spi::Context::background()).await.unwrap();
        until(|| stats.connections() > 0 && stats.handshakes() == 0).await;
        for _ in 0..100 {
            assert_eq!(echo(&client, "x").await.unwrap(), "x");
            tokio::task::yield_now().await;
        }
        assert_eq!(client.connections(), 1, "{version:?}");
        drop(client);
        until(|| stats.connections() == 0).await;
    }
}

/// A server over rustls that sends each of its answers once it has read a request, and then what
/// `unasked` says. Counts its connections.
async fn unasked(authority: &Authority, unasked: &'static [u8]) -> HttpRequester {
    let tls = server_tls(&authority.pair(&["localhost"]));
    let acceptor = TlsAcceptor::new(&tls, &[b"http/1.1"]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = tokio_rustls::TlsAcceptor::from(acceptor.server_config());
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await.unwrap();
                let mut request = vec![0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
                    stream.write_all(answer).await.unwrap();
                    stream.flush().await.unwrap();
                    tokio::task::yield_now().await;
                    if unasked.is_empty() {
                        // The end, with its alert.
                        return stream.shutdown().await.unwrap();
                    }
                    stream.write_all(unasked).await.unwrap();
                    stream.flush().await.unwrap();
                }
            });
        }
    });
    let config = HttpConfig::default().with_tls(trusting(authority)).with_version(HttpVersion::H1);
    HttpRequester::new(&url, config).unwrap()
}

#[tokio::test]
async fn an_unasked_reply_is_not_taken_for_the_next_one() {
    let authority = Authority::new("a");
    let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
    let client = unasked(&authority, reply).await;
    for _ in 0..50 {
        assert_eq!(echo(&client, "x").await.unwrap(), "hi");
        // Long enough for the unasked bytes in most rounds, and not for each.
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_that_the_server_ends_after_each_reply_fails_no_call() {
    let client = unasked(&Authority::new("a"), b"").await;
    for _ in 0..50 {
        match echo(&client, "x").await {
            Ok(reply) => assert_eq!(reply, "hi"),
            // The end races with the next request, which nothing proves unprocessed.
            Err(error) => assert_eq!(error.delivery(), rr_spi::Delivery::Unknown, "{error}"),
        }
    }
}

#[tokio::test]
async fn a_version_that_the_server_lacks_is_told() {
    let authority = Authority::new("a");
    let client = unasked(&authority, b"").await;
    drop(client);
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
