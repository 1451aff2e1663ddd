//! Deadline, cancellation, delivery and time ledger of one attempt, for every transport's requester.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::context::{Cause, Context, Race};
use crate::dial::DialProgress;
use crate::error::{Delivery, Error, Reason};
use crate::inbound::Inbound;
use crate::progress::Progress;
use crate::response::Response;
use crate::spent::Spent;
use crate::timeline::{Ledger, Stage, Timeline};

/// Attempt of a call. Tracks its deadline, whether its bytes have left, and what it waits for.
///
/// # Examples
///
/// ```
/// # mod rr_core { pub use rr_spi::*; pub mod transport { pub use rr_spi::*; } }
/// use rr_core::{Context, Error, defaults};
/// use rr_core::transport::Attempt;
///
/// async fn send(ctx: &Context) -> Result<(), Error> {
///     let attempt = Attempt::start(ctx, defaults::CLIENT_TIMEOUT)?;
///     attempt
///         .run(async {
///             // Connect first; then, when the bytes are about to be handed over:
///             let _for_the_wire = attempt.timeout_millis();
///             attempt.sent();
///             Ok(())
///         })
///         .await
/// }
/// ```
pub struct Attempt {
    ctx: Context,
    ledger: Ledger,
}

/// What the server states about the request of a recorded attempt: a value of its context.
#[derive(Default)]
struct Stated(OnceLock<Box<Spent>>);

impl Attempt {
    /// Starts an attempt; `default` is its timeout if the context has none and is not unbounded.
    ///
    /// # Errors
    ///
    /// `DeadlineExceeded` or `Canceled`, not sent, when the context has ended.
    pub fn start(ctx: &Context, default: Duration) -> Result<Self, Error> {
        let now = Instant::now();
        if let Some(cause) = ctx.cause_at(now) {
            return Err(Error::call_ended(cause, Delivery::NotSent).into_failure());
        }
        let mut ctx = ctx.or_timeout_at(default, now);
        if ctx.wants_spent() {
            ctx = ctx.with_value(Stated::default());
        }
        Ok(Self { ctx, ledger: Ledger::new(now) })
    }

    /// Records what the attempt waits for from now on. It starts with [`Stage::Place`].
    ///
    /// Costs no reading of the clock.
    #[inline]
    pub fn stage(&self, stage: Stage) {
        self.ledger.enter(stage);
        if let Some(progress) = self.ctx.value::<Progress>() {
            progress.enter(stage);
        }
    }

    /// Returns where the time of the attempt went until it was last woken.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        let stated = self.ctx.value().and_then(|Stated(spent)| spent.get());
        self.ledger.timeline().with_server(stated.cloned())
    }

    /// Records what the server states in the header `rr-spent` of its reply. The header is read only
    /// if the server was asked; a malformed value is ignored.
    pub fn spent<'h>(&self, header: impl FnOnce() -> Option<&'h str>) {
        let Some(Stated(stated)) = self.ctx.value() else { return };
        if let Some(spent) = header().and_then(Spent::decode) {
            let _ = stated.set(Box::new(spent));
        }
    }

    /// Takes what the server states out of an outcome that a transport passes by value.
    ///
    /// # Errors
    ///
    /// That of the outcome.
    pub fn take_spent(&self, outcome: Result<Response, Error>) -> Result<Response, Error> {
        if !self.ctx.wants_spent() {
            return outcome;
        }
        match outcome {
            Ok(mut response) => {
                let spent = response.headers.take_spent();
                self.spent(|| spent.as_deref());
                Ok(response)
            }
            Err(error) => {
                let mut headers = error.headers().clone();
                let spent = headers.take_spent();
                self.spent(|| spent.as_deref());
                Err(error.with_headers(headers).with_timeline(self.timeline()))
            }
        }
    }

    /// Records that the request has not left completely: what seemed a wait for the reply was a wait
    /// to send. The delivery stays `Unknown`, since a part of the request may have left.
    ///
    /// For transports that learn this when the attempt ends; see [`Attempt::run`].
    pub fn still_sending(&self) {
        self.ledger.correct(Stage::AwaitingReply, Stage::Sending);
    }

    /// Splits the wait for a connection by the stages of a dial that is under way and for which the
    /// attempt waited until now.
    ///
    /// For transports that learn this when the attempt ends; see [`Attempt::run`].
    pub fn still_dialing(&self, dial: &DialProgress) {
        self.ledger.split(&dial.timeline());
    }

    /// Splits the wait for a connection by the stages of a dial that has failed, and returns its
    /// error with the times of the attempt; see [`DialProgress::failed`].
    #[must_use]
    pub fn dial_failed(&self, error: Error) -> Error {
        if let Some(dial) = error.timeline() {
            self.ledger.split(dial);
        }
        error.with_timeline(self.timeline())
    }

    /// Fails if the context has ended.
    ///
    /// For transports that wait for the reply outside of [`Attempt::run`], so that a reply after
    /// the deadline is discarded.
    ///
    /// # Errors
    ///
    /// `DeadlineExceeded` or `Canceled` when the context has ended, not sent or unknown according
    /// to [`Attempt::sent`].
    pub fn check(&self) -> Result<(), Error> {
        match self.ctx.cause() {
            None => Ok(()),
            Some(cause) => Err(self.ended(cause).into_failure()),
        }
    }

    /// Makes the error of an attempt whose context has ended. An expiry has the stage as reason.
    fn ended(&self, cause: Cause) -> Error {
        self.ledger.tick();
        let timeline = self.timeline();
        let error = Error::call_ended(cause, self.delivery());
        let error = match cause {
            Cause::DeadlineExceeded => error.with_reason(Reason::expired_in(timeline.last())),
            _ => error,
        };
        error.with_timeline(timeline)
    }

    /// Returns the context of the attempt, including its deadline.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.ctx
    }

    /// Returns the remaining time for the wire in milliseconds, rounded up and at least 1.
    ///
    /// `None` when the call is unbounded or the number would have more than 10 digits.
    #[must_use]
    pub fn timeout_millis(&self) -> Option<u64> {
        self.ctx.deadline()?.wire_millis()
    }

    /// Returns the head of the call's request, for transports that pass requests by value.
    ///
    /// The remaining time is rounded as by [`Attempt::timeout_millis`].
    #[must_use]
    pub fn inbound(&self) -> Inbound<'_> {
        Inbound::of(&self.ctx, Instant::now())
    }

    /// Records that the request's bytes are about to be handed over, and that the attempt waits for
    /// the reply.
    ///
    /// From then on, expiry and cancellation report `Unknown` instead of `NotSent`.
    pub fn sent(&self) {
        self.ledger.sent.store(true, Ordering::Relaxed);
        self.stage(Stage::AwaitingReply);
    }

    /// Records that the bytes provably were not written, and that the attempt waits for another
    /// connection: expiry reports `NotSent` again.
    pub fn unsent(&self) {
        self.ledger.sent.store(false, Ordering::Relaxed);
        self.stage(Stage::Connection);
    }

    /// Returns the current delivery: `NotSent` until [`Attempt::sent`], `Unknown` afterwards.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        if self.ledger.sent.load(Ordering::Relaxed) { Delivery::Unknown } else { Delivery::NotSent }
    }

    /// Runs the transport's future until it completes or the context of the call ends.
    ///
    /// When the context ends, the future is dropped before the error is made: its destructors can
    /// still correct the stage.
    ///
    /// Marks its error as the outcome of a call; see [`Error::into_failure`].
    ///
    /// # Errors
    ///
    /// Those of `future`; `DeadlineExceeded` or `Canceled` when the context ended first, not sent
    /// or unknown according to [`Attempt::sent`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the returned future drops `future`.
    pub fn run<T, F>(&self, future: F) -> Run<'_, F>
    where
        F: Future<Output = Result<T, Error>>,
    {
        Run { race: Some(self.ctx.race(future)), attempt: self, is_woken: false }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(recording) = self.ctx.recording() {
            self.ledger.tick();
            recording.add(&self.timeline());
        }
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("ctx", &self.ctx)
            .field("delivery", &self.delivery())
            .finish()
    }
}

pin_project! {
    /// Future of [`Attempt::run`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct Run<'a, F> {
        #[pin]
        race: Option<Race<'a, F>>,
        attempt: &'a Attempt,
        is_woken: bool,
    }
}

impl<T, F: Future<Output = Result<T, Error>>> Future for Run<'_, F> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(race) = this.race.as_mut().as_pin_mut() else { return Poll::Pending };
        // The time until now was spent in the stage in which the attempt waited.
        if std::mem::replace(this.is_woken, true) {
            this.attempt.ledger.tick();
        }
        let outcome = match ready!(race.poll(cx)) {
            Ok(outcome) => outcome.map_err(|error| match error.timeline() {
                Some(_) => error,
                None => error.with_timeline(this.attempt.timeline()),
            }),
            Err(cause) => {
                this.race.set(None);
                Err(this.attempt.ended(cause))
            }
        };
        Poll::Ready(outcome.map_err(Error::into_failure))
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::error::{Code, Reason};

    #[tokio::test(start_paused = true)]
    async fn expiry_is_not_sent_before_the_bytes_leave_and_unknown_after() {
        let ctx = Context::background().with_timeout(Duration::from_millis(20));
        let attempt = Attempt::start(&ctx, Duration::MAX).unwrap();
        let error = attempt.run(pending::<Result<(), Error>>()).await.unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::DeadlineExceeded, Delivery::NotSent));

        let ctx = Context::background();
        let attempt = Attempt::start(&ctx, Duration::from_millis(20)).unwrap();
        assert_eq!(attempt.timeout_millis(), Some(20));
        attempt.sent();
        let error = attempt.run(pending::<Result<(), Error>>()).await.unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::DeadlineExceeded, Delivery::Unknown));
        let error = Attempt::start(attempt.context(), Duration::MAX).unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::DeadlineExceeded, Delivery::NotSent));
    }

    /// Corrects the stage of its attempt when it is dropped.
    struct Unsent<'a>(&'a Attempt);

    impl Drop for Unsent<'_> {
        fn drop(&mut self) {
            self.0.still_sending();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_destructor_of_the_future_corrects_the_stage_of_an_expiry() {
        let attempt = Attempt::start(&Context::background(), Duration::from_millis(20)).unwrap();
        attempt.sent();
        let unsent = Unsent(&attempt);
        let sending = async move {
            let _unsent = unsent;
            pending::<Result<(), Error>>().await
        };
        let error = attempt.run(sending).await.unwrap_err();
        let timeline = error.timeline().unwrap();
        assert_eq!(
            (error.reason(), error.delivery()),
            (Some(&Reason::EXPIRED_SENDING), Delivery::Unknown)
        );
        assert_eq!(
            (timeline.last(), timeline.spent(Stage::Sending)),
            (Stage::Sending, Duration::from_millis(20))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_context_starts_nothing() {
        let (ctx, handle) = Context::background().child();
        handle.cancel();
        let error = Attempt::start(&ctx, Duration::MAX).unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::Canceled, Delivery::NotSent));
    }
}
