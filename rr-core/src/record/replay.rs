//! Requester that answers from a recording.

use std::collections::HashMap;
use std::fmt;
use std::future::{pending, ready};
use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_spi::{
    Attempt, Code, Context, Delivery, Error, ManyRequester, Reason, Request, Requester, Response,
    Target, async_trait, defaults,
};

use super::line::idempotency;
use super::reader::read;
use super::recorded::{Called, Recorded, RecordedOutcome};
use super::redaction::{Part, Redaction};

/// Maximum number of recorded targets that an error names.
const TARGETS_SHOWN_MAX: usize = 8;

/// Reason of the error of a call that the recording does not answer.
const NOT_RECORDED: &str = "not-recorded";

/// Requester that answers calls from a recording of a [`Recorder`](super::Recorder).
///
/// Each recorded call answers one call. A success is replayed with the headers that were recorded
/// and with its body. A failure is replayed as the same error: code, reason, delivery, origin,
/// message, hint, details, retry hint, attempts and the account of its time. A call that was dropped
/// is replayed as a call that ends with its context.
///
/// A call that the recording does not answer fails: `FailedPrecondition`, not sent, with the reason
/// `not-recorded` and a hint that shows the nearest recorded call and the difference. So does a call
/// whose recorded reply was cut or removed.
///
/// A call ends at its deadline, or when its context is cancelled. Replies come immediately, unless
/// [`Replay::with_latencies`] is set.
///
/// # Examples
///
/// ```
/// use rr_core::record::Replay;
/// use rr_core::{Code, Context, Error, RequesterExt};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Error> {
/// let recording = r#"{"v":1,"n":1,"at":"2026-11-30T03:12:55.310Z","elapsed_us":912,"target":"stock.left","idempotency":"unspecified","request":{"body":{"text":"tea"}},"error":{"code":"unavailable","delivery":"rejected","origin":"peer","message":"the database is down","hint":"try later"}}
/// "#;
/// let client = Replay::strict(recording.as_bytes())?;
/// let error = client.call_raw(&Context::background(), "stock.left", "tea").await.unwrap_err();
/// assert_eq!((error.code(), error.message()), (Code::Unavailable, "the database is down"));
/// assert!(client.remaining().is_empty());
/// # Ok(()) }
/// ```
pub struct Replay {
    calls: Mutex<HashMap<Target, Vec<Entry>>>,
    selection: Selection,
    redaction: Redaction,
    has_latencies: bool,
}

struct Entry {
    recorded: Recorded,
    has_answered: bool,
}

#[derive(Clone, Copy, Debug)]
enum Selection {
    Strict,
    BestMatch,
}

impl Replay {
    /// Makes a requester to which the calls of each target must come as they were recorded: in the
    /// order in which they started, with the same idempotency and the same body.
    ///
    /// Bodies are the same if their bytes are equal, or if they are equal JSON values. JSON values are
    /// compared by a hash of 64 bits that is made when the recording is read. Of a request
    /// body that was cut, the recorded part and the length are compared. Headers, idempotency keys
    /// and times are not compared, since they differ from one run to the next, and calls of
    /// different targets may come in any order.
    ///
    /// The recording is that of one recorder: a file, or bytes in a test.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when a line is malformed, has an unknown version or is longer
    /// than 16 MiB, or the recording is longer than 256 MiB; the message has the number of the line.
    /// `Unavailable`, not sent, when the recording cannot be read.
    pub fn strict(recording: impl Read) -> Result<Self, Error> {
        Self::new(recording, Selection::Strict)
    }

    /// Makes a requester that answers with the recorded call that is most alike.
    ///
    /// Of the calls to the same target that have not answered yet, those with the same idempotency
    /// are preferred, then those with an equal body, then those with an equal JSON value, then the
    /// earliest. A call is answered as long as there is one of its target, even if its body differs.
    ///
    /// # Errors
    ///
    /// As [`Replay::strict`].
    pub fn best_match(recording: impl Read) -> Result<Self, Error> {
        Self::new(recording, Selection::BestMatch)
    }

    fn new(recording: impl Read, selection: Selection) -> Result<Self, Error> {
        let mut calls: HashMap<Target, Vec<Entry>> = HashMap::new();
        for recorded in read(recording)? {
            let of_target = calls.entry(recorded.target.clone()).or_default();
            of_target.push(Entry { recorded, has_answered: false });
        }
        let (calls, redaction) = (Mutex::new(calls), Redaction::default());
        Ok(Self { calls, selection, redaction, has_latencies: false })
    }

    /// Replays each outcome after the time that the recorded call took, on tokio's clock: a test in
    /// virtual time does not wait.
    #[must_use]
    pub fn with_latencies(mut self) -> Self {
        self.has_latencies = true;
        self
    }

    /// Applies the rule of a redaction to the bodies of requests before they are compared: that of
    /// the recorder.
    #[must_use]
    pub fn with_redaction(mut self, redaction: Redaction) -> Self {
        self.redaction = redaction;
        self
    }

    /// Returns the recorded calls that have not answered yet, each described in a line, in the order
    /// of the file.
    #[must_use]
    pub fn remaining(&self) -> Vec<String> {
        let calls = self.lock();
        let left = calls.values().flatten().filter(|entry| !entry.has_answered);
        let mut left: Vec<&Recorded> = left.map(|entry| &entry.recorded).collect();
        left.sort_by_key(|recorded| recorded.line);
        left.into_iter().map(Recorded::describe).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Target, Vec<Entry>>> {
        // No foreign code runs under the lock, so a panic cannot leave it half-changed.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the recorded call that answers a call.
    fn take(
        &self,
        target: &Target,
        call: &Called<'_>,
    ) -> Result<(Duration, RecordedOutcome), Error> {
        let mut calls = self.lock();
        let Some(of_target) = calls.get_mut(target) else {
            return Err(unknown_target(target, calls.keys()));
        };
        let at = match self.selection {
            Selection::Strict => next(of_target, target, call)?,
            Selection::BestMatch => best(of_target, target, call)?,
        };
        let Entry { recorded, has_answered } = &mut of_target[at];
        *has_answered = true;
        if let RecordedOutcome::Partial(part) = recorded.outcome {
            return Err(partial(recorded, part));
        }
        Ok((recorded.elapsed, recorded.outcome.clone()))
    }
}

/// Returns the place of the next call, which must be the same.
fn next(calls: &[Entry], target: &Target, call: &Called<'_>) -> Result<usize, Error> {
    let at = calls
        .iter()
        .position(|entry| !entry.has_answered)
        .ok_or_else(|| all_read(calls, target))?;
    let expected = &calls[at].recorded;
    if expected.likeness(call).is_same() {
        return Ok(at);
    }
    let line = expected.line;
    let mut hint = format!("line {line} comes next, and differs: {}", expected.difference(call));
    let is_same = |entry: &&Entry| !entry.has_answered && entry.recorded.likeness(call).is_same();
    if let Some(same) = calls.iter().find(is_same) {
        hint += &format!("; line {} has the call, in another order", same.recorded.line);
    }
    Err(refused(format!("the call to {target} is not the recorded one"), hint))
}

/// Returns the place of the call that is most alike.
fn best(calls: &[Entry], target: &Target, call: &Called<'_>) -> Result<usize, Error> {
    let left = calls.iter().enumerate().filter(|(_, entry)| !entry.has_answered);
    // Of equals, `max_by_key` returns the last.
    let best = left.rev().max_by_key(|(_, entry)| entry.recorded.likeness(call));
    best.map(|(at, _)| at).ok_or_else(|| all_read(calls, target))
}

fn all_read(calls: &[Entry], target: &Target) -> Error {
    let text = format!("all recorded calls to {target} have answered");
    refused(text, format!("the recording has {}; this call is one more", calls.len()))
}

fn unknown_target<'a>(target: &Target, known: impl Iterator<Item = &'a Target>) -> Error {
    let mut known: Vec<_> = known.map(Target::as_str).collect();
    known.sort_unstable();
    let hint = match known.len() {
        0 => "the recording is empty".to_owned(),
        count if count > TARGETS_SHOWN_MAX => {
            format!("the recording has {} and others", known[..TARGETS_SHOWN_MAX].join(", "))
        }
        _ => format!("the recording has {}", known.join(", ")),
    };
    refused(format!("no call to {target} is recorded"), hint)
}

fn partial(recorded: &Recorded, part: &str) -> Error {
    let (line, target) = (recorded.line, &recorded.target);
    let hint = "record again with a larger `Redaction::with_body_bytes_max`, or without the rule \
                that removes it";
    refused(format!("the {part} of line {line} to {target} was cut or removed"), hint.to_owned())
}

fn refused(text: String, hint: String) -> Error {
    let (code, reason) = (Code::FailedPrecondition, Reason::parse(NOT_RECORDED));
    Error::failure(code, Delivery::NotSent, reason, text).with_hint(hint).into_failure()
}

#[async_trait]
impl Requester for Replay {
    async fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        let attempt = Attempt::start(ctx, defaults::CLIENT_TIMEOUT)?;
        let target = &request.target;
        // The part that a rule removes is not in the recording either, but its length is.
        let kept = self.redaction.apply(Part::RequestBody, target, &request.body);
        let body = kept.as_ref().unwrap_or(&request.body);
        let call = Called::new(idempotency(&request.idempotency), body);
        // The call may have ended while its body was prepared.
        attempt.run(ready(Ok(()))).await?;
        let (elapsed, outcome) = self.take(target, &call)?;
        attempt.sent();
        let RecordedOutcome::Whole(outcome) = outcome else {
            return attempt.run(pending()).await;
        };
        if self.has_latencies {
            let waited = async {
                tokio::time::sleep(elapsed).await;
                Ok(())
            };
            attempt.run(waited).await?;
        }
        // Not run in the attempt, which would add its own times to an error without any.
        outcome
    }
}

impl ManyRequester for Replay {}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("selection", &self.selection)
            .field("remaining", &self.remaining().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::json_hash::PARSED;
    use super::*;

    #[tokio::test]
    async fn a_call_is_compared_with_many_recorded_bodies_after_one_parse() {
        let line = |n: u32| {
            format!(
                r#"{{"v":1,"n":{n},"at":"","elapsed_us":0,"target":"a","idempotency":"unspecified","request":{{"body":{{"json":{{"n":{n},"of":100}}}}}},"reply":{{"body":{{"json":{n}}}}}}}"#
            )
        };
        let file = (1..=100).map(line).collect::<Vec<_>>().join("\n");
        let replay = Replay::best_match(file.as_bytes()).unwrap();
        assert_eq!(PARSED.replace(0), 100);
        for (body, answer) in [(r#"{"of": 100, "n": 77}"#, "77"), (r#"{"n":0,"of":100}"#, "1")] {
            let request = Request::new(Target::from_static("a").unwrap(), body);
            let reply = replay.request(&Context::background(), request).await.unwrap();
            assert_eq!((&*reply.body, PARSED.replace(0)), (answer.as_bytes(), 1));
        }
    }
}
