//! What runs before the handlers, on both transports.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use http::StatusCode;
use http::header::AUTHORIZATION;
use tokio::time::{Duration, Instant, timeout_at};

use crate::api::{BODY_BYTES_MAX, CallError, Context, REQUEST_ID, TIMEOUT};

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
const TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// What each service has: limits of bodies and of time.
pub(crate) fn limited(routes: Router) -> Router {
    routes.layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).layer(from_fn(limit_time))
}

/// Ends a call at the deadline of its caller, and makes the context of the call.
async fn limit_time(mut request: Request, next: Next) -> Result<Response, CallError> {
    let timeout = match request.headers().get(TIMEOUT) {
        None => TIMEOUT_DEFAULT,
        Some(millis) => {
            let millis = millis.to_str().ok().and_then(|millis| millis.parse().ok());
            let text = format!("{TIMEOUT} is not a number of milliseconds");
            let invalid = || CallError::new(StatusCode::BAD_REQUEST, text).not_run();
            Duration::from_millis(millis.ok_or_else(invalid)?)
        }
    };
    let deadline = Instant::now() + timeout.min(TIMEOUT_MAX);
    let request_id = request.headers().get(REQUEST_ID).cloned();
    request.extensions_mut().insert(Context { deadline, request_id });
    timeout_at(deadline, next.run(request)).await.map_err(|_| CallError::deadline())
}

/// Counts calls, and prints the request id of each.
pub(crate) async fn count(
    State(calls): State<Arc<AtomicU64>>,
    request: Request,
    next: Next,
) -> Response {
    let call = calls.fetch_add(1, Ordering::Relaxed) + 1;
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    println!("call {call} of {}: {}", request.uri().path(), id.unwrap_or("no id"));
    next.run(request).await
}

/// Refuses calls without the token, before any handler runs.
pub(crate) async fn authenticate(request: Request, next: Next) -> Result<Response, CallError> {
    if request.headers().get(AUTHORIZATION).is_none_or(|token| token != "Bearer demo") {
        let text = "the token is missing or unknown";
        return Err(CallError::new(StatusCode::UNAUTHORIZED, text).not_run());
    }
    Ok(next.run(request).await)
}
