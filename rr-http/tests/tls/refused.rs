//! Servers that a requester refuses, and servers that refuse it.

use rr_http::{HttpConfig, HttpRequester, HttpServerConfig, HttpVersion};
use rr_spi::{Code, Context, Delivery, Request, Requester};
use rr_tls::TlsConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::authority::{Authority, Leaf, Pair};
use crate::support::{
    VERSIONS, address, assert_not_sent, client, echo, serve, serve_at, server_tls, trusting, until,
};

#[tokio::test]
async fn each_bad_certificate_is_a_stated_error_with_a_hint() {
    let (authority, other) = (Authority::new("a"), Authority::new("b"));
    let leaf = || Leaf::new(&["localhost"]);
    let trusts = trusting(&authority);
    let checks = trusts.clone().with_crls(authority.revoke(&[7]));
    let table: [(Pair, &TlsConfig, &str, &str); 6] = [
        (authority.sign(&leaf().years(2000, 2001)), &trusts, "expired", "renew"),
        (authority.sign(&leaf().years(3000, 3001)), &trusts, "not valid yet", "clock"),
        (authority.pair(&["a.example"]), &trusts, "for a.example, not for localhost", "name"),
        (other.sign(&leaf()), &trusts, "issuer", "tls_roots"),
        (leaf().self_signed(), &trusts, "self-signed", "tls_roots"),
        (authority.sign(&leaf().serial(7)), &checks, "revoked", "new certificate"),
    ];
    for (pair, tls, message, hint) in table {
        let (server, stats) = serve(server_tls(&pair)).await;
        for version in VERSIONS {
            let client = client(&server, tls.clone(), version);
            let error = echo(&client, "x").await.unwrap_err();
            assert_not_sent(&error);
            assert!(error.message().contains(message), "{version:?}: {error}");
            assert!(error.message().contains(&address(&server)), "{error}");
            assert!(error.hint().contains(hint), "{error}: {}", error.hint());
            assert_eq!(client.connections(), 0, "{version:?}");
        }
        until(|| stats.handshakes_failed() == 3).await;
    }
}

#[tokio::test]
async fn the_roots_of_the_operating_system_do_not_trust_a_test() {
    let (server, _) = serve(server_tls(&Authority::new("a").pair(&["localhost"]))).await;
    // A system without roots refuses to make the requester.
    let Ok(client) = HttpRequester::connect(server.url()).await else { return };
    let error = echo(&client, "x").await.unwrap_err();
    assert_not_sent(&error);
    assert!(error.message().contains("issuer"), "{error}");
}

#[tokio::test]
async fn tls_to_a_plain_port_hints_at_http() {
    let (server, _) = serve_at("http://localhost:0", HttpServerConfig::default()).await;
    let url = format!("https://{}", address(&server));
    let config = HttpConfig::default().with_tls(trusting(&Authority::new("a")));
    for version in VERSIONS {
        let config = config.clone().with_version(version);
        let client = HttpRequester::new(&url, config).unwrap();
        let error = echo(&client, "x").await.unwrap_err();
        assert_not_sent(&error);
        assert!(error.message().contains("does not speak TLS"), "{error}");
        assert!(error.hint().contains("http://"), "{}", error.hint());
    }
}

#[tokio::test]
async fn plain_http_to_a_tls_port_is_told_to_use_https() {
    let (server, _) = serve(server_tls(&Authority::new("a").pair(&["localhost"]))).await;
    let client = HttpRequester::connect(&format!("http://{}", address(&server))).await.unwrap();
    let error = echo(&client, "x").await.unwrap_err();
    // A proxy may have repeated the request, which another server may have run.
    assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::Unknown));
    assert!(error.message().contains("use https://"), "{error}");

    let mut raw = TcpStream::connect(address(&server)).await.unwrap();
    raw.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut reply = String::new();
    raw.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{reply}");
    assert!(reply.contains("\r\nconnection: close\r\n"), "{reply}");
    assert!(!reply.contains("rejected") && !reply.contains("not-sent"), "{reply}");
    assert!(reply.contains("\r\ncache-control: no-store\r\n"), "{reply}");
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", body.len())), "{reply}");
    let document: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(document["code"], "invalid_argument", "{body}");
}

/// First message of a client that speaks TLS 1.1 at most, with these extensions.
fn hello_of_tls_1_1(extensions: &[u8]) -> Vec<u8> {
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    // No session, two cipher suites of the time, no compression.
    hello.extend([0, 0, 4, 0, 0x2f, 0, 0x35, 1, 0]);
    hello.extend([0, u8::try_from(extensions.len()).unwrap()]);
    hello.extend(extensions);
    let mut handshake = vec![1, 0, 0, u8::try_from(hello.len()).unwrap()];
    handshake.append(&mut hello);
    let mut record = vec![22, 3, 1, 0, u8::try_from(handshake.len()).unwrap()];
    record.append(&mut handshake);
    record
}

#[tokio::test]
async fn a_client_of_tls_1_1_gets_a_fatal_alert() {
    let (server, stats) = serve(server_tls(&Authority::new("a").pair(&["localhost"]))).await;
    // Without signature algorithms, which TLS 1.1 does not have: `handshake_failure`. With them:
    // `protocol_version`.
    for (extensions, alert) in [(&[][..], 40), (&[0, 13, 0, 4, 0, 2, 4, 3], 70)] {
        let mut raw = TcpStream::connect(address(&server)).await.unwrap();
        raw.write_all(&hello_of_tls_1_1(extensions)).await.unwrap();
        let mut reply = Vec::new();
        raw.read_to_end(&mut reply).await.unwrap();
        assert_eq!((reply[0], &reply[5..]), (21, &[2, alert][..]), "{reply:?}");
    }
    until(|| stats.handshakes_failed() == 2).await;
}

/// Answers each connection with bytes, and ends it.
async fn foreign(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut hello = [0; 1024];
            let _ = stream.read(&mut hello).await;
            let _ = stream.write_all(answer).await;
        }
    });
    url
}

#[tokio::test]
async fn a_server_that_answers_something_else_is_explained() {
    for (answer, message) in [
        (&b"SSH-2.0-x\r\n"[..], "does not speak TLS"),
        (b"", "closed the connection during the handshake"),
        // A fatal alert: `protocol_version`.
        (b"\x15\x03\x01\x00\x02\x02\x46", "no common version of TLS"),
        // A fatal alert: `internal_error`.
        (b"\x15\x03\x03\x00\x02\x02\x50", "InternalError"),
    ] {
        let config = HttpConfig::default().with_tls(trusting(&Authority::new("a")));
        let client = HttpRequester::new(&foreign(answer).await, config).unwrap();
        let error = echo(&client, "x").await.unwrap_err();
        assert_not_sent(&error);
        assert!(error.message().contains(message), "{error}");
        assert!(!error.hint().is_empty());
    }
}

#[tokio::test]
async fn a_silent_server_ends_with_the_connect_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let tls = trusting(&Authority::new("a"));
    let config = HttpConfig::default()
        .with_tls(tls)
        .with_version(HttpVersion::H1)
        .with_connect_timeout(std::time::Duration::from_millis(50));
    let client = HttpRequester::new(&url, config).unwrap();
    let request = Request::new("lab.echo".try_into().unwrap(), "");
    let error = client.request(&Context::background(), request).await.unwrap_err();
    assert_not_sent(&error);
    assert!(error.message().contains("within 50ms"), "{error}");
}
