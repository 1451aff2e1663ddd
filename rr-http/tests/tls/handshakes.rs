//! Handshakes that do not end.

use std::time::Duration;

use rr_http::{HttpConfig, HttpRequester, HttpServerConfig};
use rr_spi::{Code, Delivery, Reason};
use rr_testkit::Reports;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::authority::Authority;
use crate::support::{
    VERSIONS, address, client, echo, serve, serve_at, server_tls, trusting, until,
};

/// Connections that send the first bytes of a handshake, or none, and no more.
async fn half_open(address: &str, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for number in 0..count {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if number % 2 == 0 {
            stream.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
        }
        streams.push(stream);
    }
    streams
}

#[tokio::test]
async fn five_hundred_half_open_handshakes_do_not_disturb_calls() {
    let authority = Authority::new("a");
    let (server, stats) = serve(server_tls(&authority.pair(&["localhost"]))).await;
    let held = half_open(&address(&server), 500).await;
    until(|| stats.handshakes() == 500).await;
    for version in VERSIONS {
        // Each makes its connection now.
        let client = client(&server, trusting(&authority), version);
        for _ in 0..20 {
            assert_eq!(echo(&client, "x").await.unwrap(), "x");
        }
    }
    assert_eq!(stats.handshakes(), 500);
    drop(held);
    until(|| stats.handshakes() == 0).await;
    assert_eq!(stats.handshakes_failed(), 500);
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_closed() {
    let authority = Authority::new("a");
    let tls = server_tls(&authority.pair(&["localhost"]));
    let (server, stats) = serve(tls.with_handshake_timeout(Duration::from_millis(50))).await;
    for mut stream in half_open(&address(&server), 2).await {
        let mut rest = Vec::new();
        // Closed or reset: the server has not read all of it.
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
    }
    until(|| stats.handshakes_failed() == 2).await;
    assert_eq!(stats.connections(), 0);
}

#[tokio::test]
async fn handshakes_above_the_limit_wait_for_their_turn() {
    let authority = Authority::new("a");
    let tls = server_tls(&authority.pair(&["localhost"])).with_handshakes_max(1);
    let (server, stats) = serve(tls).await;
    let held = half_open(&address(&server), 1).await;
    until(|| stats.handshakes() == 1).await;
    let client = client(&server, trusting(&authority), VERSIONS[0]);
    let calling = tokio::spawn(async move { echo(&client, "x").await });
    until(|| stats.handshakes() == 2).await;
    drop(held);
    assert_eq!(calling.await.unwrap().unwrap(), "x");
}

#[tokio::test]
async fn silent_connections_take_no_turn() {
    let authority = Authority::new("a");
    let tls = server_tls(&authority.pair(&["localhost"])).with_handshakes_max(1);
    let (server, stats) = serve(tls.with_handshake_timeout(Duration::from_secs(600))).await;
    let _silent = [
        TcpStream::connect(address(&server)).await.unwrap(),
        TcpStream::connect(address(&server)).await.unwrap(),
    ];
    until(|| stats.handshakes() == 2).await;
    let client = client(&server, trusting(&authority), VERSIONS[0]);
    assert_eq!(echo(&client, "x").await.unwrap(), "x");
}

#[tokio::test]
async fn a_drain_reaches_connections_in_their_handshake() {
    let authority = Authority::new("a");
    let tls = server_tls(&authority.pair(&["localhost"]));
    let (server, stats) = serve(tls.with_handshake_timeout(Duration::from_secs(600))).await;
    let _held = half_open(&address(&server), 4).await;
    until(|| stats.handshakes() == 4).await;
    let began = Instant::now();
    server.shutdown(Duration::from_secs(60)).await;
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!((stats.handshakes(), stats.connections(), stats.tasks()), (0, 0, 0));
}

/// Forwards a connection. Most of what its client sends arrives later by `delay`.
async fn forward_slowly(listener: TcpListener, server: String, delay: Duration) {
    let (mut near, _) = listener.accept().await.unwrap();
    let mut far = TcpStream::connect(server).await.unwrap();
    let mut first = [0; 6];
    near.read_exact(&mut first).await.unwrap();
    far.write_all(&first).await.unwrap();
    tokio::time::sleep(delay).await;
    let _ = copy_bidirectional(&mut near, &mut far).await;
}

#[tokio::test]
async fn a_slow_client_that_connected_before_a_drain_is_told() {
    let authority = Authority::new("a");
    for version in VERSIONS {
        let tls = server_tls(&authority.pair(&["localhost"]));
        let (server, stats) = serve(tls).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        // Longer than the linger and the wait for the last calls.
        let delay = HttpServerConfig::default().drain_linger + Duration::from_millis(350);
        let relay = tokio::spawn(forward_slowly(listener, address(&server), delay));
        let config = HttpConfig::default().with_tls(trusting(&authority)).with_version(version);
        let client = HttpRequester::new(&url, config).unwrap();
        let calling = tokio::spawn(async move { echo(&client, "x").await });
        until(|| stats.handshakes() == 1).await;
        let report = server.shutdown(Duration::from_secs(60)).await;
        let error = calling.await.unwrap().unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::Rejected));
        assert_eq!(error.reason(), Some(&Reason::DRAINING), "{version:?}: {error}");
        assert_eq!(report.refused, 1, "{version:?}");
        relay.await.unwrap();
    }
}

#[tokio::test]
async fn dropping_a_server_ends_its_handshakes() {
    let authority = Authority::new("a");
    let tls = server_tls(&authority.pair(&["localhost"]));
    let config = HttpServerConfig::default().with_tls(tls);
    let (server, stats) = serve_at("https://localhost:0", config).await;
    let _held = half_open(&address(&server), 4).await;
    until(|| stats.handshakes() == 4).await;
    drop(server);
    until(|| stats.tasks() == 0 && stats.handshakes() == 0).await;
}

#[tokio::test]
async fn refused_handshakes_are_reported_with_the_peer_and_the_reason() {
    let (authority, reports) = (Authority::new("a"), Reports::new());
    let config = |timeout| {
        let tls = server_tls(&authority.pair(&["localhost"])).with_handshake_timeout(timeout);
        let mut config = HttpServerConfig::default().with_tls(tls);
        config.intake.observers = reports.observers();
        config
    };
    let (server, stats) = serve_at("https://localhost:0", config(Duration::from_secs(60))).await;
    for (number, (sent, reason)) in [
        ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", "the peer speaks HTTP without TLS"),
        ("\u{16}secret no handshake", "received corrupt message"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut stream = TcpStream::connect(address(&server)).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        until(|| stats.handshakes_failed() == number as u64 + 1).await;
        let events = reports.take_events();
        let peer = format!("HandshakeRefused {{ peer: Some({})", stream.local_addr().unwrap());
        assert!(events.len() == 1 && events[0].starts_with(&peer), "{events:?}");
        assert!(events[0].contains(reason) && !events[0].contains("secret"), "{events:?}");
    }
    // A peer that completes its handshake is no event.
    let client = client(&server, trusting(&authority), VERSIONS[0]);
    echo(&client, "x").await.unwrap();
    assert_eq!(reports.take_events(), Vec::<String>::new());
    assert_eq!(reports.take().len(), 1);

    let (server, stats) = serve_at("https://localhost:0", config(Duration::from_millis(50))).await;
    let _silent = half_open(&address(&server), 1).await;
    until(|| stats.handshakes_failed() == 1).await;
    let events = reports.take_events();
    assert!(events.len() == 1 && events[0].contains("took too long"), "{events:?}");
}
