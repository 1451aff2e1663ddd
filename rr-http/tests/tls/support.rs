//! Servers and requesters of the tests.

use std::time::Duration;

use rr_http::{
    HttpConfig, HttpRequester, HttpServerConfig, HttpServerStats, HttpVersion, serve_with_stats,
};
use rr_spi::{
    Context, Declared, Delivery, Error, Peer, PeerIdentity, Request, Requester, Responder,
    Response, Route, Routes, Server, async_trait,
};
use rr_tls::{TlsConfig, TlsServerConfig};

use crate::authority::{Authority, Pair};

/// Answers with the body, `who` with the SPIFFE ID of the caller, `from` with its address.
struct Service;

#[async_trait]
impl Responder for Service {
    async fn respond(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        match request.target.method() {
            "who" => {
                let identity = ctx.request().peer().and_then(Peer::identity);
                let id = identity.and_then(PeerIdentity::spiffe_id).unwrap_or("nobody");
                Ok(Response::new(id.to_owned()))
            }
            "from" => {
                let address = ctx.request().peer().and_then(Peer::address);
                Ok(Response::new(address.unwrap().to_string()))
            }
            _ => Ok(Response::new(request.body)),
        }
    }
}

fn routes() -> Routes {
    let mut routes = Routes::new();
    let service = Route::Service("lab".into());
    routes.insert(service, Declared::Unspecified, std::sync::Arc::new(Service)).unwrap();
    routes
}

/// Every version that `https://` has.
pub(crate) const VERSIONS: [HttpVersion; 3] = [HttpVersion::Auto, HttpVersion::H1, HttpVersion::H2];

/// TLS of a server with a certificate.
pub(crate) fn server_tls(pair: &Pair) -> TlsServerConfig {
    TlsServerConfig::default()
        .with_certificate(pair.certificate.as_str())
        .with_key(pair.key.as_str())
}

/// TLS of a client that trusts an authority.
pub(crate) fn trusting(authority: &Authority) -> TlsConfig {
    TlsConfig::default().with_roots(authority.pem())
}

pub(crate) async fn serve(tls: TlsServerConfig) -> (Server, HttpServerStats) {
    serve_at("https://localhost:0", HttpServerConfig::default().with_tls(tls)).await
}

pub(crate) async fn serve_at(url: &str, config: HttpServerConfig) -> (Server, HttpServerStats) {
    serve_with_stats(url, routes(), config).await.unwrap()
}

/// Host and port of a server.
pub(crate) fn address(server: &Server) -> String {
    server.url().split_once("://").unwrap().1.to_owned()
}

pub(crate) fn client(server: &Server, tls: TlsConfig, version: HttpVersion) -> HttpRequester {
    HttpRequester::new(server.url(), HttpConfig::default().with_tls(tls).with_version(version))
        .unwrap()
}

pub(crate) async fn call(
    client: &HttpRequester,
    target: &'static str,
    body: &str,
) -> Result<String, Error> {
    let request = Request::new(target.try_into().unwrap(), body.to_owned());
    let ctx = Context::background().with_timeout(Duration::from_secs(20));
    let reply = client.request(&ctx, request).await?;
    Ok(String::from_utf8(reply.body.to_vec()).unwrap())
}

pub(crate) async fn echo(client: &HttpRequester, body: &str) -> Result<String, Error> {
    call(client, "lab.echo", body).await
}

/// Asserts what every failed handshake has in common.
pub(crate) fn assert_not_sent(error: &Error) {
    assert_eq!(error.code(), rr_spi::Code::Unavailable, "{error}");
    assert_eq!(error.delivery(), Delivery::NotSent, "{error}");
    assert_eq!(error.reason(), Some(&rr_spi::Reason::CONNECT_FAILED), "{error}");
}

/// Waits until a condition holds.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
}
