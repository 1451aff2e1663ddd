//! NATS over TLS: who is trusted, and how each mistake is told.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fmt::Display;
use std::time::Duration;

use crate::support::authority::{Authority, Leaf, Pair};
use crate::support::*;
use rr_nats::{
    NatsConfig, NatsConnectionConfig, NatsRequester, NatsServerConfig, NatsState, serve, serve_with,
};
use rr_spi::{Code, Delivery, Error, Reason, Requester};
use rr_testkit::{NatsServer, NatsServerSetup};
use rr_tls::TlsConfig;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;

/// A name that has the address of the server, which the certificates do not contain.
const NAME: &str = "localhost";

fn setup(pair: &Pair) -> NatsServerSetup {
    NatsServerSetup::default().with_tls(&pair.certificate, &pair.key)
}

async fn broker(pair: &Pair) -> NatsServer {
    nats_with(&setup(pair)).await
}

fn url(nats: &NatsServer) -> String {
    format!("nats+tls://{NAME}:{}", nats.address().port())
}

fn trusting(authority: &Authority) -> TlsConfig {
    TlsConfig::default().with_roots(authority.pem())
}

fn connection(tls: TlsConfig) -> NatsConnectionConfig {
    NatsConnectionConfig::default()
        .with_tls(tls)
        .with_reconnect_delay_max(Duration::from_millis(100))
}

async fn requester(url: &str, tls: TlsConfig) -> NatsRequester {
    NatsRequester::connect_with(url, NatsConfig::default().with_connection(connection(tls)))
        .await
        .unwrap()
}

async fn ready(url: &str, tls: TlsConfig) -> NatsRequester {
    let client = requester(url, tls).await;
    client.ready(&within(10_000)).await.unwrap();
    client
}

/// Asserts that both ends are refused immediately, and returns the error.
async fn refused(url: &str, tls: TlsConfig) -> Error {
    let client = requester(url, tls.clone()).await;
    let error = client.ready(&within(60_000)).await.unwrap_err();
    assert_eq!(client.state(), NatsState::Refused, "{error}");
    let config = NatsServerConfig::default().with_connection(connection(tls));
    let served = serve_with(url, route("svc.echo", echo), config).await.unwrap_err();
    for error in [&error, &served] {
        assert_eq!(error.delivery(), Delivery::NotSent, "{error}");
        assert!(!error.hint().is_empty(), "{error}");
    }
    assert_eq!(error.message(), served.message());
    error
}

fn is_handshake(error: &Error, cause: &str, hint: &str) {
    assert_eq!((error.code(), error.reason()), (Code::Unavailable, Some(&Reason::CONNECT_FAILED)));
    assert!(error.message().contains(cause), "{cause}: {error}");
    assert!(error.hint().contains(hint), "{hint}: {}", error.hint());
}

async fn reaches(client: &NatsRequester, wanted: NatsState) {
    let reached = async {
        let mut state = client.state();
        while state != wanted {
            state = client.state_changed(state).await;
        }
    };
    within(20_000).race(reached).await.unwrap();
}

fn path(directory: impl Display, name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("rr-nats-tls-{}-{directory}-{name}", std::process::id()))
}

#[tokio::test]
async fn both_ends_verify_the_name_of_the_url_and_not_the_address_that_it_has() {
    let authority = Authority::new("ca");
    let nats = broker(&authority.pair(&[NAME])).await;
    let config = NatsServerConfig::default().with_connection(connection(trusting(&authority)));
    let _server = serve_with(&url(&nats), route("svc.echo", echo), config).await.unwrap();
    let client = ready(&url(&nats), trusting(&authority)).await;
    call(&client, &within(5000), "svc.echo").await.unwrap();
    let short = url(&nats).replace("nats+tls://", "tls://");
    call(&ready(&short, trusting(&authority)).await, &within(5000), "svc.echo").await.unwrap();
    let by_address = format!("nats+tls://{}", nats.address());
    let error = refused(&by_address, trusting(&authority)).await;
    is_handshake(&error, "is for localhost, not for 127.0.0.1", "`tls_server_name`");
    let named = trusting(&authority).with_server_name(NAME);
    call(&ready(&by_address, named).await, &within(5000), "svc.echo").await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_cannot_be_verified_is_told_at_once() {
    let authority = Authority::new("ca");
    let revoking = trusting(&authority).with_crls(authority.revoke(&[7]));
    let trusting = || trusting(&authority);
    let leaf = || Leaf::new(&[NAME]);
    for (pair, tls, cause, hint) in [
        (authority.sign(&leaf().years(2000, 2001)), trusting(), "expired", "renew"),
        (authority.sign(&leaf().years(3000, 3001)), trusting(), "not valid yet", "clock"),
        (authority.pair(&["other.test"]), trusting(), "other.test, not for localhost", "name"),
        (Authority::new("other").pair(&[NAME]), trusting(), "issuer", "`tls_roots`"),
        (leaf().self_signed(), trusting(), "self-signed", "`tls_roots`"),
        (leaf().authority().self_signed(), trusting(), "(CA:TRUE)", "CA:FALSE"),
        (authority.sign(&leaf().serial(7)), revoking, "revoked", "new certificate"),
    ] {
        let nats = broker(&pair).await;
        is_handshake(&refused(&url(&nats), tls).await, cause, hint);
    }
}

#[tokio::test]
async fn a_refused_certificate_is_tried_again_for_when_it_is_replaced() {
    let authority = Authority::new("ca");
    let nats = broker(&authority.pair(&["other.test"])).await;
    let client = requester(&url(&nats), trusting(&authority)).await;
    reaches(&client, NatsState::Refused).await;
    nats.reload(&setup(&authority.pair(&[NAME]))).unwrap();
    reaches(&client, NatsState::Connected).await;
}

#[tokio::test]
async fn tls_that_only_one_end_speaks_is_told_at_once_with_the_scheme_to_use() {
    let authority = Authority::new("ca");
    let plain = nats().await;
    let error = refused(&url(&plain), trusting(&authority)).await;
    is_handshake(&error, "does not speak TLS", "`nats://`");
    let secure = broker(&authority.pair(&[NAME])).await;
    let error = refused(&secure.url(), trusting(&authority)).await;
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
    assert!(error.hint().contains("`nats+tls`"), "{}", error.hint());
}

#[tokio::test]
async fn options_of_tls_without_tls_are_refused() {
    for (bad, hint) in [
        ("nats://h?tls_server_name=a", "`nats+tls://`"),
        ("nats://h?tls_first=true", "`nats+tls://`"),
        #[cfg(feature = "websockets")]
        ("ws://h?tls_roots=/ca.pem", "`wss://`"),
        ("nats+tls://h?tls_roots=/no/such/file", "path"),
        ("nats+tls://h?tls_certificate=/no/such/file", "set both"),
    ] {
        let error = NatsRequester::connect(bad).await.err().unwrap();
        let told = (error.code(), error.delivery());
        assert_eq!(told, (Code::InvalidArgument, Delivery::NotSent), "{bad}: {error}");
        assert!(error.hint().contains(hint), "{bad}: {}", error.hint());
        assert!(serve(bad, route("svc.echo", echo)).await.is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_server_that_requires_client_certificates_maps_them_to_users() {
    let (authority, clients) = (Authority::new("ca"), Authority::new("clients"));
    let users = "authorization { users: [{user: \"CN=leaf\"}] }";
    let setup = setup(&authority.pair(&[NAME]))
        .with_client_roots(&clients.pem())
        .with_tls_lines("verify_and_map: true")
        .with_lines(users);
    let nats = nats_with(&setup).await;
    let with =
        |pair: Pair| trusting(&authority).with_certificate(pair.certificate).with_key(pair.key);
    let client = ready(&url(&nats), with(clients.pair(&["caller"]))).await;
    let told = told(call(&client, &within(5000), "svc.none").await);
    assert_eq!((told.0, told.1), (Code::Unavailable, Delivery::NotSent));
    // How far a client without one comes depends on the network: it is told immediately if its
    // server was heard.
    for tls in [trusting(&authority), with(Authority::new("others").pair(&["caller"]))] {
        let config = NatsServerConfig::default().with_connection(connection(tls));
        let url = url(&nats);
        let error = serve_with(&url, route("svc.echo", echo), config).await.unwrap_err();
        is_handshake(&error, "no TLS connection", "");
        let told = format!("{} {}", error.message(), error.hint());
        assert!(told.contains("client certificate"), "{error:?}");
    }
}

#[tokio::test]
async fn a_client_certificate_that_is_replaced_is_used_for_the_next_connection() {
    let authority = Authority::new("ca");
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let pair = authority.pair(&[NAME]);
    let setup = |clients: &Authority| setup(&pair).with_client_roots(&clients.pem());
    let mut nats = nats_with(&setup(&first)).await;
    let (certificate, key) = (path("rotated", "crt"), path("rotated", "key"));
    let write = |pair: Pair| {
        std::fs::write(&certificate, pair.certificate).unwrap();
        std::fs::write(&key, pair.key).unwrap();
    };
    write(first.pair(&["caller"]));
    let tls = trusting(&authority).with_certificate(&*certificate).with_key(&*key);
    let client = ready(&url(&nats), tls).await;
    nats.reload(&setup(&second)).unwrap();
    nats.restart().await.unwrap();
    while client.state() == NatsState::Connected {
        client.state_changed(NatsState::Connected).await;
    }
    write(second.pair(&["caller"]));
    reaches(&client, NatsState::Connected).await;
    let _ = (std::fs::remove_file(&certificate), std::fs::remove_file(&key));
}

#[tokio::test]
async fn tls_first_is_spoken_on_demand_and_its_absence_is_hinted_at() {
    let authority = Authority::new("ca");
    let pair = authority.pair(&[NAME]);
    let nats = nats_with(&setup(&pair).with_tls_lines("handshake_first: true")).await;
    let first = format!("{}?tls_first=true", url(&nats));
    ready(&first, trusting(&authority)).await;

    let late = format!("{}?connect_timeout=300ms", url(&nats));
    let config = NatsServerConfig::default().with_connection(connection(trusting(&authority)));
    let error = serve_with(&late, route("svc.echo", echo), config).await.unwrap_err();
    is_handshake(&error, "did not answer", "`tls_first=true`");

    let ordinary = broker(&pair).await;
    let first = format!("{}?tls_first=true", url(&ordinary));
    is_handshake(&refused(&first, trusting(&authority)).await, "does not speak TLS", "`tls_first`");
}

/// Returns how many members a server announces in the line that it sends before TLS begins.
async fn announced_by(nats: &NatsServer) -> usize {
    let stream = TcpStream::connect(nats.address()).await.unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.unwrap();
    let info: serde_json::Value =
        serde_json::from_str(line.strip_prefix("INFO ").unwrap()).unwrap();
    info["connect_urls"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn members_that_a_cluster_announces_by_address_have_the_name_of_the_url() {
    let authority = Authority::new("ca");
    let setup = setup(&authority.pair(&[NAME]));
    let mut cluster = NatsServer::start_cluster_with(2, &setup).await.unwrap();
    let announced = async {
        while announced_by(&cluster[0]).await < 2 {
            tokio::task::yield_now().await;
        }
    };
    within(10_000).race(announced).await.unwrap();
    let url = format!("{}?connection_wait=10s", url(&cluster[0]));
    let config = NatsServerConfig::default().with_connection(connection(trusting(&authority)));
    let _server = serve_with(&url, route("svc.echo", echo), config).await.unwrap();
    let client = ready(&url, trusting(&authority)).await;
    call(&client, &within(5000), "svc.echo").await.unwrap();
    cluster[0].kill().unwrap();
    let moved = async {
        loop {
            if call(&client, &within(2000), "svc.echo").await.is_ok() {
                return;
            }
        }
    };
    within(20_000).race(moved).await.unwrap();
}

#[tokio::test]
async fn the_message_limit_of_a_user_is_asked_for_over_tls() {
    let authority = Authority::new("ca");
    let pair = authority.pair(&[NAME]);
    for first in ["false", "true"] {
        let setup = setup(&pair).with_tls_lines(&format!("handshake_first: {first}")).with_lines(
            "accounts { A { users: [{user: a, password: a}], limits { max_payload: 8192 } } }",
        );
        let nats = nats_with(&setup).await;
        let port = nats.address().port();
        let url = format!("nats+tls://a:a@{NAME}:{port}?tls_first={first}");
        let client = ready(&url, trusting(&authority)).await;
        let told = async {
            loop {
                let error = client.request(&within(5000), request("svc.echo", vec![0; 9000])).await;
                if error.unwrap_err().message().contains("takes 8192 at most") {
                    return;
                }
            }
        };
        within(10_000).race(told).await.unwrap();
    }
}

#[cfg(feature = "websockets")]
#[tokio::test]
async fn a_websocket_over_tls_verifies_the_name_of_the_url() {
    let authority = Authority::new("ca");
    let nats = nats_with(&setup(&authority.pair(&[NAME])).with_websocket()).await;
    let port = nats.websocket_address().port();
    let url = format!("wss://{NAME}:{port}");
    let config = NatsServerConfig::default().with_connection(connection(trusting(&authority)));
    let _server = serve_with(&url, route("svc.echo", echo), config).await.unwrap();
    call(&ready(&url, trusting(&authority)).await, &within(5000), "svc.echo").await.unwrap();
    let error = refused(&format!("wss://127.0.0.1:{port}"), trusting(&authority)).await;
    is_handshake(&error, "is for localhost, not for 127.0.0.1", "`tls_server_name`");
    let named = trusting(&authority).with_server_name(NAME);
    ready(&format!("wss://127.0.0.1:{port}"), named).await;
    is_handshake(
        &refused(&url, TlsConfig::default().with_roots(Authority::new("x").pem())).await,
        "issuer",
        "",
    );
}
