//! How a connection is made, lost, made again, and by whom it is driven.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::*;
use rr_core::recommended;
use rr_nats::{NatsConfig, NatsRequester, NatsServerConfig, NatsState};
use rr_spi::{Code, Declared, Delivery, Error, Idempotency, Requester as _, Route};
use rr_testkit::{NatsServer, NatsServerSetup};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// A requester whose attempts to connect hardly ever end by themselves.
async fn patient(url: &str) -> NatsRequester {
    let mut config = NatsConfig::default();
    config.connection.connect_timeout = Duration::from_secs(300);
    NatsRequester::connect_with(url, config).await.unwrap()
}

/// Accepts connections and says nothing.
async fn silent(address: &str) -> Option<TcpListener> {
    TcpListener::bind(address).await.ok()
}

#[tokio::test]
async fn a_name_with_a_dead_address_connects_to_the_live_one() {
    let nats = nats().await;
    // Where `localhost` has two addresses, the IPv6 one is dead.
    let _dead = silent(&format!("[::1]:{}", nats.address().port())).await;
    let client = patient(&format!("nats://localhost:{}", nats.address().port())).await;
    client.ready(&within(10_000)).await.unwrap();
    let url = format!("nats://localhost:{}", nats.address().port());
    let _server = rr_nats::serve(&url, route("svc.echo", echo)).await.unwrap();
    call(&client, &within(5_000), "svc.echo").await.unwrap();
}

#[tokio::test]
async fn an_address_that_leads_nowhere_delays_neither_the_first_connection_nor_the_next() {
    let (mut first, mut second) = (nats().await, nats().await);
    // A busy machine could connect to the second at once.
    second.kill().unwrap();
    let dead = silent("127.0.0.1:0").await.unwrap();
    let dead = dead.local_addr().unwrap();
    let client = patient(&format!("nats://{dead},{},{}", first.address(), second.address())).await;
    client.ready(&within(10_000)).await.unwrap();
    second.restart().await.unwrap();
    first.kill().unwrap();
    let moved = async {
        while client.nats_stats().connects < 2 {
            let _ = call(&client, &within(1_000), "svc.none").await;
        }
    };
    within(10_000).race(moved).await.unwrap();
    client.ready(&within(10_000)).await.unwrap();
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_requester_outlives_the_runtimes_that_it_is_used_on() {
    let servers = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let nats = servers.block_on(nats());
    let server = servers.block_on(rr_nats::serve(&nats.url(), route("svc.echo", echo))).unwrap();
    let client = runtime().block_on(client(&nats.url()));
    for _ in 0..5 {
        let passing = runtime();
        passing.block_on(async {
            let calling = client.clone();
            let spawned =
                tokio::spawn(async move { call(&calling, &within(5_000), "svc.echo").await });
            call(&client, &within(5_000), "svc.echo").await.unwrap();
            spawned.await.unwrap().unwrap();
            assert_eq!(client.state(), NatsState::Connected);
        });
    }
    assert_eq!((client.nats_stats().connects, client.nats_stats().in_flight), (6, 0));
    // One that is there and not driven holds up no call on another.
    let (undriven, other) = (runtime(), runtime());
    undriven.block_on(call(&client, &within(5_000), "svc.echo")).unwrap();
    for _ in 0..3 {
        other.block_on(call(&client, &within(5_000), "svc.echo")).unwrap();
    }
    undriven.block_on(call(&client, &within(5_000), "svc.echo")).unwrap();
    assert_eq!(client.nats_stats().connects, 8);
    drop((undriven, other));
    let report = runtime().block_on(server.shutdown(Duration::from_secs(5)));
    assert_eq!(report.aborted, 0);
}

#[test]
fn a_hundred_runtimes_keep_their_connections() {
    let servers = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let nats = servers.block_on(nats());
    let _server = servers.block_on(rr_nats::serve(&nats.url(), route("svc.echo", echo))).unwrap();
    let client = runtime().block_on(client(&nats.url()));
    let runtimes: Vec<Runtime> = (0..100).map(|_| runtime()).collect();
    for _ in 0..2 {
        for runtime in &runtimes {
            runtime.block_on(call(&client, &within(20_000), "svc.echo")).unwrap();
        }
    }
    assert_eq!(client.nats_stats().connects, 101);
}

#[tokio::test]
async fn calls_wait_for_the_verdict_on_a_doubted_connection_whatever_connection_wait_says() {
    let nats = nats().await;
    let routes = route("svc.hang", |_, _| std::future::pending());
    let _server = rr_nats::serve(&nats.url(), with(routes, "svc.echo", echo)).await.unwrap();
    let far = Delay::before(nats.address(), Duration::from_millis(150)).await;
    let config = NatsConfig::default().with_connection_wait(Duration::ZERO);
    let client = NatsRequester::connect_with(&far.url(), config).await.unwrap();
    client.ready(&within(20_000)).await.unwrap();
    let expired = call(&client, &within(50), "svc.hang").await.unwrap_err();
    assert_eq!(expired.code(), Code::DeadlineExceeded, "{expired}");
    // Nothing has come since: the answer to the probe takes a way there and back.
    call(&client, &within(20_000), "svc.echo").await.unwrap();

    // A server that has announced its end is probed as well.
    nats.lame_duck().unwrap();
    let refuses = async {
        while TcpStream::connect(nats.address()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within(10_000).race(refuses).await.unwrap();
    call(&client, &within(20_000), "svc.echo").await.unwrap();
    let expired = call(&client, &within(50), "svc.hang").await.unwrap_err();
    assert_eq!(expired.code(), Code::DeadlineExceeded, "{expired}");
    call(&client, &within(20_000), "svc.echo").await.unwrap();
}

#[tokio::test]
async fn without_time_to_connect_errors_name_the_setting() {
    for host in ["127.0.0.1:4222", "localhost"] {
        let url = format!("nats://{host}/x?connect_timeout=0s");
        let client = NatsRequester::connect(&url).await.unwrap();
        let error = call(&client, &within(60_000), "svc.echo").await.unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::NotSent));
        assert!(error.message().contains("`connect_timeout` is zero"), "{error}");
        assert!(error.hint().contains("connect_timeout"), "{}", error.hint());
    }
}

#[test]
fn a_requester_made_outside_of_a_runtime_connects_with_its_first_call() {
    let servers = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let nats = servers.block_on(nats());
    let mut connecting = std::pin::pin!(NatsRequester::connect("nats://127.0.0.1:1"));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(nowhere) = connecting.as_mut().poll(&mut cx) else { panic!() };
    assert_eq!(nowhere.unwrap().state(), NatsState::Connecting);
    drop(nats);
}

/// Writes the protocol by hand, as no client library does.
struct Raw(TcpStream);

impl Raw {
    async fn connect(nats: &NatsServer) -> Self {
        let mut stream = TcpStream::connect(nats.address()).await.unwrap();
        let hello = r#"CONNECT {"verbose":false,"headers":true,"protocol":1}"#;
        stream.write_all(format!("{hello}\r\n").as_bytes()).await.unwrap();
        Self(stream)
    }

    async fn publish(&mut self, subject: &[u8], headers: &[u8]) {
        let line = format!(" _INBOX.nowhere {} {}\r\n", headers.len(), headers.len() + 1);
        let message = [b"HPUB ", subject, line.as_bytes(), headers, b"x\r\n"].concat();
        self.0.write_all(&message).await.unwrap();
    }
}

/// Header blocks that async-nats ends its connection on.
const UNREADABLE: [&[u8]; 3] = [
    b"NATS/1.0\r\nName: Andr\xe9\r\n\r\n",
    b"NATS/1.0\r\nA Name: x\r\n\r\n",
    b"NATS/1.0 1234\r\n\r\n",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_cannot_be_parsed_cost_other_idempotent_calls_nothing_and_are_named() {
    let nats = nats().await;
    let config = NatsServerConfig::default();
    let mut routes = route("svc.echo", echo);
    // Subjects of a whole service may have any last token.
    let service = Route::Service("all".to_owned());
    routes.insert(service, Declared::Unspecified, Arc::new(Do(echo))).unwrap();
    let served = rr_nats::serve_with_stats(&nats.url(), routes, config).await;
    let (_server, stats) = served.unwrap();
    let client = client(&nats.url()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (calling, told_to) = (recommended(client.clone()), stop.clone());
    let load = tokio::spawn(async move {
        let (mut answered, mut failed) = (0, Vec::<Error>::new());
        while !told_to.load(Ordering::SeqCst) {
            let request = request("svc.echo", "x").with_idempotency(Idempotency::Idempotent);
            match calling.request(&within(2_000), request).await {
                Ok(_) => answered += 1,
                Err(error) => failed.push(error),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (answered, failed)
    });
    let mut raw = Raw::connect(&nats).await;
    for round in 0..8 {
        // Longer than a connection takes to have worked.
        tokio::time::sleep(Duration::from_millis(500)).await;
        match UNREADABLE.get(round % (UNREADABLE.len() + 1)) {
            Some(headers) => raw.publish(b"svc.echo", headers).await,
            None => raw.publish(b"all.Andr\xe9", b"NATS/1.0\r\n\r\n").await,
        }
        let again = async {
            while stats.connects() < round as u64 + 2 {
                tokio::task::yield_now().await;
            }
        };
        within(10_000).race(again).await.unwrap();
    }
    let named = stats.last_error().unwrap();
    assert!(named.message().contains("async-nats cannot parse"), "{named}");
    stop.store(true, Ordering::SeqCst);
    let (answered, failed) = load.await.unwrap();
    println!("{answered} answered, {} failed", failed.len());
    assert!(answered > 50 && failed.len() * 20 <= answered, "{answered}, {failed:?}");
    assert_eq!(client.nats_stats().connects, 1);
}

/// Fails to connect, and returns how `ready` told so within a time that it must not wait for.
async fn not_ready(url: &str) -> Error {
    let client = patient(url).await;
    let error = client.ready(&within(60_000)).await.unwrap_err();
    assert_eq!((error.delivery(), client.state()), (Delivery::NotSent, NatsState::Refused));
    error
}

#[tokio::test]
async fn a_server_that_waiting_does_not_mend_is_told_immediately_in_its_own_words() {
    let setup = NatsServerSetup::default().with_lines("no_header_support: true");
    let error = not_ready(&nats_with(&setup).await.url()).await;
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
    assert!(error.message().contains("eaders support"), "{error}");
    assert!(error.hint().contains("no_header_support"), "{}", error.hint());

    let setup = NatsServerSetup::default().with_lines("max_control_line: 64");
    let error = not_ready(&nats_with(&setup).await.url()).await;
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
    assert!(error.hint().contains("max_control_line"), "{error}: {}", error.hint());

    let error = not_ready(&format!("nats://{}", requires_tls().await)).await;
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
    assert!(error.hint().contains("TLS"), "{}", error.hint());
}

/// A server that requires TLS, with a handshake that cannot succeed.
async fn requires_tls() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let info = r#"INFO {"server_id":"x","server_name":"x","version":"2.15.1","go":"go","host":"h","port":1,"headers":true,"max_payload":1048576,"proto":1,"tls_required":true}"#;
            let _ = stream.write_all(format!("{info}\r\n").as_bytes()).await;
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"this is no TLS at all, whatever it is\r\n").await;
            let _ = stream.read(&mut [0; 1024]).await;
        }
    });
    address
}

/// Connects to a server of `max_connections: 1`, and returns the connection that the server counts.
async fn only_connection(address: SocketAddr) -> TcpStream {
    loop {
        let mut holder = TcpStream::connect(address).await.unwrap();
        holder.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").await.unwrap();
        let mut lines = BufReader::new(&mut holder).lines();
        // A server sends its INFO before it counts the connection, and a PONG after that. It may
        // still count an earlier connection, and then refuses this one.
        while let Ok(Some(line)) = lines.next_line().await {
            if line == "PONG" {
                return holder;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_full_server_is_named_and_waited_for() {
    let setup = NatsServerSetup::default().with_lines("max_connections: 1");
    let nats = nats_with(&setup).await;
    let holder = only_connection(nats.address()).await;
    let mut config = NatsConfig::default();
    config.connection.reconnect_delay_max = Duration::from_millis(50);
    let client = NatsRequester::connect_with(&nats.url(), config).await.unwrap();
    client.state_changed(NatsState::Connecting).await;
    let error = client.last_error().unwrap();
    assert!(error.message().contains("maximum connections exceeded"), "{error}");
    assert!(error.hint().contains("max_connections"), "{}", error.hint());
    assert_eq!(error.code(), Code::Unavailable);
    drop(holder);
    client.ready(&within(10_000)).await.unwrap();
}
