//! Something of rr-core's around the in-memory transport.
//!
//! Skipped: what needs a peer below the API, as values have no bytes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rr_core::{
    Context, DrainReport, Error, Forward, IntakeConfig, Middleware, Next, Request, Requester,
    Response, Router, Routes, Server, Stack, async_trait,
};
use rr_testkit::conformance::{
    Capabilities, Harness, Live, Plan, Rig, StartOptions, Timing, Typed,
};
use rr_testkit::{MemoryConfig, MemoryRequester, serve_with};

use crate::typed::typed;

/// A harness over the in-memory transport with something around its ends.
#[derive(Clone, Copy)]
pub(crate) struct Layered {
    name: &'static str,
    requester: fn(MemoryRequester, Duration) -> Arc<dyn Requester>,
    /// Also the server behind, if there is one.
    routes: fn(Routes, &StartOptions) -> (Routes, Option<Server>),
}

/// Passes on what it gets.
struct Nothing;

#[async_trait]
impl Middleware for Nothing {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        next.run(ctx, request).await
    }
}

fn plain(requester: MemoryRequester, _: Duration) -> Arc<dyn Requester> {
    Arc::new(requester)
}

/// The stack's own default deadline comes before the transport's.
fn stacked(requester: MemoryRequester, timeout: Duration) -> Arc<dyn Requester> {
    Arc::new(Stack::new(requester).with_timeout_default(timeout).with(Nothing).with(Nothing))
}

fn untouched(routes: Routes, _: &StartOptions) -> (Routes, Option<Server>) {
    (routes, None)
}

fn wrapped(routes: Routes, _: &StartOptions) -> (Routes, Option<Server>) {
    (Router::new().merge(routes).with(Nothing).with(Nothing).into(), None)
}

/// Routes that pass everything on to a server behind.
fn behind(routes: Routes, options: &StartOptions) -> (Routes, Option<Server>) {
    let back = rr_testkit::loopback_with(routes, options.server.clone(), MemoryConfig::default());
    let (onward, server) = back.into_parts();
    (Router::new().fallback(Forward(onward)).into(), Some(server))
}

impl Layered {
    pub(crate) const AROUND_REQUESTER: Self =
        Self { name: "middleware (requester)", requester: stacked, routes: untouched };
    pub(crate) const AROUND_ROUTES: Self =
        Self { name: "middleware (routes)", requester: plain, routes: wrapped };
    pub(crate) const AROUND_BOTH: Self =
        Self { name: "middleware (both)", requester: stacked, routes: wrapped };
    pub(crate) const BRIDGE: Self = Self { name: "bridge", requester: plain, routes: behind };
}

/// What a bridge cannot do, as it answers for another server.
pub(crate) fn bridge_plan() -> Plan {
    let cannot = [
        ("deadline/default_applies", "a bridge that gives up does not know how far the call got"),
        ("deadline/server_clamp", "a bridge that gives up does not know how far the call got"),
        ("drain/grace_exceeded_cancels", "the server behind is not the one that is drained"),
    ];
    cannot.into_iter().fold(Plan::v1(), |plan, (case, why)| plan.known_failing(case, why))
}

/// Each rig has a name of its own.
static STARTED: AtomicUsize = AtomicUsize::new(0);

#[async_trait]
impl Harness for Layered {
    fn name(&self) -> &str {
        self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_raw(false).with_typed(true)
    }

    fn timing(&self) -> Timing {
        Timing::Virtual
    }

    fn typed(&self) -> Option<Typed> {
        Some(typed())
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let url = format!("memory://layered-{}", STARTED.fetch_add(1, Ordering::Relaxed));
        let client = MemoryConfig::default()
            .with_timeout_default(options.client_timeout)
            .with_limits(options.client_limits);
        let link = MemoryRequester::new(&url, client.clone())?;
        let (routes, behind) = (self.routes)(routes, &options);
        let config = options.server;
        let server = Mutex::new(Arc::new(serve_with(&url, routes.clone(), config.clone())?));
        Ok(Box::new(Running { layered: *self, url, routes, config, client, link, server, behind }))
    }
}

struct Running {
    layered: Layered,
    url: String,
    routes: Routes,
    config: IntakeConfig,
    client: MemoryConfig,
    link: MemoryRequester,
    server: Mutex<Arc<Server>>,
    behind: Option<Server>,
}

impl Running {
    fn server(&self) -> Arc<Server> {
        Arc::clone(&self.server.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Rig for Running {
    fn requester(&self) -> Arc<dyn Requester> {
        (self.layered.requester)(self.link.clone(), self.client.timeout_default)
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        let another = MemoryRequester::new(&self.url, self.client.clone())?;
        Ok((self.layered.requester)(another, self.client.timeout_default))
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        self.server().shutdown(grace).await
    }

    async fn kill_link(&self) {
        self.link.link().cut();
    }

    async fn restore_link(&self) {
        self.link.link().restore();
    }

    /// Nothing gets out of the server once the link is cut: then it may end in any manner.
    async fn restart(&self) -> Result<(), Error> {
        self.link.link().cut();
        self.server().shutdown(Duration::ZERO).await;
        let server = serve_with(&self.url, self.routes.clone(), self.config.clone())?;
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(server);
        self.link.link().restore();
        Ok(())
    }

    fn live(&self) -> Live {
        let link = self.link.link();
        let behind = self.behind.as_ref().map_or(0, Server::in_flight);
        Live::default()
            .with_in_flight(self.server().in_flight() + behind)
            .with_pending(link.pending())
            .with_subscriptions(usize::from(link.is_served()))
    }
}
