//! A requester as a tower service.

use std::sync::Arc;

use rr_spi::Requester;
use tower_service::Service;

use super::call_request::{CallRequest, always_ready};

/// Tower service that sends calls through a requester.
///
/// Always ready: waiting for a connection or a permit is part of the call. Clones share the
/// requester.
///
/// # Examples
///
/// ```
/// use rr_core::tower::{CallRequest, RequesterService};
/// use rr_core::{Context, Error, Request, Requester};
/// use tower_service::Service as _;
///
/// async fn ping(client: impl Requester) -> Result<(), Error> {
///     let mut service = RequesterService::new(client);
///     let request = Request::new("service.ping".try_into()?, "");
///     service.call(CallRequest::new(Context::background(), request)).await?;
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct RequesterService<R: ?Sized>(Arc<R>);

impl<R: Requester> RequesterService<R> {
    /// Makes a service of a requester.
    #[must_use]
    pub fn new(requester: R) -> Self {
        Self(Arc::new(requester))
    }
}

impl<R: ?Sized> Clone for RequesterService<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: ?Sized> From<Arc<R>> for RequesterService<R> {
    fn from(requester: Arc<R>) -> Self {
        Self(requester)
    }
}

impl<R: Requester + ?Sized> Service<CallRequest> for RequesterService<R> {
    always_ready!();

    fn call(&mut self, call: CallRequest) -> Self::Future {
        let requester = Arc::clone(&self.0);
        Box::pin(async move { requester.request(&call.context, call.request).await })
    }
}
