//! Calls over TLS, and what configures them.

use std::time::Duration;

use rr_http::{HttpConfig, HttpRequester, HttpServerConfig, HttpVersion};
use rr_spi::{Code, Delivery, Error, Routes};
use rr_tls::TlsServerConfig;

use crate::authority::Authority;
use crate::directory::Directory;
use crate::support::{VERSIONS, client, echo, serve, serve_at, server_tls, trusting};

#[tokio::test]
async fn calls_travel_over_every_version() {
    let authority = Authority::new("a");
    let (server, stats) = serve(server_tls(&authority.pair(&["localhost"]))).await;
    assert!(server.url().starts_with("https://localhost:"), "{}", server.url());
    for version in VERSIONS {
        let client = client(&server, trusting(&authority), version);
        let large = "x".repeat(1_000_000);
        for _ in 0..3 {
            assert_eq!(echo(&client, "small").await.unwrap(), "small", "{version:?}");
            assert!(echo(&client, &large).await.unwrap() == large, "{version:?}");
        }
        assert_eq!(client.connections(), 1, "{version:?}: kept");
    }
    assert_eq!((stats.handshakes(), stats.handshakes_failed()), (0, 0));
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_url_alone_configures_both_ends() {
    let (authority, directory) = (Authority::new("a"), Directory::new());
    let pair = authority.pair(&["orders.example"]);
    let roots = directory.write("ca.pem", &authority.pem());
    let certificate = directory.write("tls.crt", &pair.certificate);
    let key = directory.write("tls.key", &pair.key);
    let query = format!("tls_certificate={}&tls_key={}", certificate.display(), key.display());
    let config = HttpServerConfig::default();
    let (server, _) = serve_at(&format!("https://127.0.0.1:0/api?{query}"), config).await;
    let (base, _) = server.url().split_once('?').unwrap();
    assert!(base.starts_with("https://127.0.0.1:") && base.ends_with("/api"), "{base}");
    let query = format!("tls_roots={}&tls_server_name=orders.example", roots.display());
    let client = HttpRequester::connect(&format!("{base}?{query}")).await.unwrap();
    assert_eq!(echo(&client, "x").await.unwrap(), "x");
}

#[tokio::test]
async fn an_address_and_a_name_override_are_verified() {
    let authority = Authority::new("a");
    let (server, _) = serve(server_tls(&authority.pair(&["127.0.0.1", "orders.example"]))).await;
    let port = server.url().rsplit(':').next().unwrap();
    let at = |host: &str, name: &str| {
        let tls = trusting(&authority).with_server_name(name);
        let url = format!("https://{host}:{port}");
        HttpRequester::new(&url, HttpConfig::default().with_tls(tls)).unwrap()
    };
    assert_eq!(echo(&at("127.0.0.1", ""), "x").await.unwrap(), "x");
    assert_eq!(echo(&at("localhost", "orders.example"), "x").await.unwrap(), "x");
    let error = echo(&at("localhost", ""), "x").await.unwrap_err();
    assert!(error.message().contains("not for localhost"), "{error}");
}

fn assert_refused(error: &Error, message: &str, hint: &str) {
    assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::NotSent));
    assert!(error.message().contains(message), "{error}");
    assert!(error.hint().contains(hint), "{error}: {}", error.hint());
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused_when_it_is_used() {
    let authority = Authority::new("a");
    let with = |tls: TlsServerConfig, url: &'static str| async move {
        let config = HttpServerConfig::default().with_tls(tls);
        rr_http::serve_with(url, Routes::new(), config).await.unwrap_err()
    };
    let url = "https://127.0.0.1:0";
    let bare = with(TlsServerConfig::default(), url).await;
    assert_refused(&bare, "needs a certificate", "`tls_certificate` and `tls_key`");
    let url = "https://127.0.0.1:0?tls_key=-----BEGIN%20PRIVATE%20KEY-----";
    let inline = with(TlsServerConfig::default(), url).await;
    assert_refused(&inline, "cannot contain the key", "path");

    let config = HttpConfig::default().with_tls(trusting(&authority));
    let new = |url: &str| HttpRequester::new(url, config.clone()).unwrap_err();
    assert_refused(&new("https://h?version=h2c"), "without TLS", "`version=h2`");
    assert_refused(&new("http://h?version=h2"), "needs https://", "`version=h2c`");
    assert_refused(&new("https://h?tls_roots=/absent/ca.pem"), "/absent/ca.pem", "path");
    let key = "https://h?tls_certificate=/a&tls_key=-----BEGIN%20PRIVATE%20KEY-----";
    assert_refused(&new(key), "cannot contain the key", "path");
}

#[tokio::test]
async fn without_tls_the_options_have_no_effect() {
    let authority = Authority::new("a");
    let tls = server_tls(&authority.pair(&["localhost"]));
    let config = HttpServerConfig::default().with_tls(tls);
    let (server, _) = serve_at("http://localhost:0", config).await;
    let client = client(&server, trusting(&authority), HttpVersion::Auto);
    assert_eq!(echo(&client, "x").await.unwrap(), "x");
}
