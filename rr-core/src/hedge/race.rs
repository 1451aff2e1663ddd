//! A call and its second request, in one future.

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::task::Poll;

use rr_spi::{
    AttemptRecord, BoxFuture, Code, Context, Delivery, Error, Next, Request, Response, RetryHint,
};
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
                let first = Sent::new(started, first);
                let second = Sent::new(Instant::now(), next.run(ctx, request.clone()));
                // Boxed: second requests are rare, and inline this would enlarge every call.
                Box::pin(self.race(first, second)).await
            }
            Err(_) => first.await,
        };
        if outcome.is_ok() {
            let now = Instant::now();
            // If the second request won, the first would have taken longer than this. Both times
            // exceed the delay, so the quantile that the delay follows is the same.
            self.latencies.record(&request.target, now, now.duration_since(started));
        }
        outcome
    }

    /// Returns the first outcome that ends the call; the other request is dropped.
    async fn race(&self, mut first: Sent<'_>, mut second: Sent<'_>) -> Outcome {
        let (is_first, outcome) = poll_fn(|cx| match first.run.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready((true, outcome)),
            Poll::Pending => second.run.as_mut().poll(cx).map(|outcome| (false, outcome)),
        })
        .await;
        let (ended, other) =
            if is_first { (&mut first, &mut second) } else { (&mut second, &mut first) };
        let error = match outcome {
            Err(error) if !is_final(&error) => {
                ended.failed(&error);
                let outcome = other.run.as_mut().await;
                self.count_winner(outcome.is_ok() && is_first);
                let Err(last) = outcome else { return outcome };
                other.failed(&last);
                last
            }
            outcome => {
                self.count_winner(!is_first);
                let Err(error) = outcome else { return outcome };
                ended.failed(&error);
                other.failed(&superseded());
                error
            }
        };
        first.records.append(&mut second.records);
        Err(error.with_attempts(first.records))
    }

    fn count_winner(&self, is_second: bool) {
        self.won.fetch_add(u64::from(is_second), Ordering::Relaxed);
    }
}

/// One of the two requests of a call.
struct Sent<'a> {
    began: Instant,
    run: BoxFuture<'a, Outcome>,
    /// Filled once the request has failed or is dropped; more than one if an inner layer made
    /// several attempts.
    records: Vec<AttemptRecord>,
}

impl<'a> Sent<'a> {
    fn new(began: Instant, run: BoxFuture<'a, Outcome>) -> Self {
        Self { began, run, records: Vec::new() }
    }

    fn failed(&mut self, error: &Error) {
        self.records = match error.attempts() {
            [] => vec![AttemptRecord::of(error, self.began.elapsed())],
            inner => inner.to_vec(),
        };
    }
}

/// Returns the outcome of a request that is dropped because the other ended the call. The request
/// may have run: the error of the call must not state that it did not.
fn superseded() -> Error {
    Error::failure(Code::Canceled, Delivery::Unknown, None, "the other request ended the call")
}

/// Returns whether an error ends the call, although the other request is still in flight.
fn is_final(error: &Error) -> bool {
    let is_transient = matches!(
        error.code(),
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded
    );
    !is_transient || error.retry() == RetryHint::Never
}
