//! Runs of the rest of a call that a tower layer asks for.
//!
//! A layer owns its inner service, which therefore cannot borrow the rest of the call. The inner
//! service asks for each run through a channel, and the future of the middleware carries the run
//! out: nothing is spawned, and the runs end with the call.

use std::task::{Context as TaskContext, Poll};

use rr_spi::{BoxFuture, Code, Context, Delivery, Error, Next, Request, Response};
use tokio::sync::{mpsc, oneshot};

/// Maximum number of runs of one call that are in progress simultaneously. Layers run the rest of a
/// call once, or twice to hedge; further runs wait for one to end.
const RUNS_MAX: usize = 8;

type Outcome = Result<Response, Error>;

/// Sender through which the inner service asks for runs.
#[derive(Clone, Debug)]
pub(super) struct Link(mpsc::Sender<Asked>);

/// Run that has been asked for.
#[derive(Debug)]
struct Asked {
    context: Context,
    request: Request,
    reply: oneshot::Sender<Outcome>,
}

impl Link {
    /// Runs the rest of the call.
    pub(super) async fn run(self, context: Context, request: Request) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        if self.0.send(Asked { context, request, reply }).await.is_err() {
            return Err(ended_error(Delivery::NotSent));
        }
        outcome.await.unwrap_or_else(|_| Err(ended_error(Delivery::Unknown)))
    }
}

/// Makes the error of a run that outlives its call, as in the task of a layer.
fn ended_error(delivery: Delivery) -> Error {
    Error::failure(Code::Canceled, delivery, None, "the call has ended already")
}

/// Runs of one call.
pub(super) struct Runs<'a> {
    next: Next<'a>,
    asked: mpsc::Receiver<Asked>,
    active: Vec<Run<'a>>,
    /// Worst delivery of the runs that have ended; `None` before the first.
    ended: Option<Delivery>,
    /// Error of the last run that its deadline or a cancellation ended.
    expired: Option<Error>,
}

struct Run<'a> {
    future: BoxFuture<'a, Outcome>,
    reply: oneshot::Sender<Outcome>,
}

impl<'a> Runs<'a> {
    /// Makes the runs of a call whose rest is `next`.
    pub(super) fn new(next: Next<'a>) -> (Self, Link) {
        // The inner service waits in the channel until the call takes the run.
        let (sender, asked) = mpsc::channel(1);
        (Self { next, asked, active: Vec::new(), ended: None, expired: None }, Link(sender))
    }

    /// Returns the delivery of the call as far as its runs prove it.
    pub(super) fn delivery(&self) -> Delivery {
        let active = if self.active.is_empty() { Delivery::NotSent } else { Delivery::Unknown };
        self.ended.unwrap_or(Delivery::NotSent).max(active)
    }

    /// Takes the error of the last run that its deadline or a cancellation ended: it tells where the
    /// time went.
    pub(super) fn take_expired(&mut self) -> Option<Error> {
        self.expired.take()
    }

    /// Polls the runs. Returns whether one has begun or ended, so that the layer has to be polled.
    pub(super) fn poll(&mut self, cx: &mut TaskContext<'_>) -> bool {
        let mut has_changed = false;
        while self.active.len() < RUNS_MAX {
            let Poll::Ready(Some(asked)) = self.asked.poll_recv(cx) else { break };
            let (next, Asked { context, request, reply }) = (self.next, asked);
            // The layer has dropped its future before the run began.
            if reply.is_closed() {
                continue;
            }
            let future = Box::pin(async move { next.run(&context, request).await });
            self.active.push(Run { future, reply });
            has_changed = true;
        }
        let before = self.active.len();
        self.poll_active(cx);
        has_changed || self.active.len() < before
    }

    /// Polls the runs that have begun, and ends those that the layer has dropped.
    pub(super) fn poll_active(&mut self, cx: &mut TaskContext<'_>) {
        let mut at = 0;
        while let Some(run) = self.active.get_mut(at) {
            let delivery = match run.future.as_mut().poll(cx) {
                Poll::Ready(outcome) => {
                    let delivery =
                        outcome.as_ref().map_or_else(Error::delivery, |_| Delivery::Processed);
                    let is_expired = |error: &&Error| {
                        matches!(error.code(), Code::DeadlineExceeded | Code::Canceled)
                    };
                    self.expired = outcome.as_ref().err().filter(is_expired).cloned();
                    // The layer may have dropped its future.
                    let _ = self.active.remove(at).reply.send(outcome);
                    delivery
                }
                Poll::Pending if run.reply.poll_closed(cx).is_ready() => {
                    drop(self.active.remove(at));
                    Delivery::Unknown
                }
                Poll::Pending => {
                    at += 1;
                    continue;
                }
            };
            self.ended = self.ended.max(Some(delivery));
        }
    }
}
