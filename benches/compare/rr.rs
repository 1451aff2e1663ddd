//! rr, as an application uses it: `serve`, `connect` and the extension traits, nothing configured.

use std::sync::Arc;

use axum::routing::post;
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use rr_benches_peers::foreign::tls::Identity;
use rr_benches_peers::{Client, Result, Served};
use rr_core::{
    Context, Error, Local, Request, Requester, RequesterExt as _, Response, Router, Stack,
    recommended,
};
use tokio::net::TcpListener;

async fn echo(_: Context, request: Request) -> Result<Response, Error> {
    Ok(Response::new(request.body))
}

/// Never answers.
async fn hang(_: Context, _: Request) -> Result<Response, Error> {
    std::future::pending().await
}

/// An echo.
pub(crate) fn router() -> Router {
    Router::new().route("bench.echo", echo)
}

/// An echo, and a handler that never ends.
pub(crate) fn router_with_hang() -> Router {
    router().route("bench.hang", hang)
}

pub(crate) async fn serve(url: &str) -> Result<Served> {
    let server = rr_core::serve(url, router()).await?;
    Ok(Served::new(server.url().to_owned(), server))
}

/// The service in an axum app; `query` chooses the client's version.
pub(crate) async fn serve_mounted(query: &str) -> Result<Served> {
    serve_axum(axum::Router::new().nest_service("/rr", rr_http::service(router())), query).await
}

/// A handler of axum without rr, at the path of [`serve_mounted`]'s echo.
pub(crate) async fn serve_handler(query: &str) -> Result<Served> {
    let echo = axum::Router::new().route("/bench/echo", post(async |body: Bytes| body));
    serve_axum(axum::Router::new().nest("/rr", echo), query).await
}

/// An app, as `axum::serve` serves it.
async fn serve_axum(app: axum::Router, query: &str) -> Result<Served> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/rr{query}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        // Off by default.
        let _ = stream.set_nodelay(true);
    });
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(Served::new(url, serving))
}

/// Over TLS; clients use this version of HTTP.
pub(crate) async fn serve_tls(version: &str) -> Result<Served> {
    let identity = Identity::new()?;
    let (certificate, key) = (identity.certificate(), identity.key());
    let files = format!("tls_certificate={}&tls_key={}", certificate.display(), key.display());
    let server = rr_core::serve(&format!("https://127.0.0.1:0?{files}"), router()).await?;
    let bound = server.url().strip_prefix("https://").and_then(|url| url.split_once('?'));
    let (host, _) = bound.ok_or("the server has another URL")?;
    let address = format!("{}&version={version}", identity.address(host));
    Ok(Served::new(address, (server, identity)))
}

/// Over the broker at this URL, below a prefix of this process: the broker may not have noticed
/// yet that the server before is gone.
pub(crate) async fn serve_nats(url: String) -> Result<Served> {
    serve(&format!("{url}/rr{}", std::process::id())).await
}

/// A requester, and the context of each of its calls.
#[derive(Clone)]
pub(crate) struct Echo<R> {
    pub(crate) requester: R,
    pub(crate) ctx: Context,
}

impl<R: Requester + Clone> Client for Echo<R> {
    async fn call(&self, body: Bytes) {
        let sent = body.len();
        let answer = self.requester.call_raw(&self.ctx, "bench.echo", body).await;
        assert_eq!(answer.expect("the call is answered").body.len(), sent);
    }
}

/// With the default deadline.
pub(crate) async fn connect(url: String) -> Result<impl Client> {
    echoing(&url, Context::background()).await
}

/// Without a deadline.
pub(crate) async fn connect_unbounded(url: String) -> Result<impl Client> {
    echoing(&url, Context::background().unbounded()).await
}

async fn echoing(url: &str, ctx: Context) -> Result<Echo<rr_core::Client>> {
    let requester = rr_core::connect(url).await?;
    requester.ready(&Context::background()).await?;
    Ok(Echo { requester, ctx })
}

pub(crate) async fn memory() -> Result<impl Client> {
    let server = rr_core::serve("memory://bench", router()).await?;
    let client = connect(server.url().to_owned()).await?;
    // It serves for as long as the process lives.
    std::mem::forget(server);
    Ok(client)
}

/// In process, below a stack with nothing in it.
pub(crate) async fn local() -> Result<impl Client> {
    let requester: Arc<dyn Requester> = Arc::new(Stack::new(Local::new(router())));
    Ok(Echo { requester, ctx: Context::background() })
}

/// In process, below the documented stack.
pub(crate) async fn local_recommended() -> Result<impl Client> {
    let requester: Arc<dyn Requester> = Arc::new(recommended(Local::new(router())));
    Ok(Echo { requester, ctx: Context::background() })
}
