//! `https://` by URL and by configuration.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::time::Duration;

use rr_core::config::{
    ClientConfig, HttpSection, HttpServerSection, Pem, ServerConfig, TlsClientAuth, TlsConfig,
    TlsServerConfig,
};
use rr_core::context::{Peer, PeerIdentity};
use rr_core::{
    Code, Context, Delivery, Error, Request, RequesterExt, Response, Router, connect, connect_with,
    serve, serve_with,
};

use crate::authority::{Authority, Leaf};

async fn who(ctx: Context, _: Request) -> Result<Response, Error> {
    let identity = ctx.request().peer().and_then(Peer::identity);
    let name = identity.and_then(PeerIdentity::spiffe_id).unwrap_or("nobody");
    Ok(Response::new(name.to_owned()))
}

fn router() -> Router {
    Router::new().route("who", who)
}

#[tokio::test]
async fn both_ends_are_configured_by_sections_and_a_handler_sees_the_identity() {
    let authority = Authority::new("a");
    let (server, own) = (
        authority.pair(&["localhost"]),
        authority.sign(&Leaf::new(&["billing"]).uri("spiffe://shop/billing")),
    );
    let tls = TlsServerConfig::default()
        .with_certificate(server.certificate)
        .with_key(server.key)
        .with_client_auth(TlsClientAuth::Optional)
        .with_client_roots(authority.pem());
    let config = ServerConfig::from(HttpServerSection::default().with_tls(tls));
    let server = serve_with("https://localhost:0", router(), config).await.unwrap();
    let anonymous = TlsConfig::default().with_roots(authority.pem());
    let billing = anonymous.clone().with_certificate(own.certificate).with_key(own.key);
    for (tls, name) in [(anonymous, "nobody"), (billing, "spiffe://shop/billing")] {
        let config = ClientConfig::from(HttpSection::default().with_tls(tls));
        let client = connect_with(server.url(), config).await.unwrap();
        client.ready(&Context::background()).await.unwrap();
        let reply = client.call_raw(&Context::background(), "who", "").await.unwrap();
        assert_eq!(reply.body, name);
    }
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn each_of_several_hosts_and_each_address_of_a_name_speaks_tls() {
    let authority = Authority::new("a");
    let serve = async || {
        let pair = authority.pair(&["localhost"]);
        let tls = TlsServerConfig::default().with_certificate(pair.certificate).with_key(pair.key);
        let config = ServerConfig::from(HttpServerSection::default().with_tls(tls));
        serve_with("https://localhost:0", router(), config).await.unwrap()
    };
    let (one, other) = (serve().await, serve().await);
    let host = |url: &str| url.strip_prefix("https://").unwrap().to_owned();
    let (first, second) = (host(one.url()), host(other.url()));
    let ctx = Context::background().with_timeout(Duration::from_secs(30));
    for (url, endpoints) in [
        (format!("https://{first},{second}"), [first.clone(), second.clone()]),
        (
            format!("https://{first},{second}?addresses=all"),
            [first.as_str(), second.as_str()].map(|host| format!("{host} (")),
        ),
    ] {
        let tls = TlsConfig::default().with_roots(authority.pem());
        let config = ClientConfig::from(HttpSection::default().with_tls(tls));
        let client = connect_with(&url, config).await.unwrap();
        let call = async || client.call_raw(&ctx, "who", "").await.unwrap();
        while !endpoints.iter().all(|name| format!("{client:?}").contains(name)) {
            assert_eq!(call().await.body, "nobody");
        }
        for _ in 0..20 {
            assert_eq!(call().await.body, "nobody");
        }
    }
    one.shutdown(Duration::from_secs(5)).await;
    other.shutdown(Duration::from_secs(5)).await;
}

#[test]
fn a_file_names_tls_as_a_part_of_its_section() {
    let file = r#"{"http": {"tls": {"roots": "/etc/ca.pem", "server_name": "orders"}}}"#;
    let config: ClientConfig = serde_json::from_str(file).unwrap();
    let expected = TlsConfig::default().with_roots("/etc/ca.pem").with_server_name("orders");
    assert_eq!(config.http.tls, expected);
    let file = r#"{"http": {"tls": {"client_auth": "required", "handshake_timeout": "3s"}}}"#;
    let config: ServerConfig = serde_json::from_str(file).unwrap();
    assert_eq!(config.http.tls.client_auth, TlsClientAuth::Required);
    assert_eq!(config.http.tls.handshake_timeout, Duration::from_secs(3));
    assert_eq!(config.http.tls.key, Pem::NONE);
}

#[tokio::test]
async fn mistakes_are_told_with_a_hint() {
    let error = serve("https://127.0.0.1:0", router()).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::NotSent));
    assert!(error.hint().contains("`tls_certificate` and `tls_key`"), "{}", error.hint());
    for (url, hint) in [
        ("https://h?version=h2c", "`version=h2`"),
        ("https://h?tls_roots=/absent/ca.pem", "path"),
        ("https://h?tls_rots=/ca.pem", "tls_roots"),
    ] {
        let error = connect(url).await.unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::NotSent));
        assert!(error.hint().contains(hint), "{url}: {error}: {}", error.hint());
    }
}
