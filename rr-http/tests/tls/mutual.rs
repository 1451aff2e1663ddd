//! Mutual TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rr_http::{HttpConfig, HttpRequester, HttpVersion};
use rr_spi::{Code, Delivery, Error};
use rr_tls::{TlsAcceptor, TlsClientAuth, TlsConfig, TlsServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::TLS12;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::authority::{Authority, Leaf, Pair};
use crate::support::{VERSIONS, assert_not_sent, call, client, echo, serve, server_tls, trusting};

const BILLING: &str = "spiffe://shop.example/billing";

fn asking(authority: &Authority, auth: TlsClientAuth) -> TlsServerConfig {
    let tls = server_tls(&authority.pair(&["localhost"]));
    tls.with_client_auth(auth).with_client_roots(authority.pem())
}

fn with(tls: TlsConfig, pair: &Pair) -> TlsConfig {
    tls.with_certificate(pair.certificate.as_str()).with_key(pair.key.as_str())
}

#[tokio::test]
async fn a_handler_sees_the_identity_of_its_caller() {
    let authority = Authority::new("a");
    let billing = authority.sign(&Leaf::new(&["billing"]).uri(BILLING));
    for auth in [TlsClientAuth::Optional, TlsClientAuth::Required] {
        let (server, _) = serve(asking(&authority, auth)).await;
        for version in VERSIONS {
            let client = client(&server, with(trusting(&authority), &billing), version);
            for _ in 0..2 {
                assert_eq!(call(&client, "lab.who", "").await.unwrap(), BILLING, "{version:?}");
            }
        }
    }
    // A certificate that the server does not ask for is not sent.
    let (server, _) = serve(server_tls(&authority.pair(&["localhost"]))).await;
    let client = client(&server, with(trusting(&authority), &billing), HttpVersion::Auto);
    assert_eq!(call(&client, "lab.who", "").await.unwrap(), "nobody");
}

#[tokio::test]
async fn an_optional_certificate_may_be_missing() {
    let authority = Authority::new("a");
    let (server, _) = serve(asking(&authority, TlsClientAuth::Optional)).await;
    for version in VERSIONS {
        let client = client(&server, trusting(&authority), version);
        assert_eq!(call(&client, "lab.who", "").await.unwrap(), "nobody", "{version:?}");
    }
}

/// Asserts that a call failed because of the client's certificate. In TLS 1.3, the request may have
/// been written by then, but the server has not read it.
fn assert_refused(error: &Error, message: &str) {
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    let delivery = error.delivery();
    assert!(matches!(delivery, Delivery::NotSent | Delivery::Rejected), "{error}: {delivery:?}");
    assert_eq!(error.reason(), Some(&rr_spi::Reason::CONNECT_FAILED), "{error}");
    assert!(error.message().contains(message), "{error}");
    assert!(error.hint().contains("tls_certificate") || error.hint().contains("authority"));
}

#[tokio::test]
async fn a_client_that_the_server_does_not_accept_learns_why() {
    let (authority, other) = (Authority::new("a"), Authority::new("b"));
    let required = asking(&authority, TlsClientAuth::Required);
    let (server, stats) = serve(required.with_client_crls(authority.revoke(&[7]))).await;
    let leaf = || Leaf::new(&["billing"]);
    let trusts = trusting(&authority);
    let table = [
        (trusts.clone(), "requires a client certificate"),
        (with(trusts.clone(), &other.sign(&leaf())), "issuer is unknown"),
        (with(trusts.clone(), &authority.sign(&leaf().years(2000, 2001))), "expired"),
        (with(trusts, &authority.sign(&leaf().serial(7))), "revoked"),
    ];
    for (tls, message) in table {
        for version in VERSIONS {
            let client = client(&server, tls.clone(), version);
            // Several times, since the alert races with the request.
            for _ in 0..8 {
                let error = call(&client, "lab.who", "").await.unwrap_err();
                assert_refused(&error, message);
            }
        }
    }
    assert!(stats.handshakes_failed() >= 12);
}

/// Makes the configuration of a server that speaks TLS 1.2 alone and requires a certificate of the
/// authority.
fn tls_1_2(authority: &Authority) -> Arc<ServerConfig> {
    let both = TlsAcceptor::new(&asking(authority, TlsClientAuth::Required), &[b"http/1.1"]);
    let both = both.unwrap().server_config();
    let provider = Arc::clone(both.crypto_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_cert_resolver(Arc::clone(&both.cert_resolver));
    Arc::new(config)
}

/// Answers "hi" to each request of each connection, and counts the reads that brought bytes.
async fn answer(listener: TcpListener, config: Arc<ServerConfig>, reads: Arc<AtomicUsize>) {
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    while let Ok((stream, _)) = listener.accept().await {
        let Ok(mut stream) = acceptor.accept(stream).await else { continue };
        let mut request = vec![0; 4096];
        while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
            reads.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
            let _ = stream.flush().await;
        }
    }
}

#[tokio::test]
async fn in_tls_1_2_a_refused_certificate_ends_the_handshake_before_the_request() {
    let (authority, other) = (Authority::new("a"), Authority::new("b"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let reads = Arc::<AtomicUsize>::default();
    tokio::spawn(answer(listener, tls_1_2(&authority), Arc::clone(&reads)));
    let leaf = || Leaf::new(&["billing"]);
    let trusts = trusting(&authority);
    for tls in [trusts.clone(), with(trusts.clone(), &other.sign(&leaf()))] {
        let client = HttpRequester::new(&url, HttpConfig::default().with_tls(tls)).unwrap();
        for _ in 0..8 {
            assert_not_sent(&echo(&client, "x").await.unwrap_err());
        }
    }
    assert_eq!(reads.load(Ordering::SeqCst), 0);
    let tls = with(trusts, &authority.sign(&leaf()));
    let client = HttpRequester::new(&url, HttpConfig::default().with_tls(tls)).unwrap();
    assert_eq!(echo(&client, "x").await.unwrap(), "hi");
    assert!(reads.load(Ordering::SeqCst) > 0);
}
