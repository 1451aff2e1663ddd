//! The contracts of the two services, shared by their servers and callers.

use async_trait::async_trait;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Duration, Instant};

/// Longest body of a request or a reply.
pub(crate) const BODY_BYTES_MAX: usize = 992 * 1024;

pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";
pub(crate) const REQUEST_ID: &str = "x-request-id";
pub(crate) const TENANT: &str = "x-tenant";
/// Milliseconds that the caller still waits.
pub(crate) const TIMEOUT: &str = "x-timeout-ms";

/// A method of a service, and how it is called.
pub(crate) struct Method {
    pub(crate) service: &'static str,
    pub(crate) name: &'static str,
    pub(crate) timeout: Option<Duration>,
    pub(crate) repeat: Repeat,
}

/// When a failed call may be sent again.
#[derive(PartialEq)]
pub(crate) enum Repeat {
    /// The method changes nothing the second time.
    Always,
    /// Only if it did not run; the request has an idempotency key.
    Keyed,
    /// Only if it did not run.
    IfNotRun,
}

impl Method {
    const fn new(service: &'static str, name: &'static str, repeat: Repeat) -> Self {
        Self { service, name, timeout: None, repeat }
    }

    const fn timeout(self, seconds: u64) -> Self {
        Self { timeout: Some(Duration::from_secs(seconds)), ..self }
    }
}

pub(crate) const PLACE: Method = Method::new("orders.v1", "place", Repeat::Keyed).timeout(5);
pub(crate) const GET: Method = Method::new("orders.v1", "get", Repeat::Always);
pub(crate) const CANCEL: Method = Method::new("orders.v1", "cancel", Repeat::Always);
pub(crate) const STAMP: Method = Method::new("orders.v1", "stamp", Repeat::IfNotRun);
pub(crate) const CHARGE: Method = Method::new("payments.v1", "charge", Repeat::Keyed).timeout(1);

/// What a call inherits from the call that it is part of.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) deadline: Instant,
    pub(crate) request_id: Option<HeaderValue>,
}

impl Context {
    pub(crate) fn with_timeout(timeout: Duration) -> Self {
        Self { deadline: Instant::now() + timeout, request_id: None }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) item: String,
    pub(crate) count: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    pub(crate) id: u64,
    pub(crate) payment: String,
}

/// A failed call, and the body of a reply that says so.
#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{status}: {message}")]
pub(crate) struct CallError {
    #[serde(skip)]
    pub(crate) status: StatusCode,
    pub(crate) message: String,
    /// Whether the handler provably did not run.
    #[serde(default)]
    pub(crate) not_run: bool,
    /// The application error, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<Value>,
}

impl CallError {
    pub(crate) fn new(status: StatusCode, message: impl ToString) -> Self {
        Self { status, message: message.to_string(), not_run: false, detail: None }
    }

    pub(crate) fn deadline() -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "the deadline has passed")
    }

    pub(crate) fn not_run(self) -> Self {
        Self { not_run: true, ..self }
    }
}

impl IntoResponse for CallError {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum OrderError {
    #[error("only {left} left")]
    OutOfStock { left: u32 },
    #[error("no order {0}")]
    NoSuchOrder(u64),
    #[serde(skip)]
    #[error(transparent)]
    Call(CallError),
}

/// On the client: the application error that a reply carries, or the failed call.
impl From<CallError> for OrderError {
    fn from(mut error: CallError) -> Self {
        let app = error.detail.take().and_then(|detail| serde_json::from_value(detail).ok());
        app.unwrap_or(Self::Call(error))
    }
}

impl IntoResponse for OrderError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::OutOfStock { .. } => StatusCode::PRECONDITION_FAILED,
            Self::NoSuchOrder(_) => StatusCode::NOT_FOUND,
            // The handler ran, whatever is known of the call that it made.
            Self::Call(error) => {
                return CallError::new(error.status, "a call to another service failed")
                    .into_response();
            }
        };
        let detail = serde_json::to_value(&self).ok();
        CallError { detail, ..CallError::new(status, self) }.into_response()
    }
}

/// Payments, which run elsewhere.
#[async_trait]
pub(crate) trait Payments: Send + Sync + 'static {
    /// Charges an amount and returns the number of the payment.
    async fn charge(&self, ctx: &Context, cents: u64) -> Result<String, CallError>;
}
