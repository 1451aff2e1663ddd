//! Records of the attempts of a failed call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Code, Delivery, Error, Reason};
use crate::timeline::Timeline;

/// Decision of a retry layer after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryDecision {
    /// Sent again immediately as the same attempt, since the handler provably did not run.
    Resend,
    /// Sent again immediately to another endpoint, since the handler provably did not run.
    Moved,
    /// Tried again after this delay.
    Again(Duration),
    /// Given up: errors of this kind are not retried.
    Final,
    /// Given up: according to the error, a retry is useless or harmful.
    Never,
    /// Given up: the handler may have run, and the request must not run twice.
    NotIdempotent,
    /// Given up: no more attempts are allowed.
    AttemptsSpent,
    /// Given up: the budget for retries is spent.
    BudgetSpent,
    /// Given up: another attempt would not finish within the deadline.
    NoTimeLeft,
    /// Given up: the call ended, by its deadline or a cancellation.
    CallEnded,
}

impl RetryDecision {
    /// Returns whether the request was sent again.
    #[must_use]
    pub const fn is_retry(self) -> bool {
        matches!(self, Self::Resend | Self::Moved | Self::Again(_))
    }
}

impl fmt::Display for RetryDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resend => "sent again immediately",
            Self::Moved => "sent immediately to another endpoint",
            Self::Again(delay) => return write!(f, "tried again after {delay:.1?}"),
            Self::Final => "given up: such an error is final",
            Self::Never => "given up: the error says never",
            Self::NotIdempotent => {
                "given up: the handler may have run, and the request is not known to be idempotent"
            }
            Self::AttemptsSpent => "given up: that was the last attempt allowed",
            Self::BudgetSpent => "given up: the retry budget is spent",
            Self::NoTimeLeft => "given up: too little time was left for another attempt",
            Self::CallEnded => "given up: the call ended",
        })
    }
}

/// Record of one attempt of a failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptRecord {
    /// The code that the attempt ended with.
    pub code: Code,
    /// Whether the handler may have run in this attempt.
    pub delivery: Delivery,
    /// The reason token, if there was one.
    pub reason: Option<Reason>,
    /// The duration of the attempt.
    pub elapsed: Duration,
    /// The decision after the attempt; `None` without a retry layer.
    pub decision: Option<RetryDecision>,
    /// The name of the endpoint, if a balance selected it.
    pub endpoint: Option<Arc<str>>,
    /// Where the time of the attempt went, if its transport records it.
    pub timeline: Option<Timeline>,
}

impl AttemptRecord {
    /// Makes the record of a failed attempt.
    #[must_use]
    pub fn of(error: &Error, elapsed: Duration) -> Self {
        Self {
            code: error.code(),
            delivery: error.delivery(),
            reason: error.reason().cloned(),
            elapsed,
            decision: None,
            endpoint: None,
            timeline: error.timeline().cloned(),
        }
    }

    /// Sets the decision after the attempt.
    #[must_use]
    pub fn with_decision(mut self, decision: RetryDecision) -> Self {
        self.decision = Some(decision);
        self
    }

    /// Sets the name of the endpoint.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: Arc<str>) -> Self {
        self.endpoint = Some(endpoint);
        self
    }
}

impl fmt::Display for AttemptRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(reason) = &self.reason {
            write!(f, "/{reason}")?;
        }
        write!(f, " ({})", self.delivery.as_str())?;
        if let Some(endpoint) = &self.endpoint {
            write!(f, " at {endpoint}")?;
        }
        write!(f, " in {:.1?}", self.elapsed)?;
        match self.decision {
            Some(decision) => write!(f, "; {decision}"),
            None => Ok(()),
        }
    }
}

impl Error {
    /// Replaces the records of the attempts, oldest first.
    ///
    /// Raises the delivery to the worst of all attempts: an attempt that may have run is not undone
    /// by another that did not.
    #[must_use]
    pub fn with_attempts(mut self, attempts: Vec<AttemptRecord>) -> Self {
        let worst = attempts.iter().map(|attempt| attempt.delivery).max();
        self.0.attempts = attempts;
        self.raised_to(worst.unwrap_or(Delivery::NotSent))
    }

    /// Returns the error in readable form, with a line for each attempt.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod rr_core { pub use rr_spi::*; pub mod retry { pub use rr_spi::*; } }
    /// use std::time::Duration;
    /// use rr_core::{Code, Delivery, Error, Reason};
    /// use rr_core::retry::{AttemptRecord, RetryDecision};
    ///
    /// let reason = Reason::OVERLOADED;
    /// let error = Error::failure(Code::ResourceExhausted, Delivery::Rejected, reason, "full");
    /// let first = AttemptRecord::of(&error, Duration::from_millis(2))
    ///     .with_decision(RetryDecision::Again(Duration::from_millis(640)));
    /// let second = AttemptRecord::of(&error, Duration::from_millis(3))
    ///     .with_decision(RetryDecision::BudgetSpent);
    /// assert_eq!(
    ///     error.with_attempts(vec![first, second]).report().to_string(),
    ///     "resource_exhausted/overloaded (rejected): full\n  \
    ///      attempt 1: resource_exhausted/overloaded (rejected) in 2.0ms; tried again after 640.0ms\n  \
    ///      attempt 2: resource_exhausted/overloaded (rejected) in 3.0ms; given up: the retry budget is spent",
    /// );
    /// ```
    #[must_use]
    pub fn report(&self) -> impl fmt::Display {
        Report(self)
    }
}

/// An error with its attempts; see [`Error::report`].
struct Report<'a>(&'a Error);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let (mut number, mut again) = (1, "");
        for attempt in self.0.attempts() {
            write!(f, "\n  attempt {number}{again}: {attempt}")?;
            // An immediate resend belongs to the same attempt, at the same endpoint or another.
            let same = [RetryDecision::Resend, RetryDecision::Moved].map(Some);
            again = if same.contains(&attempt.decision) { " again" } else { "" };
            number += u32::from(again.is_empty());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(delivery: Delivery) -> Error {
        Error::failure(Code::Unavailable, delivery, None, "away")
    }

    #[test]
    fn one_attempt_that_may_have_run_is_not_undone_by_a_later_one_that_did_not() {
        let first = AttemptRecord::of(&failed(Delivery::Unknown), Duration::ZERO);
        let error = failed(Delivery::NotSent).with_attempts(vec![first]);
        assert_eq!(error.delivery(), Delivery::Unknown);
        let first = AttemptRecord::of(&failed(Delivery::Rejected), Duration::ZERO);
        let error = failed(Delivery::Processed).with_attempts(vec![first]);
        assert_eq!(error.delivery(), Delivery::Processed);
        assert_eq!(failed(Delivery::NotSent).with_attempts(vec![]).delivery(), Delivery::NotSent);
    }

    #[test]
    fn an_immediate_resend_keeps_its_attempt_number() {
        let record = |decision| {
            AttemptRecord::of(&failed(Delivery::NotSent), Duration::from_micros(1500))
                .with_decision(decision)
        };
        let attempts = vec![
            record(RetryDecision::Resend),
            record(RetryDecision::Again(Duration::from_millis(20))),
            record(RetryDecision::AttemptsSpent),
        ];
        let report = failed(Delivery::NotSent).with_attempts(attempts).report().to_string();
        let numbers: Vec<_> =
            report.lines().skip(1).filter_map(|line| line.split_once(':')).map(|l| l.0).collect();
        assert_eq!(numbers, ["  attempt 1", "  attempt 1 again", "  attempt 2"], "{report}");
        assert!(report.contains("unavailable (not_sent) in 1.5ms; sent again immediately"));
    }

    #[test]
    fn a_move_to_another_endpoint_names_both() {
        let record = |endpoint: &str, decision| {
            AttemptRecord::of(&failed(Delivery::NotSent), Duration::from_millis(2))
                .with_endpoint(endpoint.into())
                .with_decision(decision)
        };
        let attempts =
            vec![record("a:1", RetryDecision::Moved), record("b:2", RetryDecision::AttemptsSpent)];
        let report = failed(Delivery::NotSent).with_attempts(attempts).report().to_string();
        let lines: Vec<_> = report.lines().skip(1).map(str::trim).collect();
        let moved = "attempt 1: unavailable (not_sent) at a:1 in 2.0ms; sent immediately to another endpoint";
        assert_eq!(lines[0], moved);
        assert!(lines[1].starts_with("attempt 1 again: unavailable (not_sent) at b:2"), "{report}");
    }
}
