//! HTTP: reqwest on the client, axum on the server.

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{HeaderMap, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{BODY_BYTES_MAX, CallError, Method};
use crate::transport::{Result, Transport, unavailable};

pub(crate) struct Http {
    client: reqwest::Client,
    url: String,
}

impl Http {
    pub(crate) fn new(url: &str) -> Self {
        Self { client: reqwest::Client::new(), url: url.trim_end_matches('/').to_owned() }
    }
}

#[async_trait]
impl Transport for Http {
    async fn send(
        &self,
        method: &Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Bytes>, CallError> {
        let url = format!("{}/{}/{}", self.url, method.service, method.name);
        let sent = self.client.post(url).headers(headers).body(body).send().await;
        let response = sent.map_err(|error| match error.is_connect() {
            true => unavailable(error).not_run(),
            false => unavailable(error),
        })?;
        let (parts, body) = Response::from(response).into_parts();
        let body = to_bytes(Body::new(body), BODY_BYTES_MAX).await.map_err(unavailable)?;
        Ok(Response::from_parts(parts, body))
    }
}

/// Serves at an address; its port may be 0.
pub(crate) async fn serve(
    address: &str,
    router: Router,
    tasks: TaskTracker,
    stop: CancellationToken,
) -> Result<(String, JoinHandle<()>)> {
    let listener = TcpListener::bind(address.trim_end_matches('/')).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let serving = tokio::spawn(async move {
        let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = serving.await {
            eprintln!("the HTTP server failed: {error}");
        }
        // Those whose callers have left.
        tasks.close();
        tasks.wait().await;
    });
    Ok((url, serving))
}
