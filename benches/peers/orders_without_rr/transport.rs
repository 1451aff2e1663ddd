//! Selection of a transport by URL.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{CallError, Method};
use crate::http_transport::{self, Http};
use crate::nats_transport::{self, Nats};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Result<T, E = BoxError> = std::result::Result<T, E>;

/// Sends one request and waits for its reply, for as long as it takes.
#[async_trait]
pub(crate) trait Transport: Send + Sync + 'static {
    async fn send(
        &self,
        method: &Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Bytes>, CallError>;
}

/// The request may have reached the server.
pub(crate) fn unavailable(error: impl ToString) -> CallError {
    CallError::new(StatusCode::SERVICE_UNAVAILABLE, error)
}

fn unknown_scheme(url: &str) -> BoxError {
    format!("the URL {url:?} begins neither with http:// nor with nats://").into()
}

pub(crate) async fn connect(url: &str) -> Result<Arc<dyn Transport>> {
    match url.split_once("://") {
        Some(("http", _)) => Ok(Arc::new(Http::new(url))),
        Some(("nats", _)) => Ok(Arc::new(Nats::connect(url).await?)),
        _ => Err(unknown_scheme(url)),
    }
}

/// A running server.
pub(crate) struct Server {
    pub(crate) url: String,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

/// Serves the routes of a service. The server waits for `tasks` before it ends.
pub(crate) async fn serve(
    url: &str,
    service: &str,
    router: Router,
    tasks: TaskTracker,
) -> Result<Server> {
    let stop = CancellationToken::new();
    let (url, serving) = match url.split_once("://") {
        Some(("http", address)) => {
            http_transport::serve(address, router, tasks, stop.clone()).await?
        }
        Some(("nats", _)) => {
            nats_transport::serve(url, service, router, tasks, stop.clone()).await?
        }
        _ => return Err(unknown_scheme(url)),
    };
    Ok(Server { url, stop, serving })
}

impl Server {
    /// Takes no more calls and waits until those in flight have ended, at most for `grace`.
    pub(crate) async fn shutdown(mut self, grace: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(grace, &mut self.serving).await.is_err() {
            eprintln!("{}: calls are still in flight after {grace:?}", self.url);
            self.serving.abort();
        }
    }
}
