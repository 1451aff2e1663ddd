//! Whether a failed attempt is tried again, and when: a pure function of what is known.

use std::time::Duration;

use rr_spi::{Code, Dedup, Delivery, Entropy, Error, Reason, RetryHint, RetryVerdict};
use tokio::time::Instant;

use super::backoff;
use super::config::RetryConfig;

/// How much later than asked tokio's timers fire: they count whole milliseconds.
const TIMER_STEP: Duration = Duration::from_millis(1);

/// What a decision rests on, beside the configuration and what the call has used up.
pub(super) struct Failure<'a> {
    pub(super) error: &'a Error,
    /// The time of the decision.
    pub(super) now: Instant,
    /// When the call ends.
    pub(super) deadline: Option<Instant>,
    /// How long an attempt takes as a rule; zero when that is not known.
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

/// Which timer has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// None; a `DeadlineExceeded` is then not of the attempt.
    None,
    /// That of the attempt, with time left for the call.
    Attempt,
    /// The call has ended, by its deadline or otherwise.
    Call,
}

/// What a call has used up.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// Most attempts.
    attempts_max: u32,
    /// Attempts that have been made, but for what was sent again at once.
    attempts: u32,
    /// How often the next pause is doubled.
    step: u32,
    /// How many attempts of the call have failed, those of layers further out included.
    failures: u32,
}

/// What the code and the delivery of an error allow (docs/src/retry-table.md#decision-table).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Permit {
    Any,
    OnlyRepeatable,
    OnlyAfter,
    Nothing,
}

impl Progress {
    /// Starts a call whose first attempt is under way. Where layers further out count retries
    /// already, it is the first one of this layer alone, and not of the call.
    pub(super) fn new(attempts_max: u32, retries_before: u32) -> Self {
        Self { attempts_max, attempts: 1, step: 0, failures: retries_before }
    }

    /// Returns how many attempts preceded the one under way.
    pub(super) fn retries(&self) -> u32 {
        self.attempts - 1
    }

    /// Decides what follows a failure. The budget has the last word, when this says to go on.
    pub(super) fn decide(
        &mut self,
        config: &RetryConfig,
        failure: &Failure<'_>,
        entropy: &dyn Entropy,
    ) -> RetryVerdict {
        let is_first = self.failures == 0;
        self.failures = self.failures.saturating_add(1);
        if let Some(verdict) = forbidden(config, failure) {
            return verdict;
        }
        let error = failure.error;
        let verdict = if is_first && may_be_sent_at_once(error) {
            RetryVerdict::Resend
        } else if self.attempts >= self.attempts_max {
            return RetryVerdict::AttemptsSpent;
        } else {
            RetryVerdict::Again(self.pause(config, error, entropy))
        };
        let pause = if let RetryVerdict::Again(pause) = verdict { pause } else { Duration::ZERO };
        if !fits(failure, pause) {
            return RetryVerdict::NoTimeLeft;
        }
        if let RetryVerdict::Again(_) = verdict {
            self.attempts += 1;
        }
        verdict
    }

    /// Draws the pause before the next attempt.
    fn pause(&mut self, config: &RetryConfig, error: &Error, entropy: &dyn Entropy) -> Duration {
        let base = match error.code() {
            Code::ResourceExhausted => config.backoff_base_throttled,
            _ => config.backoff_base,
        };
        let drawn = backoff::full_jitter(base, config.backoff_max, self.step, entropy);
        if let RetryHint::After(asked) = error.retry() {
            // The peer has taken over the pace, so that ours starts anew (gRFC A6).
            self.step = 0;
            return backoff::spread(asked, entropy).max(drawn);
        }
        self.step = self.step.saturating_add(1);
        drawn
    }
}

/// Says why a failure is not tried again whatever else is left.
fn forbidden(config: &RetryConfig, failure: &Failure<'_>) -> Option<RetryVerdict> {
    let error = failure.error;
    if failure.timer == Timer::Call {
        return Some(RetryVerdict::CallEnded);
    }
    if error.retry() == RetryHint::Never {
        return Some(RetryVerdict::Never);
    }
    // The same endpoint would say so again; whoever knows another one goes there by itself.
    let is_breaker_open = error.reason() == Some(&Reason::BREAKER_OPEN);
    // And a stored answer is the answer for as long as it is stored.
    if is_breaker_open || error.dedup() == Some(Dedup::Replayed) {
        return Some(RetryVerdict::Final);
    }
    match permit(config, error, failure.timer) {
        Permit::Any => None,
        Permit::OnlyRepeatable if failure.repeatable == Repeatable::Yes => None,
        Permit::OnlyRepeatable => Some(RetryVerdict::NotIdempotent),
        Permit::OnlyAfter if matches!(error.retry(), RetryHint::After(_)) => None,
        Permit::OnlyAfter | Permit::Nothing => Some(RetryVerdict::Final),
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

/// Tells whether a first failure is sent again without a pause: the handler provably did not run,
/// and nobody asked for less. What is exhausted did, by its code alone. Where a layer further in
/// has attempts to tell of, it has had its chance.
fn may_be_sent_at_once(error: &Error) -> bool {
    error.delivery().is_unexecuted()
        && error.attempts().is_empty()
        && error.retry() == RetryHint::Unset
        && error.code() != Code::ResourceExhausted
}

/// Tells whether another attempt would be done in time, if it takes as long as they do as a rule.
fn fits(failure: &Failure<'_>, pause: Duration) -> bool {
    let Some(deadline) = failure.deadline else { return true };
    let left = deadline.saturating_duration_since(failure.now);
    let paused = if pause.is_zero() { pause } else { pause.saturating_add(TIMER_STEP) };
    // At the very instant of the deadline there is no time left.
    left > paused && left - paused >= failure.typical
}

#[cfg(test)]
mod tests;
