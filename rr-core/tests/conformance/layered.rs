//! Middleware around calls over memory, on either side or on both.

use std::sync::Arc;
use std::time::Duration;

use rr_core::transport::Routes;
use rr_core::{
    Context, DrainReport, Error, Middleware, Next, Request, Requester, Response, Router, Stack,
    async_trait,
};
use rr_testkit::conformance::{Capabilities, Harness, Live, Rig, StartOptions, Timing, Typed};

use crate::memory::{self, Ends};
use crate::typed::typed;

/// A stack around whatever requester a rig has.
pub(crate) type Calls = Stack<Arc<dyn Requester>>;

/// Middleware around the requesters of a rig and around its routes.
pub(crate) struct Layered {
    name: &'static str,
    /// `None` when its requesters have no stack around them.
    calls: Option<Layer>,
    routes: fn(Router) -> Router,
}

/// Puts a stack around a requester.
type Layer = fn(Arc<dyn Requester>) -> Calls;

/// What a requester in a stack gives a call without a deadline: so long that a case notices when
/// the stack did not give it one before.
const TIMEOUT_BELOW: Duration = Duration::from_secs(3600);

impl Layered {
    /// Makes a harness with a stack around its requesters, which has the default deadline.
    pub(crate) fn calls(name: &'static str, calls: Layer) -> Self {
        Self { name, calls: Some(calls), routes: |router| router }
    }

    /// Makes a harness with a router around its routes.
    pub(crate) fn routes(name: &'static str, routes: fn(Router) -> Router) -> Self {
        Self { name, calls: None, routes }
    }

    /// Puts a router around its routes too.
    pub(crate) fn and_routes(mut self, routes: fn(Router) -> Router) -> Self {
        self.routes = routes;
        self
    }
}

#[async_trait]
impl Harness for Layered {
    fn name(&self) -> &str {
        self.name
    }

    fn capabilities(&self) -> Capabilities {
        memory::capabilities()
    }

    fn timing(&self) -> Timing {
        Timing::Virtual
    }

    fn typed(&self) -> Option<Typed> {
        Some(typed())
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let router = (self.routes)(Router::new().merge(routes));
        let (calls, timeout) = (self.calls, options.calls.timeout);
        let mut client = memory::client_config(&options);
        if calls.is_some() {
            client = client.with_timeout(TIMEOUT_BELOW);
        }
        let ends = Ends::start(router.into(), options.server, Some(client)).await?;
        Ok(Box::new(Running { calls, timeout, ends }))
    }
}

struct Running {
    calls: Option<Layer>,
    timeout: Duration,
    ends: Ends,
}

impl Running {
    fn stack(&self, requester: Arc<dyn Requester>) -> Arc<dyn Requester> {
        match self.calls {
            Some(calls) => Arc::new(calls(requester).with_timeout_default(self.timeout)),
            None => requester,
        }
    }
}

#[async_trait]
impl Rig for Running {
    fn requester(&self) -> Arc<dyn Requester> {
        self.stack(self.ends.requester())
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        Ok(self.stack(self.ends.connect_again().await?))
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        self.ends.stop(grace).await
    }

    async fn kill_link(&self) {
        self.ends.kill_link().await;
    }

    async fn restore_link(&self) {
        self.ends.restore_link().await;
    }

    async fn restart(&self) -> Result<(), Error> {
        self.ends.restart().await
    }

    fn live(&self) -> Live {
        self.ends.live()
    }
}

/// Goes on with what it was given.
pub(crate) struct Pass;

#[async_trait]
impl Middleware for Pass {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        next.run(ctx, request).await
    }
}

/// Goes on in a scope of its own, as what times, hedges or traces does.
pub(crate) struct Nested;

#[async_trait]
impl Middleware for Nested {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        let (ctx, _handle) = ctx.child();
        next.run(&ctx, request).await
    }
}

/// Middleware that was not on the way would let every case pass.
#[cfg(test)]
mod tests {
    use rr_core::{Code, Delivery, RequesterExt as _};

    use super::*;

    struct Refuse;

    #[async_trait]
    impl Middleware for Refuse {
        async fn handle(&self, _: &Context, _: Request, _: Next<'_>) -> Result<Response, Error> {
            Err(Error::failure(Code::Unavailable, Delivery::NotSent, None, "as asked"))
        }
    }

    async fn refused(harness: Layered) -> Delivery {
        let answer = |_: Context, _: Request| async { Ok::<_, Error>(Response::new("")) };
        let routes = Router::new().route("ping", answer);
        let rig = harness.start(routes.into(), StartOptions::default()).await.unwrap();
        let (first, second) = (rig.requester(), rig.connect_again().await.unwrap());
        let mut deliveries = Vec::new();
        for client in [first, second] {
            let error = client.call_raw(&Context::background(), "ping", "").await.unwrap_err();
            assert_eq!(error.message(), "as asked");
            deliveries.push(error.delivery());
        }
        assert_eq!(deliveries[0], deliveries[1]);
        deliveries[0]
    }

    #[tokio::test(start_paused = true)]
    async fn middleware_stands_where_the_harness_says() {
        let calls = Layered::calls("calls", |client| Stack::new(client).with(Refuse));
        assert_eq!(refused(calls).await, Delivery::NotSent);
        let routes = Layered::routes("routes", |router| router.with(Refuse));
        assert_eq!(refused(routes).await, Delivery::Rejected);
        let both = Layered::calls("both", |client| Stack::new(client).with(Pass));
        let both = both.and_routes(|router| router.with(Refuse));
        assert_eq!(refused(both).await, Delivery::Rejected);
    }
}
