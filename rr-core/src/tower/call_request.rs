//! Request type of tower services.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rr_spi::{Context, Request};

use super::runs::Link;

/// Items of a service that takes [`CallRequest`]s, is always ready, and has boxed futures.
macro_rules! always_ready {
    () => {
        type Response = rr_spi::Response;
        type Error = rr_spi::Error;
        type Future = rr_spi::BoxFuture<'static, Result<rr_spi::Response, rr_spi::Error>>;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Self::Error>> {
            std::task::Poll::Ready(Ok(()))
        }
    };
}
pub(super) use always_ready;

/// Request of a call with its context: the request type of tower services.
///
/// A layer may change both: add headers, or shorten the deadline with [`Context::with_timeout`]. It
/// passes on this value or a clone of it, not one that it made.
///
/// # Examples
///
/// ```
/// # fn example() -> Result<(), rr_core::Error> {
/// use rr_core::tower::CallRequest;
/// use rr_core::{Context, Request};
///
/// let request = Request::new("orders.place".try_into()?, "{}");
/// let call = CallRequest::new(Context::background(), request);
/// assert_eq!(call.request.target.method(), "place");
/// # Ok(()) }
/// # example().unwrap();
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallRequest {
    /// The context of the call.
    pub context: Context,
    /// The request.
    pub request: Request,
    /// The call inside a [`LayerMiddleware`](super::LayerMiddleware) that this request belongs to.
    pub(super) link: Option<Link>,
    pub(super) copies: Copies,
}

/// Notes whether a request has been cloned, and may thus have been sent several times.
#[derive(Debug, Default)]
pub(super) struct Copies(Arc<AtomicBool>);

impl Copies {
    /// Makes a second view of the same note.
    pub(super) fn watch(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    pub(super) fn were_made(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Clone for Copies {
    fn clone(&self) -> Self {
        self.0.store(true, Ordering::Relaxed);
        self.watch()
    }
}

impl CallRequest {
    /// Makes the request of a call.
    #[must_use]
    pub fn new(context: Context, request: Request) -> Self {
        Self { context, request, link: None, copies: Copies::default() }
    }
}

impl From<(Context, Request)> for CallRequest {
    fn from((context, request): (Context, Request)) -> Self {
        Self::new(context, request)
    }
}
