//! Middleware as a tower layer.

use std::fmt;
use std::sync::Arc;

use rr_spi::{Code, Middleware, Next, Requester};
use tower_layer::Layer;
use tower_service::Service;

use super::call_request::{CallRequest, always_ready};
use super::foreign::{Codes, Foreign};
use super::service_requester::ServiceRequester;

/// Tower layer made of a middleware.
///
/// The middleware runs around the service as around a requester; see
/// [`ServiceRequester`] for the errors of that service. It may run the service several times: each
/// run has a clone of the service, and waits until the clone is ready. The layered service itself is
/// always ready.
///
/// # Examples
///
/// ```
/// use rr_core::tower::{MiddlewareLayer, RequesterService};
/// use rr_core::{Middleware, Requester};
/// use tower_layer::Layer as _;
///
/// fn wrapped(client: impl Requester, middleware: impl Middleware) {
///     let service = MiddlewareLayer::new(middleware).layer(RequesterService::new(client));
///     // In a `ServiceBuilder`: `.layer(MiddlewareLayer::new(middleware))`.
/// #   drop(service);
/// }
/// ```
#[derive(Clone)]
pub struct MiddlewareLayer {
    middleware: Arc<[Arc<dyn Middleware>; 1]>,
    codes: Codes,
}

impl MiddlewareLayer {
    /// Makes a layer of a middleware.
    #[must_use]
    pub fn new(middleware: impl Middleware) -> Self {
        Self { middleware: Arc::new([Arc::new(middleware)]), codes: Codes::UNAVAILABLE }
    }

    /// Replaces the code of errors of the service that are not an
    /// [`Error`](rr_spi::Error); `Unavailable` for all by default.
    #[must_use]
    pub fn with_codes(mut self, code: impl Fn(&Foreign) -> Code + Send + Sync + 'static) -> Self {
        self.codes = Codes::new(code);
        self
    }
}

impl<S> Layer<S> for MiddlewareLayer {
    type Service = MiddlewareService<S>;

    fn layer(&self, inner: S) -> MiddlewareService<S> {
        let (middleware, codes) = (Arc::clone(&self.middleware), self.codes.clone());
        MiddlewareService { middleware, codes, inner }
    }
}

impl fmt::Debug for MiddlewareLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MiddlewareLayer").finish_non_exhaustive()
    }
}

/// Service of a [`MiddlewareLayer`].
#[derive(Clone)]
pub struct MiddlewareService<S> {
    middleware: Arc<[Arc<dyn Middleware>; 1]>,
    codes: Codes,
    inner: S,
}

impl<S> Service<CallRequest> for MiddlewareService<S>
where
    S: Clone,
    ServiceRequester<S>: Requester,
{
    always_ready!();

    fn call(&mut self, call: CallRequest) -> Self::Future {
        let CallRequest { context, request, link, .. } = call;
        let middleware = Arc::clone(&self.middleware);
        // Inside of a `LayerMiddleware`, the requests of the middleware belong to the same call.
        let inner = ServiceRequester::of_layer(self.inner.clone(), self.codes.clone(), link);
        Box::pin(async move {
            let next = Next::for_requester(&middleware[..], &inner);
            next.run(&context, request).await
        })
    }
}

impl<S> fmt::Debug for MiddlewareService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MiddlewareService").finish_non_exhaustive()
    }
}
