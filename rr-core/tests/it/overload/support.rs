//! Layers that a test keeps hold of, destinations that do as they are told, and what they saw.

use std::iter::repeat_n;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rr_core::hedge::Hedge;
use rr_core::{
    Context, Error, Middleware, Next, Reason, Request, Requester, Response, Stack, async_trait,
};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::Instant;

pub(crate) use crate::balance::support::{Does, Host};
pub(crate) use crate::retry::support::{
    Least, Script, Step, after, exhausted, idempotent, lost, ms, plain, refused, unavailable,
    within,
};

/// Layer of which a test reads the state.
pub(crate) struct Shared<M>(pub(crate) Arc<M>);

#[async_trait]
impl<M: Middleware> Middleware for Shared<M> {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        self.0.handle(ctx, request, next).await
    }
}

/// Counts the requests that pass through.
#[derive(Default)]
pub(crate) struct Watch {
    sent: AtomicUsize,
    in_flight: AtomicUsize,
    most: AtomicUsize,
}

impl Watch {
    pub(crate) fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Most requests that were in flight simultaneously.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Middleware for Watch {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        self.sent.fetch_add(1, Ordering::SeqCst);
        let in_flight = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(in_flight, Ordering::SeqCst);
        let _in_flight = InFlight(&self.in_flight);
        next.run(ctx, request).await
    }
}

/// Requester behind a layer and a watch.
pub(crate) struct Watched<M> {
    pub(crate) layer: Arc<M>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) client: Arc<dyn Requester>,
}

/// Puts a layer around a requester, and a watch inside of the layer.
pub(crate) fn watched<M: Middleware>(layer: M, requester: impl Requester) -> Watched<M> {
    let (layer, watch) = (Arc::new(layer), Arc::new(Watch::default()));
    let stack = Stack::new(requester).with(Shared(Arc::clone(&layer)));
    let client = Arc::new(stack.with(Shared(Arc::clone(&watch))));
    Watched { layer, watch, client }
}

impl<M> Watched<M> {
    /// Starts a call, and lets it run until it waits.
    pub(crate) async fn start(&self, request: Request) -> JoinHandle<Result<Response, Error>> {
        let client = Arc::clone(&self.client);
        let call = tokio::spawn(async move { client.request(&within(60_000), request).await });
        yield_now().await;
        call
    }

    /// Starts a call; returns whether it runs or waits, and not whether it was refused.
    pub(crate) async fn is_admitted(&self, request: Request) -> bool {
        !self.start(request).await.is_finished()
    }
}

/// Calls of 10 ms that a hedge has seen before a test.
pub(crate) const USUAL: usize = 1000;

/// A hedged client that has seen 1000 calls of 10 ms in the last 10 s, and what becomes of the next requests; those
/// after them are answered after 10 ms.
pub(crate) struct Hedged {
    pub(crate) script: Arc<Script>,
    pub(crate) of: Watched<Hedge>,
}

impl Hedged {
    pub(crate) async fn new(hedge: Hedge, steps: impl IntoIterator<Item = Step>) -> Self {
        let usual = Step::Answer(ms(10));
        let all = repeat_n(usual.clone(), USUAL).chain(steps).chain([usual]);
        let script = Script::new(all);
        let of = watched(hedge, Arc::clone(&script));
        for _ in 0..USUAL {
            of.client.request(&within(60_000), idempotent()).await.unwrap();
        }
        Self { script, of }
    }

    /// Makes a call; returns its outcome, its duration and the number of requests.
    pub(crate) async fn call(&self) -> (Result<Response, Error>, Duration, usize) {
        let (began, before) = (Instant::now(), self.of.watch.sent());
        let outcome = self.of.client.request(&within(60_000), idempotent()).await;
        (outcome, began.elapsed(), self.of.watch.sent() - before)
    }

    pub(crate) fn delay(&self) -> Duration {
        self.of.layer.delay(&plain().target).unwrap()
    }
}

/// Returns whether an outcome is a refusal for this reason.
pub(crate) fn is_refused(outcome: &Result<Response, Error>, reason: &Reason) -> bool {
    outcome.as_ref().is_err_and(|error| error.reason() == Some(reason))
}
