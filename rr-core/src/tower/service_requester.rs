//! A tower service as a requester.

use std::fmt;
use std::future::poll_fn;

use rr_spi::{
    Attempt, Code, Context, Delivery, Error, Request, Requester, Response, async_trait, defaults,
};
use tower_service::Service;

use super::call_request::CallRequest;
use super::foreign::{BoxError, Codes, Foreign};
use super::runs::Link;

/// Requester that calls a tower service.
///
/// Each call clones the service, waits until it is ready, and calls it, all within the deadline of
/// the call; that is 10 s if the context has none. Dropping the call drops the future of the service.
///
/// An error of the service that is not an [`Error`] is `NotSent` if the service failed before it took
/// the request, and otherwise `Unknown`, even if a layer refused the request: nothing shows what the
/// service has done. An [`Error`] keeps its delivery, which is at least `Unknown` if a layer cloned the
/// request, as retries do: an earlier run may have happened. To put layers around a requester, use
/// [`LayerMiddleware`](super::LayerMiddleware), which knows more.
///
/// # Examples
///
/// ```
/// use rr_core::tower::{RequesterService, ServiceRequester};
/// use rr_core::Requester;
///
/// fn there_and_back(client: impl Requester) -> impl Requester {
///     ServiceRequester::new(RequesterService::new(client))
/// }
/// ```
#[derive(Clone)]
pub struct ServiceRequester<S> {
    service: S,
    codes: Codes,
    /// The call inside a [`LayerMiddleware`](super::LayerMiddleware) that the requests belong to.
    link: Option<Link>,
}

impl<S> ServiceRequester<S> {
    /// Makes a requester of a service.
    #[must_use]
    pub const fn new(service: S) -> Self {
        Self { service, codes: Codes::UNAVAILABLE, link: None }
    }

    /// Replaces the code of errors that are not an [`Error`]; `Unavailable` for all by default.
    #[must_use]
    pub fn with_codes(mut self, code: impl Fn(&Foreign) -> Code + Send + Sync + 'static) -> Self {
        self.codes = Codes::new(code);
        self
    }

    /// Makes the requester of a layer's service, for one call.
    pub(super) fn of_layer(service: S, codes: Codes, link: Option<Link>) -> Self {
        Self { service, codes, link }
    }
}

#[async_trait]
impl<S> Requester for ServiceRequester<S>
where
    S: Service<CallRequest, Response = Response, Error: Into<BoxError> + Send, Future: Send>,
    S: Clone + Send + Sync + 'static,
{
    async fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        let attempt = Attempt::start(ctx, defaults::CLIENT_TIMEOUT)?;
        let mut service = self.service.clone();
        let call = CallRequest::new(attempt.context().clone(), request);
        let call = CallRequest { link: self.link.clone(), ..call };
        let copies = call.copies.watch();
        let called = async {
            let outcome: Result<Response, S::Error> = async {
                poll_fn(|cx| service.poll_ready(cx)).await?;
                // From here on, the service has the request.
                attempt.sent();
                service.call(call).await
            }
            .await;
            outcome.map_err(|error| match error.into().downcast::<Error>() {
                // It is the outcome of one run, and knows nothing of those before it.
                Ok(own) if copies.were_made() => own.raised_to(Delivery::Unknown),
                Ok(own) => *own,
                Err(foreign) => self.codes.convert(foreign, attempt.delivery()),
            })
        };
        attempt.run(called).await
    }
}

impl<S> fmt::Debug for ServiceRequester<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceRequester").finish_non_exhaustive()
    }
}
