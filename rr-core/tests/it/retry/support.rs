//! A requester that follows a script, and what it saw.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_core::retry::{Retry, RetryBudget, RetryBudgetConfig, RetryConfig, RetryDecision};
use rr_core::transport::{Attempt, Dedup, Entropy};
use rr_core::{
    Code, Context, Delivery, Error, Idempotency, Reason, Request, Requester, Response, Stack,
    async_trait,
    context::{CancelHandle, Deadline},
    defaults,
    retry::RetryHint,
};
use tokio::time::{Instant, sleep};

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What becomes of an attempt.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Answer(Duration),
    /// An answer that says that duplicates are suppressed.
    Announce,
    Fail(Duration, Error),
    Hang,
}

/// An attempt as the destination saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Since the script was made.
    pub(crate) at: Duration,
    pub(crate) retries: u32,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) request: Request,
}

/// A requester that follows a script; after its end, the last step goes on for ever.
pub(crate) struct Script {
    steps: Mutex<VecDeque<Step>>,
    seen: Mutex<Vec<Seen>>,
    start: Instant,
    cancels: Mutex<Option<CancelHandle>>,
}

impl Script {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Arc<Self> {
        Arc::new(Self {
            steps: Mutex::new(steps.into_iter().collect()),
            seen: Mutex::default(),
            start: Instant::now(),
            cancels: Mutex::default(),
        })
    }

    /// Fails the attempts so, one after the other, and answers those that follow.
    pub(crate) fn failing(errors: impl IntoIterator<Item = Error>) -> Arc<Self> {
        let errors = errors.into_iter().map(|error| Step::Fail(Duration::ZERO, error));
        Self::new(errors.chain([Step::Answer(Duration::ZERO)]))
    }

    /// Fails every attempt so.
    pub(crate) fn broken(error: Error) -> Arc<Self> {
        Self::new([Step::Fail(Duration::ZERO, error)])
    }

    /// Cancels the call as soon as an attempt has failed.
    pub(crate) fn cancel_on_failure(&self, handle: CancelHandle) {
        *self.cancels.lock().unwrap() = Some(handle);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many attempts preceded each attempt, as the destination was told.
    pub(crate) fn retries(&self) -> Vec<u32> {
        self.seen().iter().map(|seen| seen.retries).collect()
    }

    /// The time before each attempt but the first, from the start of the one before it.
    pub(crate) fn gaps(&self) -> Vec<Duration> {
        self.seen().windows(2).map(|pair| pair[1].at - pair[0].at).collect()
    }

    fn next(&self) -> Step {
        let mut steps = self.steps.lock().unwrap();
        let step = steps.pop_front().expect("a script has a step");
        if steps.is_empty() {
            steps.push_back(step.clone());
        }
        step
    }
}

#[async_trait]
impl Requester for Script {
    async fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        let attempt = Attempt::start(ctx, defaults::CLIENT_TIMEOUT)?;
        self.seen.lock().unwrap().push(Seen {
            at: self.start.elapsed(),
            retries: ctx.retries(),
            deadline: attempt.context().deadline(),
            request,
        });
        attempt.sent();
        let step = self.next();
        let outcome = attempt
            .run(async {
                match step {
                    Step::Answer(after) => {
                        pause(after).await;
                        Ok(Response::new("done"))
                    }
                    Step::Announce => Ok(Response::new("done").with_dedup(Dedup::On)),
                    Step::Fail(after, error) => {
                        pause(after).await;
                        Err(error)
                    }
                    Step::Hang => pending().await,
                }
            })
            .await;
        if let (Err(_), Some(handle)) = (&outcome, self.cancels.lock().unwrap().take()) {
            handle.cancel();
        }
        outcome
    }
}

async fn pause(duration: Duration) {
    if !duration.is_zero() {
        sleep(duration).await;
    }
}

/// Chance that always falls in the middle: pauses are half of the longest they may be.
pub(crate) struct Half;

impl Entropy for Half {
    fn next_u64(&self) -> u64 {
        1 << 63
    }
}

/// Chance that always gives the shortest pause.
pub(crate) struct Least;

impl Entropy for Least {
    fn next_u64(&self) -> u64 {
        0
    }
}

pub(crate) fn retry(config: RetryConfig) -> Retry {
    Retry::with_config(config).with_entropy(Half)
}

/// The script behind a retry layer with the default configuration and middling chance.
pub(crate) fn client(script: &Arc<Script>) -> Stack<Arc<Script>> {
    client_with(script, RetryConfig::default())
}

pub(crate) fn client_with(script: &Arc<Script>, config: RetryConfig) -> Stack<Arc<Script>> {
    Stack::new(Arc::clone(script)).with(retry(config))
}

pub(crate) fn within(millis: u64) -> Context {
    Context::background().with_timeout(ms(millis))
}

pub(crate) fn plain() -> Request {
    Request::new("orders.place".try_into().unwrap(), "body")
}

pub(crate) fn idempotent() -> Request {
    plain().with_idempotency(Idempotency::Idempotent)
}

pub(crate) fn unavailable(delivery: Delivery) -> Error {
    Error::failure(Code::Unavailable, delivery, None, "away")
}

pub(crate) fn refused() -> Error {
    Error::failure(Code::Unavailable, Delivery::Rejected, Reason::DRAINING, "going")
}

pub(crate) fn lost() -> Error {
    Error::failure(Code::Unavailable, Delivery::Unknown, Reason::CONNECTION_LOST, "cut")
}

pub(crate) fn exhausted() -> Error {
    Error::failure(Code::ResourceExhausted, Delivery::Rejected, Reason::OVERLOADED, "full")
}

pub(crate) fn after(error: Error, millis: u64) -> Error {
    error.with_retry(RetryHint::After(ms(millis)))
}

/// What was decided after each attempt.
pub(crate) fn decisions(error: &Error) -> Vec<RetryDecision> {
    error.attempts().iter().filter_map(|attempt| attempt.decision).collect()
}

/// A budget from which nothing can be taken.
pub(crate) fn empty_budget() -> RetryBudget {
    RetryBudget::with_config(&no_budget())
}

pub(crate) fn no_budget() -> RetryBudgetConfig {
    RetryBudgetConfig::default().with_percent(0).with_floor_per_second(0)
}
