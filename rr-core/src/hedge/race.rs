//! A call and its second request, in one future.

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use rr_spi::observe::Event;
use rr_spi::{
    AttemptRecord, BoxFuture, Code, Context, Delivery, Error, Next, Request, Response, RetryHint,
    Target,
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
            Err(_) if self.may_send(ctx, &request.target, delay) => {
                let first = Sent::new(started, first);
                let second = Sent::new(Instant::now(), next.run(ctx, request.clone()));
                // Boxed: second requests are rare, and inline this would enlarge every call.
                let (winner, outcome) = Box::pin(race(first, second)).await;
                if winner == Some(Winner::Second) {
                    self.won.fetch_add(1, Ordering::Relaxed);
                    self.observers.event(&Event::hedge_won(ctx, &request.target));
                }
                outcome
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

    /// Returns whether the budgets allow a second request; counts and reports it.
    fn may_send(&self, ctx: &Context, target: &Target, after: Duration) -> bool {
        let is_granted = self.withdraw(Instant::now());
        let (counter, event) = match is_granted {
            true => (&self.sent, Event::hedged(ctx, target, after)),
            false => (&self.refused, Event::hedge_refused(ctx, target)),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.observers.event(&event);
        is_granted
    }
}

/// The request whose outcome is that of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Winner {
    First,
    Second,
}

/// Returns the first outcome that ends the call, and the request that won; the other one is dropped.
/// None has won if both have failed and the call could be tried again.
async fn race(mut first: Sent<'_>, mut second: Sent<'_>) -> (Option<Winner>, Outcome) {
    let (is_first, outcome) = poll_fn(|cx| match first.run.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready((true, outcome)),
        Poll::Pending => second.run.as_mut().poll(cx).map(|outcome| (false, outcome)),
    })
    .await;
    let (ended, other) =
        if is_first { (&mut first, &mut second) } else { (&mut second, &mut first) };
    let (by_ended, by_other) = match is_first {
        true => (Winner::First, Winner::Second),
        false => (Winner::Second, Winner::First),
    };
    let (winner, error) = match outcome {
        Err(error) if !is_final(&error) => {
            ended.failed(&error);
            let last = match other.run.as_mut().await {
                Err(last) => last,
                response => return (Some(by_other), response),
            };
            other.failed(&last);
            (None, last)
        }
        Err(error) => {
            ended.failed(&error);
            other.failed(&superseded());
            (Some(by_ended), error)
        }
        response => return (Some(by_ended), response),
    };
    first.records.append(&mut second.records);
    (winner, Err(error.with_attempts(first.records)))
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
