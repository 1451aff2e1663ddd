//! Mutual TLS.

use rr_http::HttpVersion;
use rr_spi::{Code, Delivery, Error};
use rr_tls::{TlsClientAuth, TlsConfig, TlsServerConfig};

use crate::authority::{Authority, Leaf, Pair};
use crate::support::{VERSIONS, call, client, serve, server_tls, trusting};

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
