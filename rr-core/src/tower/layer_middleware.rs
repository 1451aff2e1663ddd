//! A tower layer as middleware.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use rr_spi::{
    Attempt, Cause, Code, Context, Delivery, Error, Middleware, Next, Request, Response,
    async_trait,
};
use tower_layer::Layer;
use tower_service::Service;

use super::call_request::{CallRequest, always_ready};
use super::foreign::{BoxError, Codes, Foreign};
use super::runs::Runs;

/// Middleware made of a tower layer, for requesters and routes.
///
/// The layer is applied once, so that its state (permits, buffers, rates) is shared by all calls.
/// Each call clones the layered service, waits until it is ready, and calls it. A service that is not
/// `Clone`, such as that of tower's rate limit, goes behind a buffer.
///
/// For the delivery of its errors, see [the module](super). A layer that sends a request elsewhere,
/// instead of passing it to its inner service, must report errors as [`Error`]s, since nothing else
/// knows of that.
///
/// # Examples
///
/// Any layer does, such as one of tower or a whole `ServiceBuilder`. This one adds a header:
///
/// ```
/// use std::task::{Context as TaskContext, Poll};
///
/// use rr_core::tower::{CallRequest, LayerMiddleware, NextService};
/// use rr_core::{Requester, Stack};
///
/// #[derive(Clone)]
/// struct Tag<S>(S);
///
/// impl<S: tower_service::Service<CallRequest>> tower_service::Service<CallRequest> for Tag<S> {
///     type Response = S::Response;
///     type Error = S::Error;
///     type Future = S::Future;
///
///     fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
///         self.0.poll_ready(cx)
///     }
///
///     fn call(&mut self, mut call: CallRequest) -> S::Future {
///         let _ = call.request.headers.insert("x-tag", "a");
///         self.0.call(call)
///     }
/// }
///
/// fn tagged(client: impl Requester) -> impl Requester {
///     let layer = tower_layer::layer_fn(|next: NextService| Tag(next));
///     Stack::new(client).with(LayerMiddleware::new(layer))
/// }
/// ```
#[must_use = "a middleware does nothing until it is added to a stack or a router"]
pub struct LayerMiddleware<S> {
    service: S,
    codes: Codes,
}

impl<S> LayerMiddleware<S> {
    /// Makes a middleware of a layer.
    pub fn new<L: Layer<NextService, Service = S>>(layer: L) -> Self {
        Self { service: layer.layer(NextService(())), codes: Codes::UNAVAILABLE }
    }

    /// Replaces the code of errors that the layer makes; `Unavailable` for all by default.
    pub fn with_codes(mut self, code: impl Fn(&Foreign) -> Code + Send + Sync + 'static) -> Self {
        self.codes = Codes::new(code);
        self
    }
}

#[async_trait]
impl<S> Middleware for LayerMiddleware<S>
where
    S: Service<CallRequest, Response = Response, Error: Into<BoxError> + Send, Future: Send>,
    S: Clone + Send + Sync + 'static,
{
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        let (mut runs, link) = Runs::new(next);
        let call = CallRequest { link: Some(link), ..CallRequest::new(ctx.clone(), request) };
        let mut service = self.service.clone();
        let mut layered = pin!(async move {
            poll_fn(|cx| service.poll_ready(cx)).await?;
            service.call(call).await
        });
        let outcome = ctx.race(poll_fn(|cx| {
            loop {
                if let Poll::Ready(outcome) = layered.as_mut().poll(cx) {
                    return Poll::Ready(outcome);
                }
                if !runs.poll(cx) {
                    return Poll::Pending;
                }
            }
        }));
        match outcome.await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.codes.convert(error.into(), runs.delivery())),
            Err(cause) => {
                // Runs end with the same context, and know more about their delivery.
                poll_fn(|cx| {
                    runs.poll_active(cx);
                    Poll::Ready(())
                })
                .await;
                let of_run = runs.take_expired();
                let error = of_run.unwrap_or_else(|| ended_error(ctx, cause));
                Err(error.raised_to(runs.delivery()))
            }
        }
    }
}

/// Makes the error of a call whose context has ended.
fn ended_error(ctx: &Context, cause: Cause) -> Error {
    match Attempt::start(ctx, Duration::MAX) {
        Err(error) => error,
        Ok(_) => Error::from_cause(cause, Delivery::NotSent),
    }
}

impl<S> fmt::Debug for LayerMiddleware<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerMiddleware").finish_non_exhaustive()
    }
}

/// Inner service of a [`LayerMiddleware`]: runs the rest of the call that a request belongs to.
///
/// Always ready. Dropping its future ends the run.
#[derive(Clone, Debug)]
pub struct NextService(());

impl Service<CallRequest> for NextService {
    always_ready!();

    fn call(&mut self, call: CallRequest) -> Self::Future {
        let CallRequest { context, request, link, .. } = call;
        Box::pin(async move {
            match link {
                Some(link) => link.run(context, request).await,
                None => Err(unlinked()),
            }
        })
    }
}

/// Makes the error for a request that a layer made.
fn unlinked() -> Error {
    let text = "a tower layer passed on a request that it made itself";
    Error::failure(Code::Internal, Delivery::NotSent, None, text)
        .with_hint("change the `CallRequest` that the layer receives, or a clone of it")
}
