//! Account of a failed call: where its time went, in a sentence.

use std::fmt;
use std::time::Duration;

use super::{AttemptRecord, Error, RetryDecision};
use crate::timeline::{Stage, Timeline};

impl Error {
    /// Returns where the time of the last attempt went; `None` for an error that no attempt of this
    /// process ended with.
    ///
    /// The earlier attempts of a call that was retried are in [`Error::attempts`].
    #[must_use]
    pub fn timeline(&self) -> Option<&Timeline> {
        self.0.timeline.as_ref()
    }

    /// Sets where the time of the attempt went. For transports.
    #[must_use]
    pub fn with_timeline(mut self, timeline: Timeline) -> Self {
        self.0.timeline = Some(timeline);
        self
    }

    /// Changes where the time of the attempt went, if the error states it. For transports.
    #[must_use]
    pub fn map_timeline(mut self, change: impl FnOnce(Timeline) -> Timeline) -> Self {
        self.0.timeline = self.0.timeline.take().map(change);
        self
    }

    /// Returns where the time of the call went, in a sentence: over all attempts, with the pauses
    /// between them, the longest part first.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod rr_core { pub use rr_spi::*; pub mod transport { pub use rr_spi::*; } }
    /// # use std::future::pending;
    /// # use std::time::Duration;
    /// # use rr_core::{Context, Error};
    /// # use rr_core::transport::Attempt;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # let ctx = Context::background();
    /// # let attempt = Attempt::start(&ctx, Duration::from_millis(20)).unwrap();
    /// # attempt.sent();
    /// # let error = attempt.run(pending::<Result<(), Error>>()).await.unwrap_err();
    /// let account = error.account().to_string();
    /// assert!(account.ends_with("waiting for the reply"), "{account}");
    /// # }
    /// ```
    #[must_use]
    pub fn account(&self) -> impl fmt::Display {
        Account(self)
    }
}

struct Account<'a>(&'a Error);

impl fmt::Display for Account<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = self.0;
        let mut parts = Parts::default();
        match error.attempts() {
            [] => parts.add_timelines(error.timeline()),
            attempts => attempts.iter().for_each(|attempt| parts.add_attempt(attempt)),
        }
        parts.write(error.timeline(), f)
    }
}

/// Returns where the time of several attempts went, in a sentence.
pub(crate) fn account_of(timelines: &[Timeline]) -> impl fmt::Display + use<> {
    let mut parts = Parts::default();
    parts.add_timelines(timelines);
    let slowest = timelines.iter().max_by_key(|timeline| timeline.total());
    OfTimelines { parts, slowest: slowest.cloned() }
}

struct OfTimelines {
    parts: Parts,
    slowest: Option<Timeline>,
}

impl fmt::Display for OfTimelines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.clone().write(self.slowest.as_ref(), f)
    }
}

/// Parts of a call's time, each with what the call did.
#[derive(Clone, Default)]
struct Parts(Vec<(&'static str, Duration)>);

impl Parts {
    fn add(&mut self, what: &'static str, time: Duration) {
        match self.0.iter_mut().find(|part| part.0 == what) {
            Some(part) => part.1 += time,
            None if time.is_zero() => {}
            None => self.0.push((what, time)),
        }
    }

    fn add_timelines<'a>(&mut self, timelines: impl IntoIterator<Item = &'a Timeline>) {
        for (stage, time) in timelines.into_iter().flat_map(Timeline::stages) {
            self.add(stage.describe(), time);
        }
    }

    fn add_attempt(&mut self, attempt: &AttemptRecord) {
        match &attempt.timeline {
            Some(timeline) => self.add_timelines([timeline]),
            None => self.add("in an attempt", attempt.elapsed),
        }
        if let Some(RetryDecision::Again(pause)) = attempt.decision {
            self.add("pausing before another attempt", pause);
        }
    }

    /// Writes the parts, the longest first, with what is known about it of one of the attempts.
    fn write(mut self, known: Option<&Timeline>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: Duration = self.0.iter().map(|part| part.1).sum();
        // The sort is stable: parts of equal length stay in the order of their stages.
        self.0.sort_by_key(|part| std::cmp::Reverse(part.1));
        let Some(((longest, time), rest)) = self.0.split_first() else {
            return f.write_str("the call took no time");
        };
        write!(f, "{time:.2?} of {total:.2?} {longest}")?;
        if let Some(more) = more(known, longest) {
            write!(f, ": {more}")?;
        }
        let mut separator = "; ";
        for (what, time) in rest {
            write!(f, "{separator}{time:.2?} {what}")?;
            if let Some(more) = more(known, what) {
                write!(f, " ({more})")?;
            }
            separator = ", ";
        }
        Ok(())
    }
}

/// Returns what is known besides about a part: the note about the last stage, or what the server
/// states about the wait for the reply.
fn more<'a>(known: Option<&'a Timeline>, what: &str) -> Option<&'a dyn fmt::Display> {
    let known = known?;
    if known.note.is_some() && known.last().describe() == what {
        return known.note.as_ref().map(|note| note as _);
    }
    known.server().filter(|_| what == Stage::AwaitingReply.describe()).map(|server| server as _)
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::error::{Code, Delivery};
    use crate::timeline::Ledger;

    async fn timeline(stages: &[(Stage, u64)]) -> Timeline {
        let ledger = Ledger::new(Instant::now());
        for (stage, millis) in stages {
            ledger.enter(*stage);
            sleep(Duration::from_millis(*millis)).await;
            ledger.tick();
        }
        ledger.timeline()
    }

    fn expired() -> Error {
        Error::failure(Code::DeadlineExceeded, Delivery::NotSent, None, "")
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_part_comes_first_with_its_note() {
        let times = timeline(&[(Stage::AwaitingReply, 20), (Stage::Connection, 1980)]).await;
        let error = expired().with_timeline(times.with_note("64 of 64 in use"));
        assert_eq!(
            error.account().to_string(),
            "1.98s of 2.00s waiting for a connection: 64 of 64 in use; 20.00ms waiting for the reply"
        );
        assert_eq!(expired().account().to_string(), "the call took no time");
        let times = timeline(&[(Stage::AwaitingReply, 20), (Stage::Connection, 10)]).await;
        let error = expired().with_timeline(times).map_timeline(|times| times.with_note("full"));
        let account =
            "20.00ms of 30.00ms waiting for the reply; 10.00ms waiting for a connection (full)";
        assert_eq!(error.account().to_string(), account);
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_and_their_pauses_are_summed() {
        let record = |times, decision| {
            let error = expired().with_timeline(times);
            AttemptRecord::of(&error, Duration::ZERO).with_decision(decision)
        };
        let pause = RetryDecision::Again(Duration::from_millis(100));
        let first = record(timeline(&[(Stage::AwaitingReply, 30)]).await, pause);
        let second =
            record(timeline(&[(Stage::AwaitingReply, 40)]).await, RetryDecision::AttemptsSpent);
        let error = expired().with_attempts(vec![first, second]);
        assert_eq!(
            error.account().to_string(),
            "100.00ms of 170.00ms pausing before another attempt; 70.00ms waiting for the reply"
        );
    }
}
