//! A requester with one rule broken.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rr_spi::{
    Bytes, Code, Context, Delivery, Error, Idempotency, Reason, Request, Requester, Response,
    async_trait,
};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, sleep};

use crate::harness::Shared;
use crate::table::Sabotage::{self, *};
use crate::values::{incoming, outgoing};

/// From how many calls in flight some saboteurs do their work.
const MANY: usize = 64;
const SOME: usize = 8;

/// By how much some are late: a little more than the 50 ms that every transport has.
pub(crate) const LATE: Duration = Duration::from_millis(60);

pub(crate) struct BrokenRequester {
    pub(crate) inner: Arc<dyn Requester>,
    pub(crate) sabotage: Sabotage,
    shared: Arc<Shared>,
    in_flight: AtomicUsize,
    last_reply: Mutex<Option<Response>>,
    late_body: Mutex<Option<Bytes>>,
    /// Resolves when the call before has ended.
    before: Mutex<Option<oneshot::Receiver<()>>>,
    permits: Semaphore,
    disconnected: AtomicBool,
    pub(crate) failures: AtomicUsize,
    /// When the last call ended.
    pub(crate) last_end: Mutex<Option<Instant>>,
}

impl BrokenRequester {
    pub(crate) fn new(inner: Arc<dyn Requester>, sabotage: Sabotage, shared: Arc<Shared>) -> Self {
        Self {
            inner,
            sabotage,
            shared,
            in_flight: AtomicUsize::new(0),
            last_reply: Mutex::default(),
            late_body: Mutex::default(),
            before: Mutex::default(),
            permits: Semaphore::new(SOME * 4),
            disconnected: AtomicBool::new(false),
            failures: AtomicUsize::new(0),
            last_end: Mutex::default(),
        }
    }
}

/// A call in flight; one that is dropped before its end leaves its slot behind, if asked to.
struct Slot<'a> {
    owner: &'a BrokenRequester,
    ended: bool,
}

impl<'a> Slot<'a> {
    fn take(owner: &'a BrokenRequester) -> Self {
        owner.in_flight.fetch_add(1, Ordering::SeqCst);
        Self { owner, ended: false }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.owner.in_flight.fetch_sub(1, Ordering::SeqCst);
        if !self.ended && self.owner.sabotage == LeaksSlotsOfDroppedCalls {
            self.owner.shared.leaked.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[async_trait]
impl Requester for BrokenRequester {
    async fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        let mut slot = Slot::take(self);
        let ctx = &self.context(ctx);
        let request = outgoing(self.sabotage, request);
        let outcome = self.strained(ctx, request.clone()).await;
        let outcome = self.after_an_outage(ctx, request.clone(), outcome).await;
        let outcome = match outcome {
            Ok(response) => Ok(self.replaced(incoming(self.sabotage, response))),
            Err(error) => Err(self.failed(error)),
        };
        if matches!(&outcome, Err(error) if error.code() == Code::DeadlineExceeded) {
            *lock(&self.late_body) = Some(request.body);
        }
        slot.ended = true;
        outcome
    }
}

impl BrokenRequester {
    pub(crate) async fn send(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        let cut = lock(&self.shared.cut).take();
        if let Some(cut) = cut {
            return self.cut(cut, ctx, request).await;
        }
        match self.sabotage {
            IgnoresCancel => {
                let deadline = ctx.deadline();
                let detached = ctx.detached();
                let ctx = match deadline {
                    Some(deadline) => detached.with_deadline(deadline),
                    None => detached,
                };
                self.inner.request(&ctx, request).await
            }
            IgnoresDrops => {
                let (inner, ctx) = (Arc::clone(&self.inner), ctx.clone());
                let call = tokio::spawn(async move { inner.request(&ctx, request).await });
                call.await.expect("the inner call ends")
            }
            RetriesOnItsOwn => match self.inner.request(ctx, request.clone()).await {
                Err(_) => self.inner.request(ctx, request).await,
                answer => answer,
            },
            QueuesBeyondTheLimit => loop {
                let outcome = self.inner.request(ctx, request.clone()).await;
                if !has_reason(&outcome, &Reason::OVERLOADED) || ctx.cause().is_some() {
                    return outcome;
                }
                sleep(Duration::from_millis(5)).await;
            },
            LimitsItself => {
                let _permit = self.permits.acquire().await.expect("it is never closed");
                self.inner.request(ctx, request).await
            }
            DeliversInOrder => {
                let (_ended, ends) = oneshot::channel::<()>();
                let before = lock(&self.before).replace(ends);
                let outcome = self.inner.request(ctx, request).await;
                if let Some(before) = before.filter(|_| self.many(SOME)) {
                    let _ = before.await;
                }
                outcome
            }
            LeavesATaskPerCall => {
                tokio::spawn(pending::<()>());
                self.inner.request(ctx, request).await
            }
            DiesOfGarbage if self.shared.garbled.load(Ordering::SeqCst) => Err(absent()),
            FindsNoSuccessor if self.shared.restarted.load(Ordering::SeqCst) => Err(absent()),
            StaysDisconnected if self.disconnected.load(Ordering::SeqCst) => Err(absent()),
            _ => self.inner.request(ctx, request).await,
        }
    }

    /// Does what some do when the link is cut.
    async fn after_an_outage(
        &self,
        ctx: &Context,
        request: Request,
        outcome: Result<Response, Error>,
    ) -> Result<Response, Error> {
        let lost = has_reason(&outcome, &Reason::CONNECTION_LOST);
        let unreached = has_reason(&outcome, &Reason::NOT_CONNECTED);
        let is_keyed = matches!(request.idempotency, Idempotency::Keyed(_));
        match self.sabotage {
            HearsOfOutagesLate if lost => sleep(LATE).await,
            StaysDisconnected if lost || unreached => {
                self.disconnected.store(true, Ordering::SeqCst);
            }
            ForgetsPendingCalls if lost => pending().await,
            WaitsOutOutages if unreached => sleep(Duration::from_secs(10)).await,
            RetriesLostIdempotentCalls
                if lost && request.idempotency != Idempotency::Idempotent => {}
            RetriesLostKeyedCalls if lost && !is_keyed => {}
            RetriesLostConnections | RetriesLostIdempotentCalls | RetriesLostKeyedCalls if lost => {
                sleep(Duration::from_millis(20)).await;
                return self.inner.request(ctx, request).await;
            }
            SendsOnceRestored if unreached => {
                let inner = Arc::clone(&self.inner);
                tokio::spawn(async move {
                    let ctx = Context::background();
                    while has_reason(
                        &inner.request(&ctx, request.clone()).await,
                        &Reason::NOT_CONNECTED,
                    ) {
                        sleep(Duration::from_millis(1)).await;
                    }
                });
            }
            _ => {}
        }
        outcome
    }

    /// Gives another reply instead of the right one, if asked to.
    fn replaced(&self, response: Response) -> Response {
        let headers = response.headers.clone();
        match self.sabotage {
            RepeatsTheLastReply => {
                lock(&self.last_reply).replace(response.clone()).unwrap_or(response)
            }
            SwapsRepliesUnderLoad if self.many(MANY) => {
                lock(&self.last_reply).replace(response.clone()).unwrap_or(response)
            }
            AnswersWithLateReplies => {
                let body = lock(&self.late_body).take();
                body.map_or(response, |body| Response::new(body).with_headers(headers))
            }
            _ => response,
        }
    }

    pub(crate) fn many(&self, many: usize) -> bool {
        self.in_flight.load(Ordering::SeqCst) >= many
    }

    fn context(&self, ctx: &Context) -> Context {
        let remaining = ctx.remaining();
        match (self.sabotage, remaining) {
            (LengthensTheDeadline, Some(left)) if !left.is_zero() => {
                ctx.detached().with_timeout(left + Duration::from_secs(1))
            }
            (KeepsTheDeadlineToItself, Some(left)) if !left.is_zero() => ctx.detached().unbounded(),
            (RoundsDown, Some(left)) => {
                let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
                ctx.with_timeout(Duration::from_millis(millis))
            }
            // As if the remaining milliseconds were held in 18 bits.
            (OverflowsFarDeadlines, Some(left)) => {
                ctx.with_timeout(Duration::from_millis(left.as_millis() as u64 % (1 << 18)))
            }
            (LosesLongTraces, _) if ctx.baggage().is_some_and(|text| text.len() > 1024) => {
                ctx.clone().with_baggage("").expect("it fits")
            }
            (LosesTheTrace, Some(left)) => Context::background().with_timeout(left),
            (LosesTheTrace, None) => Context::background(),
            _ => ctx.clone(),
        }
    }
}

pub(crate) fn has_reason(outcome: &Result<Response, Error>, reason: &Reason) -> bool {
    outcome.as_ref().is_err_and(|error| error.reason() == Some(reason))
}

pub(crate) fn absent() -> Error {
    let reason = Reason::NO_RESPONDER;
    Error::failure(Code::Unavailable, Delivery::NotSent, reason, "nobody is there")
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics under it")
}
