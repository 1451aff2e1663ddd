//! Readiness of a server, and the readiness checks of the application.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::box_future::BoxFuture;
use crate::contained::contained;
use crate::context::Context;
use crate::error::Error;
use crate::rescope::rescope;

/// Timeout of one run of a check: half of the 2 s or more that most load balancers wait.
const RUN_TIMEOUT: Duration = Duration::from_secs(1);

/// Time for which the outcome of a run is reused: many load balancers that ask every second load
/// the application no more than one.
const REUSE: Duration = Duration::from_secs(1);

/// Maximum number of characters of a message that is shown.
const MESSAGE_CHARS_MAX: usize = 256;

/// Readiness of a server: whether load balancers should send requests.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Readiness {
    /// The server serves, and every readiness check passes.
    Ready,
    /// Readiness checks fail. Requests are served nevertheless.
    Unready(Vec<FailedCheck>),
    /// A shutdown was announced, or the drain has begun.
    Draining,
}

impl Readiness {
    /// Returns the JSON document that health checks show, with the member `status`: `serving`,
    /// `unready` or `draining`. For `unready`, `failed` is an object of the messages of the checks
    /// by their names.
    #[must_use]
    pub fn document(&self) -> Bytes {
        match self {
            Self::Ready => Bytes::from_static(br#"{"status":"serving"}"#),
            Self::Draining => Bytes::from_static(br#"{"status":"draining"}"#),
            Self::Unready(failed) => {
                let message = |check: &FailedCheck| Value::from(check.message.as_str());
                let failed: Map<_, _> =
                    failed.iter().map(|check| (check.name.clone(), message(check))).collect();
                json!({ "status": "unready", "failed": failed }).to_string().into()
            }
        }
    }
}

/// Readiness check that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedCheck {
    /// Name of the check.
    pub name: String,
    /// Reason of the failure, which load balancers and people may read.
    pub message: String,
}

type Outcome = Result<(), String>;
type Run = dyn Fn() -> BoxFuture<'static, Result<(), Error>> + Send + Sync;

/// Readiness check of the application. Clones share one: at most one run at a time, whose outcome
/// is reused for a second.
#[derive(Clone)]
pub(crate) struct ReadinessCheck(Arc<Shared>);

struct Shared {
    name: String,
    run: Box<Run>,
    state: Mutex<State>,
    /// Notified when a run has ended.
    ended: Notify,
}

#[derive(Clone)]
enum State {
    Unknown,
    Running,
    Known(Instant, Outcome),
}

impl ReadinessCheck {
    pub(crate) fn new(name: &str, run: Box<Run>) -> Self {
        let (name, state) = (name.to_owned(), Mutex::new(State::Unknown));
        Self(Arc::new(Shared { name, run, state, ended: Notify::new() }))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// Runs the check, waits for the run in progress, or reuses the last outcome.
    async fn outcome(&self) -> Outcome {
        loop {
            let mut ended = pin!(self.0.ended.notified());
            // Before the state is read: a run that ends in between is not missed.
            ended.as_mut().enable();
            match self.0.next(Instant::now()) {
                State::Known(_, outcome) => return outcome,
                State::Unknown => return Running(&self.0).run().await,
                State::Running => ended.await,
            }
        }
    }
}

impl Shared {
    /// Returns a recent outcome, or `Unknown` once for the caller that is to run the check.
    fn next(&self, now: Instant) -> State {
        let mut state = self.lock();
        match &*state {
            State::Known(at, _) if now.saturating_duration_since(*at) < REUSE => state.clone(),
            State::Running => State::Running,
            State::Known(..) | State::Unknown => {
                *state = State::Running;
                State::Unknown
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Values are only replaced under the lock, so a panic leaves a valid value.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Guard of a run. If it is dropped before the run ends, as when its caller disconnects, the next
/// caller runs the check.
struct Running<'a>(&'a Shared);

impl Running<'_> {
    async fn run(self) -> Outcome {
        let outcome = match contained(|| (self.0.run)()) {
            Ok(check) => run_within(check).await,
            Err(_) => panicked(),
        };
        *self.0.lock() = State::Known(Instant::now(), outcome.clone());
        outcome
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        {
            let mut state = self.0.lock();
            if matches!(&*state, State::Running) {
                *state = State::Unknown;
            }
        }
        self.0.ended.notify_waiters();
    }
}

async fn run_within(check: BoxFuture<'static, Result<(), Error>>) -> Outcome {
    let mut check = Some(check);
    let polled = poll_fn(|cx| {
        let Some(running) = &mut check else { return Poll::Pending };
        match contained(|| running.as_mut().poll(cx)) {
            Ok(polled) => polled.map(Ok),
            Err(panicked) => Poll::Ready(Err(panicked)),
        }
    });
    let outcome = Context::background().with_timeout(RUN_TIMEOUT).race(polled).await;
    // A destructor of the check may panic as well.
    let dropped = contained(|| drop(check.take()));
    match outcome {
        _ if dropped.is_err() => panicked(),
        Ok(Ok(Ok(()))) => Ok(()),
        // As for callers of a handler: the text of a downstream's error is not shown unless the
        // application exposes it.
        Ok(Ok(Err(error))) => {
            Err(rescope(error).message().chars().take(MESSAGE_CHARS_MAX).collect())
        }
        Ok(Err(_)) => panicked(),
        Err(_) => Err(format!("the check took longer than {RUN_TIMEOUT:?}")),
    }
}

fn panicked() -> Outcome {
    Err("the check failed unexpectedly".to_owned())
}

/// Runs all checks simultaneously, and returns those that fail in the order of the checks.
pub(crate) async fn failed(checks: &[ReadinessCheck]) -> Vec<FailedCheck> {
    let mut running: Vec<_> = checks.iter().map(|check| Box::pin(check.outcome())).collect();
    let mut outcomes: Vec<Option<Outcome>> = vec![None; checks.len()];
    poll_fn(|cx| {
        let mut is_done = true;
        for (check, outcome) in running.iter_mut().zip(&mut outcomes) {
            if outcome.is_none() {
                match Pin::new(check).poll(cx) {
                    Poll::Ready(ended) => *outcome = Some(ended),
                    Poll::Pending => is_done = false,
                }
            }
        }
        if is_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let outcomes = checks.iter().zip(outcomes);
    let failed = outcomes.filter_map(|(check, outcome)| {
        let message = outcome?.err()?;
        Some(FailedCheck { name: check.name().to_owned(), message })
    });
    failed.collect()
}

impl fmt::Debug for ReadinessCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadinessCheck({:?})", self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::sleep;

    use super::*;
    use crate::error::{Code, Delivery};

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn check<F>(run: impl Fn() -> F + Send + Sync + 'static) -> ReadinessCheck
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        ReadinessCheck::new("db", Box::new(move || Box::pin(run())))
    }

    /// A check that takes 100 ms, and the number of its runs.
    fn slow() -> (ReadinessCheck, Arc<AtomicUsize>) {
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let slow = check(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            async {
                sleep(ms(100)).await;
                Ok(())
            }
        });
        (slow, runs)
    }

    #[tokio::test(start_paused = true)]
    async fn simultaneous_callers_share_a_run_and_its_outcome_is_reused_for_a_second() {
        let (check, runs) = slow();
        let clone = check.clone();
        assert_eq!(tokio::join!(check.outcome(), clone.outcome(), check.outcome()).2, Ok(()));
        sleep(ms(990)).await;
        assert_eq!(check.outcome().await, Ok(()));
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        sleep(ms(20)).await;
        assert_eq!(clone.outcome().await, Ok(()));
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_caller_runs_the_check_when_a_caller_disconnects() {
        let (check, runs) = slow();
        let waits = tokio::spawn({
            let check = check.clone();
            async move { check.outcome().await }
        });
        // Dropped in the middle of its run, while another caller waits for it.
        let (first, ()) =
            tokio::join!(tokio::time::timeout(ms(50), check.outcome()), tokio::task::yield_now());
        assert!(first.is_err());
        assert_eq!(waits.await.unwrap(), Ok(()));
        assert_eq!(check.outcome().await, Ok(()));
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_panics_or_fails_is_named_and_others_are_not() {
        let downstream = || {
            let (code, text) = (Code::Unavailable, "10.0.0.7 refused the connection");
            Error::failure(code, Delivery::NotSent, None, text)
        };
        let checks = [
            ReadinessCheck::new("good", Box::new(|| Box::pin(async { Ok(()) }))),
            ReadinessCheck::new("hangs", Box::new(|| Box::pin(pending()))),
            ReadinessCheck::new("panics", Box::new(|| Box::pin(async { panic!("secret") }))),
            ReadinessCheck::new("panics early", Box::new(|| panic!("secret"))),
            ReadinessCheck::new(
                "own",
                Box::new(|| Box::pin(async { Err(Error::new(Code::Unavailable, "no replica")) })),
            ),
            ReadinessCheck::new(
                "downstream",
                Box::new(move || Box::pin(async move { Err(downstream()) })),
            ),
            ReadinessCheck::new(
                "exposed",
                Box::new(move || Box::pin(async move { Err(downstream().expose()) })),
            ),
        ];
        let begin = Instant::now();
        let failed = failed(&checks).await;
        assert_eq!(begin.elapsed().as_millis(), 1000, "all run simultaneously");
        let shown: Vec<_> = failed.iter().map(|c| (c.name.as_str(), c.message.as_str())).collect();
        assert_eq!(
            shown[..4],
            [
                ("hangs", "the check took longer than 1s"),
                ("panics", "the check failed unexpectedly"),
                ("panics early", "the check failed unexpectedly"),
                ("own", "no replica"),
            ]
        );
        assert!(!shown[4].1.contains("10.0.0.7"), "{shown:?}");
        assert_eq!(shown[5], ("exposed", "10.0.0.7 refused the connection"));
        let document = Readiness::Unready(failed).document();
        let document: Value = serde_json::from_slice(&document).unwrap();
        assert_eq!(document["status"], "unready");
        assert_eq!(document["failed"]["own"], "no replica");
    }
}
