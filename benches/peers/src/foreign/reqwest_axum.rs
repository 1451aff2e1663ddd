//! What most services are written with: reqwest and axum.

use crate::Client;
use axum::routing::post;
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use tokio::net::TcpListener;

use super::{Result, Served};

async fn echo(body: Bytes) -> Bytes {
    body
}

pub(super) async fn serve() -> Result<Served> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/bench/echo", listener.local_addr()?);
    let app = axum::Router::new().route("/bench/echo", post(echo));
    let listener = listener.tap_io(|stream| {
        // Off by default.
        let _ = stream.set_nodelay(true);
    });
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(Served::new(url, serving))
}

#[derive(Clone)]
struct Reqwest {
    client: reqwest::Client,
    url: String,
}

pub(super) async fn connect(url: String) -> Result<impl Client> {
    // Its own defaults have TCP_NODELAY on and no timeout.
    Ok(Reqwest { client: reqwest::Client::new(), url })
}

impl Client for Reqwest {
    async fn call(&self, body: Bytes) {
        let sent = body.len();
        let request = self.client.post(&self.url).body(body);
        let answer = request.send().await.expect("the call is answered");
        assert_eq!(answer.bytes().await.expect("the body arrives").len(), sent);
    }
}
