//! Observation of calls, the level above their attempts.

use rr_spi::observe::{Kind, Monitor, Observers};
use rr_spi::{BoxFuture, Context, Error, Middleware, Next, Request, Response, observed};

/// Middleware for requesters that reports each call exactly once, as [`Kind::ClientCall`], whatever its
/// attempts did.
///
/// It belongs outermost, where [`Stack::observed_by`](crate::Stack::observed_by) puts it: what is
/// outside of it is not part of the call that it reports. The observers of the requester itself
/// report the attempts, and those of [`Retry`](crate::retry::Retry) what follows a failed one.
///
/// # Examples
///
/// ```
/// use rr_core::observe::{Observe, Observers};
/// use rr_core::retry::Retry;
/// use rr_core::{Requester, Stack};
///
/// fn observed(client: impl Requester, observers: Observers) -> impl Requester {
///     Stack::new(client)
///         .with(Observe::new(observers.clone()))
///         .with(Retry::new().with_observers(observers))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Observe {
    monitor: Monitor,
}

impl Observe {
    /// Makes a layer that reports to these observers.
    #[must_use]
    pub fn new(observers: Observers) -> Self {
        Self { monitor: Monitor::new(observers) }
    }
}

impl Middleware for Observe {
    // Written as a function: `async_trait` would box the future of `next` a second time.
    fn handle<'a, 'c, 'n, 'f>(
        &'a self,
        ctx: &'c Context,
        request: Request,
        next: Next<'n>,
    ) -> BoxFuture<'f, Result<Response, Error>>
    where
        'a: 'f,
        'c: 'f,
        'n: 'f,
        Self: 'f,
    {
        if !self.monitor.observes(Kind::ClientCall) {
            return next.run(ctx, request);
        }
        observed!(&self.monitor, Kind::ClientCall, |ctx, request| next.run(ctx, request))
    }
}
