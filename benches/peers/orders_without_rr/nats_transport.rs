//! NATS: requests of a method go to the subject `service.method`, and a server passes them to the
//! same router as HTTP does. The status of a reply is a header.

use async_nats::{Client, Message, Request, RequestErrorKind, Subscriber};
use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::api::{BODY_BYTES_MAX, CallError, Method};
use crate::transport::{Result, Transport, unavailable};

const STATUS: &str = "x-status";

fn to_nats(headers: &HeaderMap) -> async_nats::HeaderMap {
    let mut converted = async_nats::HeaderMap::new();
    for (name, value) in headers {
        if let Ok(value) = value.to_str() {
            converted.append(name.as_str(), value);
        }
    }
    converted
}

/// Without the headers that HTTP does not allow.
fn from_nats(headers: Option<&async_nats::HeaderMap>) -> HeaderMap {
    let mut converted = HeaderMap::new();
    for (name, values) in headers.iter().flat_map(|headers| headers.iter()) {
        for value in values {
            let name = HeaderName::try_from(name.to_string());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value.as_str())) {
                converted.append(name, value);
            }
        }
    }
    converted
}

pub(crate) struct Nats(Client);

impl Nats {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        Ok(Self(async_nats::connect(url).await?))
    }
}

#[async_trait]
impl Transport for Nats {
    async fn send(
        &self,
        method: &Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Bytes>, CallError> {
        let subject = format!("{}.{}", method.service, method.name);
        // The caller has a timeout.
        let request = Request::new().headers(to_nats(&headers)).payload(body).timeout(None);
        let sent = self.0.send_request(subject, request).await;
        let message = sent.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => unavailable(error).not_run(),
            RequestErrorKind::MaxPayloadExceeded => {
                CallError::new(StatusCode::PAYLOAD_TOO_LARGE, error).not_run()
            }
            _ => unavailable(error),
        })?;
        let headers = from_nats(message.headers.as_ref());
        let status = headers.get(STATUS).and_then(|status| status.to_str().ok()?.parse().ok());
        let status = status.ok_or_else(|| unavailable("the reply has no status"))?;
        let mut response = Response::new(message.payload);
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        Ok(response)
    }
}

/// Serves the subjects of a service; the servers of a service share its requests.
pub(crate) async fn serve(
    url: &str,
    service: &str,
    router: Router,
    tasks: TaskTracker,
    stop: CancellationToken,
) -> Result<(String, JoinHandle<()>)> {
    let client = async_nats::connect(url).await?;
    let subscriber = client.queue_subscribe(format!("{service}.*"), service.to_owned()).await?;
    client.flush().await?;
    let serving = tokio::spawn(async move {
        if let Err(error) = receive(&client, subscriber, &router, &tasks, stop).await {
            eprintln!("the NATS server failed: {error}");
        }
    });
    Ok((url.to_owned(), serving))
}

async fn receive(
    client: &Client,
    mut subscriber: Subscriber,
    router: &Router,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> Result<()> {
    let answer = |message| tasks.spawn(answer(client.clone(), router.clone(), message));
    while let Some(Some(message)) = stop.run_until_cancelled(subscriber.next()).await {
        answer(message);
    }
    // Those that this process has received already.
    subscriber.drain().await?;
    while let Some(message) = subscriber.next().await {
        answer(message);
    }
    tasks.close();
    tasks.wait().await;
    client.flush().await?;
    Ok(())
}

async fn answer(client: Client, router: Router, message: Message) {
    let Some(reply_to) = message.reply else { return };
    let path = message.subject.rsplit_once('.').map(|(service, name)| format!("/{service}/{name}"));
    let mut request = http::Request::new(Body::from(message.payload));
    *request.method_mut() = http::Method::POST;
    *request.headers_mut() = from_nats(message.headers.as_ref());
    // A subject may have characters that a path must not have.
    *request.uri_mut() = path.unwrap_or_default().parse().unwrap_or_default();
    let Ok(response) = router.oneshot(request).await;
    let (parts, body) = response.into_parts();
    let (status, body) = match to_bytes(body, BODY_BYTES_MAX).await {
        Ok(body) => (parts.status, body),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the reply is too large".into()),
    };
    let mut headers = to_nats(&parts.headers);
    headers.insert(STATUS, status.as_str());
    if let Err(error) = client.publish_with_headers(reply_to, headers, body).await {
        eprintln!("a reply is lost: {error}");
    }
}
