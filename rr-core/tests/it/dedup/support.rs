//! Handlers that count their runs, middleware that holds requests back, and a server of both.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rr_core::{
    Code, Context, Error, Headers, Idempotency, IdempotencyKey, Middleware, Next, Request,
    Requester, Response, Router, Server, async_trait,
    config::{CallConfig, IntakeConfig},
};
use rr_testkit::{MemoryRequester, loopback_with};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn long() -> Context {
    Context::background().with_timeout(Duration::from_secs(60))
}

pub(crate) fn keyed(target: &'static str, key: &str, body: &'static str) -> Request {
    let key = IdempotencyKey::new(key).unwrap();
    Request::new(target.try_into().unwrap(), body).with_idempotency(Idempotency::Keyed(key))
}

/// Something that is closed until it is opened for good.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}

impl Gate {
    pub(crate) fn open(&self) {
        self.0.close();
    }

    pub(crate) async fn opened(&self) {
        // There is never a permit: it resolves when the semaphore is closed.
        let _ = self.0.acquire().await;
    }
}

/// Handlers that count their runs.
#[derive(Clone, Default)]
pub(crate) struct Bench {
    runs: Arc<AtomicUsize>,
    entered: Arc<Notify>,
    gate: Gate,
}

impl Bench {
    /// Returns routes whose answers say which run they are of.
    pub(crate) fn router(&self) -> Router {
        let count = |own: Self| {
            move |_: Context, _: Request| std::future::ready(Ok::<_, Error>(own.answer()))
        };
        let gated = self.clone();
        let fail = self.clone();
        let panics = self.clone();
        let hang = self.clone();
        Router::new()
            .route("count", count(self.clone()))
            .route("count.other", count(self.clone()))
            .route("gated", move |_: Context, _: Request| {
                let own = gated.clone();
                async move {
                    let answer = own.answer();
                    own.gate.opened().await;
                    Ok::<_, Error>(answer)
                }
            })
            .route("fail", move |_: Context, _: Request| {
                let run = fail.run();
                async move { Err::<Response, _>(Error::new(Code::NotFound, format!("run {run}"))) }
            })
            .route("panic", move |_: Context, _: Request| {
                let own = panics.clone();
                async move {
                    own.run();
                    if own.runs() > 0 {
                        panic!("as asked");
                    }
                    Ok::<_, Error>(Response::new(""))
                }
            })
            .route("hang", move |_: Context, _: Request| {
                hang.run();
                pending::<Result<Response, Error>>()
            })
    }

    fn run(&self) -> usize {
        let run = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        self.entered.notify_waiters();
        run
    }

    fn answer(&self) -> Response {
        let run = self.run().to_string();
        let mut headers = Headers::new();
        headers.insert("x-run", run.clone()).unwrap();
        Response::new(run).with_headers(headers)
    }

    pub(crate) fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    pub(crate) fn open(&self) {
        self.gate.open();
    }

    /// Waits until a handler has been entered that often.
    pub(crate) async fn entered(&self, runs: usize) {
        while self.runs() < runs {
            tokio::task::yield_now().await;
        }
    }
}

/// Holds every request until it is opened.
#[async_trait]
impl Middleware for Gate {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        self.opened().await;
        next.run(ctx, request).await
    }
}

/// Refuses every request until it lets them pass.
#[derive(Clone)]
pub(crate) struct Refuse {
    passes: Arc<AtomicBool>,
    error: Error,
}

impl Refuse {
    pub(crate) fn by(error: Error) -> Self {
        Self { passes: Arc::default(), error }
    }

    pub(crate) fn let_pass(&self) {
        self.passes.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Middleware for Refuse {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        if !self.passes.load(Ordering::SeqCst) {
            return Err(self.error.clone());
        }
        next.run(ctx, request).await
    }
}

/// Routes served in memory.
pub(crate) struct Served {
    pub(crate) requester: MemoryRequester,
    pub(crate) server: Server,
}

pub(crate) fn served(router: Router) -> Served {
    served_with(router, IntakeConfig::default())
}

pub(crate) fn served_with(router: Router, config: IntakeConfig) -> Served {
    let (requester, server) = loopback_with(router, config, CallConfig::default()).into_parts();
    Served { requester, server }
}

impl Served {
    pub(crate) async fn call(&self, request: Request) -> Result<Response, Error> {
        self.requester.request(&Context::background(), request).await
    }

    pub(crate) fn spawn(
        &self,
        ctx: &Context,
        request: Request,
    ) -> JoinHandle<Result<Response, Error>> {
        let (requester, ctx) = (self.requester.clone(), ctx.clone());
        tokio::spawn(async move { requester.request(&ctx, request).await })
    }

    /// Waits until that many requests are in flight at the server.
    pub(crate) async fn in_flight(&self, requests: usize) {
        while self.server.in_flight() != requests {
            tokio::task::yield_now().await;
        }
    }
}
