//! Calls that go wrong from a certain size, time or number on.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use rr_spi::{CancelHandle, Code, Context, Delivery, Error, Reason, Request, Response};
use tokio::time::{Instant, sleep, timeout};

use crate::requester::{BrokenRequester, LATE, absent, has_reason, lock};
use crate::table::Sabotage::*;

type Outcome = Result<Response, Error>;

/// From how many bytes on a body is large.
const LARGE: usize = 100_000;

/// After how long some send again what they hold to be lost.
const RETRANSMIT: Duration = Duration::from_secs(3);

/// After how long some forget a call, or a connection that is not used.
const FORGET: Duration = Duration::from_secs(30);

impl BrokenRequester {
    /// Sends, unless the call is beyond what this one can do.
    pub(crate) async fn strained(&self, ctx: &Context, request: Request) -> Outcome {
        let (target, bytes) = (request.target.as_str(), request.body.len());
        match self.sabotage {
            RefusesLongTargets if target.len() > 100 => return Err(absent()),
            RefusesDeepTargets if target.split('.').count() > 5 => return Err(absent()),
            DropsRepliesBeyond1024 if self.many(1025) => {
                let _ = self.send(ctx, request).await;
                return ctx.race(pending()).await.map_err(lost);
            }
            LosesTheFirstCallAfterAPause => {
                let last = lock(&self.last_end).replace(Instant::now());
                if last.is_some_and(|last| last.elapsed() > FORGET) {
                    return Err(gone());
                }
            }
            ForgetsSlowCalls => {
                let Ok(outcome) = timeout(FORGET, self.send(ctx, request)).await else {
                    return ctx.race(pending()).await.map_err(lost);
                };
                return outcome;
            }
            CancelsLate => return self.cancelling_late(ctx, request).await,
            LosesCancelsBeyond256 if self.many(257) => return self.overrunning(ctx, request).await,
            LetsHandlersOverrun => return self.overrunning(ctx, request).await,
            RetransmitsAfter3s => {
                let (_over, ending) = tokio::sync::oneshot::channel::<()>();
                let (inner, again) = (Arc::clone(&self.inner), request.clone());
                tokio::spawn(async move {
                    if timeout(RETRANSMIT, ending).await.is_err() {
                        drop(inner.request(&Context::background(), again).await);
                    }
                });
                return self.send(ctx, request).await;
            }
            _ => {}
        }
        let outcome = self.send(ctx, request.clone()).await;
        self.after(request, bytes, outcome).await
    }

    /// Does what some do once a call has ended.
    async fn after(&self, request: Request, bytes: usize, outcome: Outcome) -> Outcome {
        let expired = outcome.as_ref().is_err_and(|error| error.code() == Code::DeadlineExceeded);
        let is_large = outcome.as_ref().is_ok_and(|answer| answer.body.len() >= LARGE);
        match self.sabotage {
            FailsLate if expired => sleep(LATE).await,
            RefusesLate if has_reason(&outcome, &Reason::OVERLOADED) => sleep(LATE).await,
            ClaimsNotSentOfLargeCalls if expired && bytes >= LARGE => {
                let text = "it was too large to leave";
                return Err(Error::failure(Code::DeadlineExceeded, Delivery::NotSent, None, text));
            }
            RetransmitsAfterTheDeadline if expired => self.once_more(request, RETRANSMIT),
            RunsTwiceWhenTheAnswerIsLarge if is_large => self.once_more(request, Duration::ZERO),
            LeavesATaskPerLargeReply if is_large => drop(tokio::spawn(pending::<()>())),
            LeavesATaskPerPanic if has_reason(&outcome, &Reason::PANIC) => {
                drop(tokio::spawn(pending::<()>()));
            }
            SwapsLargeBodiesUnderLoad if is_large => return Ok(self.mixed_up(outcome?)),
            _ => {}
        }
        outcome
    }

    /// Sends a request a second time, a while later.
    fn once_more(&self, request: Request, later: Duration) {
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            sleep(later).await;
            drop(inner.request(&Context::background(), request).await);
        });
    }

    /// Ends one large reply with a piece of another, if there are others.
    fn mixed_up(&self, mut answer: Response) -> Response {
        if self.many(2) {
            let mut body = answer.body.to_vec();
            body.truncate(answer.body.len() - 1);
            body.push(!answer.body[answer.body.len() - 1]);
            answer.body = body.into();
        }
        answer
    }

    /// Lets the handler learn late that its caller has gone.
    async fn cancelling_late(&self, ctx: &Context, request: Request) -> Outcome {
        let (own, handle) = detached(ctx, Duration::ZERO).child();
        let _late = Late(Some(handle));
        let inner = Arc::clone(&self.inner);
        let call = tokio::spawn(async move { inner.request(&own, request).await });
        let ended = ctx.race(call).await.map_err(lost)?;
        ended.expect("the inner call ends")
    }

    /// Ends a call by its deadline, and lets its handler have a little more.
    async fn overrunning(&self, ctx: &Context, request: Request) -> Outcome {
        if ctx.cause().is_some() {
            return self.send(ctx, request).await;
        }
        let own = detached(ctx, LATE);
        let inner = Arc::clone(&self.inner);
        let call = tokio::spawn(async move { inner.request(&own, request).await });
        ctx.race(call).await.map_err(lost)?.expect("the inner call ends")
    }
}

/// Cancels a while after it was dropped.
struct Late(Option<CancelHandle>);

impl Drop for Late {
    fn drop(&mut self) {
        let handle = self.0.take();
        tokio::spawn(async move {
            sleep(LATE).await;
            drop(handle);
        });
    }
}

/// Returns a context without its cancellation, and with a later deadline.
fn detached(ctx: &Context, later: Duration) -> Context {
    match ctx.remaining() {
        Some(left) => ctx.detached().with_timeout(left + later),
        None => ctx.detached(),
    }
}

fn lost(cause: rr_spi::Cause) -> Error {
    Error::from_cause(cause, Delivery::Unknown)
}

fn gone() -> Error {
    let (code, reason) = (Code::Unavailable, Reason::CONNECTION_LOST);
    Error::failure(code, Delivery::Unknown, reason, "it was closed meanwhile")
}
