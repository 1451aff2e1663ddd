//! A call and its second request, in one future.

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::task::Poll;

use rr_spi::{AttemptRecord, BoxFuture, Code, Context, Error, Next, Request, Response, RetryHint};
use tokio::time::{Instant, timeout};

use super::Hedge;

type Outcome = Result<Response, Error>;

impl Hedge {
    /// Makes a call, and sends its request again if the first takes unusually long.
    pub(super) async fn hedged(&self, ctx: &Context, request: Request, next: Next<'_>) -> Outcome {
        let started = Instant::now();
        let _ = self.own.deposit_at(started);
        let Some(delay) = self.delay_at(&request.target, started) else {
            let target = request.target.clone();
            let outcome = next.run(ctx, request).await;
            if outcome.is_ok() {
                let now = Instant::now();
                self.latencies.record(&target, now, now.duration_since(started));
            }
            return outcome;
        };
        let mut first = next.run(ctx, request.clone());
        let outcome = match timeout(delay, &mut first).await {
            Ok(outcome) => outcome,
            Err(_) if self.withdraw(Instant::now()) => {
                let second = next.run(ctx, request.clone());
                // Boxed: second requests are rare, and inline this would enlarge every call.
                Box::pin(self.race(started, first, second)).await
            }
            Err(_) => first.await,
        };
        if outcome.is_ok() {
            let now = Instant::now();
            // The time of the first request, at least: it may still have been in flight.
            self.latencies.record(&request.target, now, now.duration_since(started));
        }
        outcome
    }

    /// Returns the first outcome that ends the call; the other request is dropped.
    async fn race(
        &self,
        started: Instant,
        mut first: BoxFuture<'_, Outcome>,
        mut second: BoxFuture<'_, Outcome>,
    ) -> Outcome {
        let again = Instant::now();
        let (is_first, outcome) = poll_fn(|cx| match first.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready((true, outcome)),
            Poll::Pending => second.as_mut().poll(cx).map(|outcome| (false, outcome)),
        })
        .await;
        let error = match outcome {
            Err(error) if !is_final(&error) => error,
            outcome => {
                if !is_first {
                    self.won.fetch_add(1, Ordering::Relaxed);
                }
                return outcome;
            }
        };
        let (failed_since, other_since) =
            if is_first { (started, again) } else { (again, started) };
        let record = AttemptRecord::of(&error, failed_since.elapsed());
        let outcome = if is_first { second.await } else { first.await };
        if is_first && outcome.is_ok() {
            self.won.fetch_add(1, Ordering::Relaxed);
        }
        outcome.map_err(|last| {
            let other = AttemptRecord::of(&last, other_since.elapsed());
            last.with_attempts(vec![record, other])
        })
    }
}

/// Returns whether an error ends the call, although the other request is still in flight.
fn is_final(error: &Error) -> bool {
    let is_transient = matches!(
        error.code(),
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded
    );
    !is_transient || error.retry() == RetryHint::Never
}
