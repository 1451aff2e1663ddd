//! Decides whether and when a failed attempt is retried: a pure function of its inputs.

use std::time::Duration;

use rr_spi::{Code, Dedup, Delivery, Entropy, Error, Reason, RetryDecision, RetryHint};
use tokio::time::Instant;

use super::backoff;
use super::config::RetryConfig;

/// Most that tokio's timers fire late: their resolution is one millisecond.
const TIMER_STEP: Duration = Duration::from_millis(1);

/// Inputs of a decision, besides the configuration and the [`Progress`] of the call.
pub(super) struct Failure<'a> {
    pub(super) error: &'a Error,
    /// The time of the decision.
    pub(super) now: Instant,
    /// The deadline of the call.
    pub(super) deadline: Option<Instant>,
    /// Typical duration of an attempt; zero when unknown.
    pub(super) typical: Duration,
    pub(super) repeatable: Repeatable,
    pub(super) timer: Timer,
}

/// Whether the request may run twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeatable {
    Yes,
    No,
}

/// The timer that has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// No timer. A `DeadlineExceeded` then does not come from the attempt's timeout.
    None,
    /// The attempt's timer, with time left for the call.
    Attempt,
    /// The call has ended, by its deadline or otherwise.
    Call,
}

/// Attempts and backoff steps that a call has used.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// Maximum number of attempts.
    attempts_max: u32,
    /// Attempts made, except the immediate resend.
    attempts: u32,
    /// Number of doublings of the next pause.
    step: u32,
    /// Failed attempts of the call, including those that outer layers counted.
    failures: u32,
}

/// Retries that the code and the delivery of an error allow
/// (docs/src/retry-table.md#decision-table).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Permit {
    Any,
    OnlyRepeatable,
    OnlyAfter,
    Nothing,
}

impl Progress {
    /// Starts a call whose first attempt is in progress. If `retries_before`, the retry count of
    /// outer layers, is not 0, this attempt is the first of this layer but not of the call.
    pub(super) fn new(attempts_max: u32, retries_before: u32) -> Self {
        Self { attempts_max, attempts: 1, step: 0, failures: retries_before }
    }

    /// Returns how many attempts preceded the current one.
    pub(super) fn retries(&self) -> u32 {
        self.attempts - 1
    }

    /// Decides what follows a failure. A retry also needs a withdrawal from the budget, which the
    /// caller makes.
    pub(super) fn decide(
        &mut self,
        config: &RetryConfig,
        failure: &Failure<'_>,
        entropy: &dyn Entropy,
    ) -> RetryDecision {
        let is_first = self.failures == 0;
        self.failures = self.failures.saturating_add(1);
        if let Some(decision) = forbidden(config, failure) {
            return decision;
        }
        let error = failure.error;
        let decision = if is_first && may_be_resent(error) {
            RetryDecision::Resend
        } else if self.attempts >= self.attempts_max {
            return RetryDecision::AttemptsSpent;
        } else {
            RetryDecision::Again(self.pause(config, error, entropy))
        };
        let pause = if let RetryDecision::Again(pause) = decision { pause } else { Duration::ZERO };
        if !has_time_after(pause, failure) {
            return RetryDecision::NoTimeLeft;
        }
        if let RetryDecision::Again(_) = decision {
            self.attempts += 1;
        }
        decision
    }

    /// Draws the pause before the next attempt.
    fn pause(&mut self, config: &RetryConfig, error: &Error, entropy: &dyn Entropy) -> Duration {
        let base = match error.code() {
            Code::ResourceExhausted => config.backoff_base_throttled,
            _ => config.backoff_base,
        };
        let drawn = backoff::full_jitter(base, config.backoff_max, self.step, entropy);
        if let RetryHint::After(asked) = error.retry() {
            // The peer has set the pace, so the backoff starts again (gRFC A6).
            self.step = 0;
            return backoff::spread(asked, entropy).max(drawn);
        }
        self.step = self.step.saturating_add(1);
        drawn
    }
}

/// Returns the decision on a failure that is not retried, whatever attempts and time are left.
fn forbidden(config: &RetryConfig, failure: &Failure<'_>) -> Option<RetryDecision> {
    let error = failure.error;
    if failure.timer == Timer::Call {
        return Some(RetryDecision::CallEnded);
    }
    if error.retry() == RetryHint::Never {
        return Some(RetryDecision::Never);
    }
    // The same endpoint would fail again; a layer that knows another endpoint selects it itself.
    let is_breaker_open = error.reason() == Some(&Reason::BREAKER_OPEN);
    // A replayed answer stays the same while it is stored.
    if is_breaker_open || error.dedup() == Some(Dedup::Replayed) {
        return Some(RetryDecision::Final);
    }
    match permit(config, error, failure.timer) {
        Permit::Any => None,
        Permit::OnlyRepeatable if failure.repeatable == Repeatable::Yes => None,
        Permit::OnlyRepeatable => Some(RetryDecision::NotIdempotent),
        Permit::OnlyAfter if matches!(error.retry(), RetryHint::After(_)) => None,
        Permit::OnlyAfter | Permit::Nothing => Some(RetryDecision::Final),
    }
}

/// The decision table (docs/src/retry-table.md#decision-table), cell by cell.
fn permit(config: &RetryConfig, error: &Error, timer: Timer) -> Permit {
    use Delivery::{NotSent, Processed, Rejected, Unknown};
    match (error.code(), error.delivery()) {
        (Code::Unavailable | Code::ResourceExhausted, NotSent | Rejected) => Permit::Any,
        (Code::Unavailable, Unknown | Processed) => Permit::OnlyRepeatable,
        (Code::ResourceExhausted, Unknown) => Permit::OnlyRepeatable,
        (Code::ResourceExhausted, Processed) => Permit::OnlyAfter,
        (Code::DeadlineExceeded, delivery) if timer == Timer::Attempt => match delivery {
            NotSent | Rejected => Permit::Any,
            Unknown | Processed => Permit::OnlyRepeatable,
            _ => Permit::Nothing,
        },
        (Code::Internal | Code::Unknown | Code::DataLoss, Unknown) if config.retries_internal => {
            Permit::OnlyRepeatable
        }
        _ => Permit::Nothing,
    }
}

/// Returns whether a first failure is sent again without a pause: the handler provably did not run
/// and the peer gave no hint. `ResourceExhausted` implies a pause by its code alone. If the error
/// has records of attempts, an inner layer has already retried.
fn may_be_resent(error: &Error) -> bool {
    error.delivery().is_unexecuted()
        && error.attempts().is_empty()
        && error.retry() == RetryHint::Unset
        && error.code() != Code::ResourceExhausted
}

/// Returns whether an attempt of typical duration after the pause would end before the deadline.
fn has_time_after(pause: Duration, failure: &Failure<'_>) -> bool {
    let Some(deadline) = failure.deadline else { return true };
    let left = deadline.saturating_duration_since(failure.now);
    let paused = if pause.is_zero() { pause } else { pause.saturating_add(TIMER_STEP) };
    // No time is left at the instant of the deadline itself.
    left > paused && left - paused >= failure.typical
}

#[cfg(test)]
mod tests;
