//! TLS with certificates that are made on the fly: the identity of a caller, and a certificate that
//! is replaced while calls run.
//!
//! The same options work in a file, in the environment and in a URL, as in
//! `https://orders?tls_roots=/etc/ca.pem`.

mod certificates;

use std::time::Duration;

use certificates::Authority;
use rr_core::config::{
    ClientConfig, HttpSection, HttpServerSection, ServerConfig, TlsClientAuth, TlsConfig,
    TlsServerConfig,
};
use rr_core::context::{Peer, PeerIdentity};
use rr_core::{
    Client, Code, Context, Error, RequesterExt, Router, connect_with, defaults, serve_with,
};

/// Refunds an order, for the billing service alone.
async fn refund(ctx: Context, order: u32) -> Result<String, Error> {
    let identity = ctx.request().peer().and_then(Peer::identity);
    match identity.and_then(PeerIdentity::spiffe_id) {
        Some(id) if id.ends_with("/billing") => Ok(format!("order {order} is refunded for {id}")),
        Some(id) => Err(Error::new(Code::PermissionDenied, format!("{id} refunds no orders"))),
        None => Err(Error::new(Code::Unauthenticated, "give a client certificate")),
    }
}

fn server_config(authority: &Authority) -> ServerConfig {
    let tls = TlsServerConfig::default()
        .with_certificate(authority.path("server.crt"))
        .with_key(authority.path("server.key"))
        .with_client_auth(TlsClientAuth::Optional)
        .with_client_roots(authority.path("ca.pem"))
        // The default is 10 s.
        .with_reload_interval(Duration::from_millis(100));
    HttpServerSection::default().with_tls(tls).into()
}

/// TLS of a client without a certificate.
fn anonymous(authority: &Authority) -> TlsConfig {
    TlsConfig::default().with_roots(authority.path("ca.pem"))
}

/// TLS of a client with the certificate of a name.
fn of(authority: &Authority, name: &str) -> TlsConfig {
    anonymous(authority)
        .with_certificate(authority.path(&format!("{name}.crt")))
        .with_key(authority.path(&format!("{name}.key")))
}

async fn connect(url: &str, tls: TlsConfig) -> Result<Client, Error> {
    connect_with(url, ClientConfig::from(HttpSection::default().with_tls(tls))).await
}

async fn print_refund(who: &str, client: &Client) {
    match client.call::<String>(&Context::background(), "orders.refund", &17_u32).await {
        Ok(reply) => println!("{who}: {reply}"),
        Err(error) => println!("{who}: {error}"),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let authority = Authority::new()?;
    authority.issue("server", "localhost", "spiffe://shop.example/orders")?;
    authority.issue("billing", "billing", "spiffe://shop.example/billing")?;
    authority.issue("search", "search", "spiffe://shop.example/search")?;
    let router = Router::new().route("orders.refund", refund);
    let server = serve_with("https://localhost:0", router, server_config(&authority)).await?;
    println!("serving {}", server.url());

    let billing = connect(server.url(), of(&authority, "billing")).await?;
    print_refund("billing", &billing).await;
    print_refund("search", &connect(server.url(), of(&authority, "search")).await?).await;
    print_refund("anonymous", &connect(server.url(), anonymous(&authority)).await?).await;

    // The new certificate has a new name, which only a new connection sees.
    authority.issue("server", "orders.example", "spiffe://shop.example/orders")?;
    let renamed = of(&authority, "billing").with_server_name("orders.example");
    let renamed = connect(server.url(), renamed).await?;
    renamed.ready(&Context::background()).await?;
    print_refund("billing, after the rotation", &renamed).await;
    print_refund("billing, on its old connection", &billing).await;
    let late = connect(server.url(), of(&authority, "billing")).await?;
    print_refund("billing, by the old name", &late).await;

    server.shutdown(defaults::DRAIN_GRACE).await;
    Ok(())
}
