//! Typed clients of both services: deadlines, retries, and what is sent along with each call.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Duration, Instant, sleep, timeout_at};

use crate::api::{
    CANCEL, CHARGE, CallError, Context, GET, IDEMPOTENCY_KEY, Method, Order, OrderError, PLACE,
    Payments, REQUEST_ID, Receipt, Repeat, STAMP, TIMEOUT,
};
use crate::transport::Transport;

const ATTEMPTS: u32 = 3;
const BACKOFF_FIRST: Duration = Duration::from_millis(50);

struct Caller {
    transport: Arc<dyn Transport>,
    /// Sent with each request.
    headers: HeaderMap,
}

impl Caller {
    async fn json<T: DeserializeOwned>(
        &self,
        ctx: &Context,
        method: &Method,
        body: &impl Serialize,
    ) -> Result<Response<T>, CallError> {
        let body = serde_json::to_vec(body)
            .map_err(|error| CallError::new(StatusCode::BAD_REQUEST, error).not_run())?;
        let reply = self.call(ctx, method, "application/json", body.into()).await?;
        let (parts, body) = reply.into_parts();
        let value = serde_json::from_slice(&body)
            .map_err(|error| CallError::new(StatusCode::INTERNAL_SERVER_ERROR, error))?;
        Ok(Response::from_parts(parts, value))
    }

    /// Calls a method, and again with backoff and full jitter where that is safe.
    async fn call(
        &self,
        ctx: &Context,
        method: &Method,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<Response<Bytes>, CallError> {
        let timeout = method.timeout.map(|timeout| Instant::now() + timeout);
        let deadline = timeout.map_or(ctx.deadline, |timeout| timeout.min(ctx.deadline));
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(id) = &ctx.request_id {
            headers.insert(REQUEST_ID, id.clone());
        }
        if method.repeat == Repeat::Keyed {
            headers.insert(IDEMPOTENCY_KEY, rand::random::<u64>().into());
        }
        let mut attempt = 1;
        loop {
            let error = match self.attempt(deadline, method, headers.clone(), body.clone()).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let pause = rand::random_range(Duration::ZERO..BACKOFF_FIRST * 2_u32.pow(attempt - 1));
            let is_safe = error.not_run || method.repeat == Repeat::Always;
            let is_temporary = error.status == StatusCode::SERVICE_UNAVAILABLE;
            let is_in_time = Instant::now() + pause < deadline;
            if attempt == ATTEMPTS || !is_safe || !is_temporary || !is_in_time {
                return Err(error);
            }
            attempt += 1;
            sleep(pause).await;
        }
    }

    async fn attempt(
        &self,
        deadline: Instant,
        method: &Method,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Bytes>, CallError> {
        let remaining = deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return Err(CallError::deadline().not_run());
        }
        // Rounded up, so that the server does not give up before the caller.
        let millis = remaining.as_micros().div_ceil(1000);
        headers.insert(TIMEOUT, u64::try_from(millis).unwrap_or(u64::MAX).into());
        let sent = timeout_at(deadline, self.transport.send(method, headers, body)).await;
        let reply = sent.map_err(|_| CallError::deadline())??;
        if reply.status().is_success() {
            return Ok(reply);
        }
        // Proxies and axum itself send text instead of our document.
        let text = || CallError::new(reply.status(), String::from_utf8_lossy(reply.body()));
        let error = serde_json::from_slice(reply.body()).unwrap_or_else(|_| text());
        Err(CallError { status: reply.status(), ..error })
    }
}

pub(crate) struct OrdersClient(Caller);

impl OrdersClient {
    pub(crate) fn new(transport: Arc<dyn Transport>, headers: HeaderMap) -> Self {
        Self(Caller { transport, headers })
    }

    /// The reply has the stock in `x-left`.
    pub(crate) async fn place(
        &self,
        ctx: &Context,
        order: &Order,
    ) -> Result<Response<Receipt>, OrderError> {
        Ok(self.0.json(ctx, &PLACE, order).await?)
    }

    pub(crate) async fn get(&self, ctx: &Context, id: u64) -> Result<Order, OrderError> {
        Ok(self.0.json(ctx, &GET, &id).await?.into_body())
    }

    pub(crate) async fn cancel(&self, ctx: &Context, id: u64) -> Result<(), OrderError> {
        self.0.json::<()>(ctx, &CANCEL, &id).await?;
        Ok(())
    }

    pub(crate) async fn stamp(&self, ctx: &Context, label: Bytes) -> Result<Bytes, OrderError> {
        let reply = self.0.call(ctx, &STAMP, "application/octet-stream", label).await?;
        Ok(reply.into_body())
    }
}

pub(crate) struct PaymentsClient(Caller);

impl PaymentsClient {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Self {
        Self(Caller { transport, headers: HeaderMap::new() })
    }
}

#[async_trait]
impl Payments for PaymentsClient {
    async fn charge(&self, ctx: &Context, cents: u64) -> Result<String, CallError> {
        Ok(self.0.json(ctx, &CHARGE, &cents).await?.into_body())
    }
}
