//! Form of an error: its parts under the names that the wire has for them, and its times.

use std::time::Duration;

use bytes::Bytes;
use rr_spi::{
    AttemptRecord, Code, Dedup, Delivery, Detail, Error, Origin, Reason, Request, RetryDecision,
    RetryHint, Spent, Stage, Target, Timeline,
};
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::headers::{Header, read_headers};
use super::redaction::{Part, Redaction};

/// Form of an error. The module's documentation describes the members.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Failure {
    code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    delivery: String,
    origin: String,
    message: String,
    hint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dedup: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<Header>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    details: Vec<DetailForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeline: Option<TimelineForm>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attempts: Vec<AttemptForm>,
}

#[derive(Debug, Deserialize, Serialize)]
struct DetailForm {
    r#type: String,
    #[serde(default, skip_serializing_if = "Body::is_empty")]
    value: Body,
}

/// Times of one attempt.
#[derive(Debug, Deserialize, Serialize)]
struct TimelineForm {
    last: String,
    /// Stage and microseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stages_us: Vec<(String, u64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    /// The times of the server, as in the header `rr-spent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spent: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
struct AttemptForm {
    code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    delivery: String,
    elapsed_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decision: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pause_ns: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeline: Option<TimelineForm>,
}

/// What is missing of an error that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The member of this name is malformed.
    Malformed(&'static str),
    /// A detail was cut or removed.
    Detail,
}

/// Redaction of the texts of an error of a call to this target.
#[derive(Clone, Copy)]
struct Texts<'a> {
    target: &'a Target,
    redaction: &'a Redaction,
}

impl Texts<'_> {
    fn kept(self, text: &str) -> Option<String> {
        self.redaction.text(Part::ErrorText, self.target, text)
    }
}

/// Returns the message of an error; empty if it is removed. The message of a decoding failure may
/// quote a body: names of members, which are data in a map. It goes with that body.
fn message(error: &Error, request: &Request, redaction: &Redaction) -> String {
    let (target, text) = (&request.target, error.message());
    let is_shown = match error.reason() == Some(&Reason::DECODE) {
        false => true,
        true if error.code() == Code::InvalidArgument => {
            redaction.keeps_whole(Part::RequestBody, target, &request.body)
        }
        // The reply is not known, so that the rule is asked about the quotation.
        true => {
            let quoting = Bytes::copy_from_slice(text.as_bytes());
            redaction.keeps_whole(Part::ReplyBody, target, &quoting)
        }
    };
    let kept = is_shown.then(|| redaction.text(Part::ErrorText, target, text));
    kept.flatten().unwrap_or_default()
}

impl Failure {
    /// Makes the form of an error that this request ended with.
    pub(super) fn new(error: &Error, request: &Request, redaction: &Redaction) -> Self {
        let target = &request.target;
        let texts = Texts { target, redaction };
        let detail = |detail: &Detail| DetailForm {
            r#type: detail.kind.to_string(),
            value: redaction.body(Part::ErrorDetail, target, &detail.value),
        };
        Self {
            code: error.code().as_str().to_owned(),
            reason: error.reason().map(|reason| reason.as_str().to_owned()),
            delivery: error.delivery().as_str().to_owned(),
            origin: origin(error.origin()).to_owned(),
            message: message(error, request, redaction),
            hint: texts.kept(error.hint()).unwrap_or_default(),
            retry_after_ms: retry_after_ms(error.retry()),
            dedup: error.dedup().map(|dedup| dedup.as_str().to_owned()),
            headers: redaction.headers(error.headers()),
            details: error.details().iter().map(detail).collect(),
            timeline: error.timeline().map(|timeline| TimelineForm::new(timeline, texts)),
            attempts: error
                .attempts()
                .iter()
                .map(|record| AttemptForm::new(record, texts))
                .collect(),
        }
    }

    /// Makes the error.
    ///
    /// # Errors
    ///
    /// What is missing.
    pub(super) fn error(&self) -> Result<Error, Missing> {
        use Missing::Malformed;

        let code = Code::from_wire(&self.code).ok_or(Malformed("code"))?;
        let delivery = delivery(&self.delivery).ok_or(Malformed("delivery"))?;
        let reason = reason(self.reason.as_deref()).ok_or(Malformed("reason"))?;
        let origin = ORIGINS.into_iter().find(|known| origin(*known) == self.origin);
        let headers = read_headers(&self.headers).ok_or(Malformed("headers"))?;
        let attempts = self.attempts.iter().map(AttemptForm::record).collect::<Option<_>>();
        let mut error = Error::failure(code, delivery, reason, self.message.clone())
            .with_hint(self.hint.clone())
            .with_origin(origin.ok_or(Malformed("origin"))?)
            .with_headers(headers)
            .with_retry(retry(self.retry_after_ms))
            .with_dedup(dedup(self.dedup.as_deref()).ok_or(Malformed("dedup"))?)
            .with_attempts(attempts.ok_or(Malformed("attempts"))?);
        if let Some(timeline) = &self.timeline {
            error = error.with_timeline(timeline.timeline().ok_or(Malformed("timeline"))?);
        }
        for DetailForm { r#type, value } in &self.details {
            let value = value.content().ok_or(Malformed("details"))?;
            let value = value.whole().ok_or(Missing::Detail)?.clone();
            error = error.with_detail(Detail::new(r#type.clone(), value));
        }
        Ok(error)
    }
}

impl TimelineForm {
    fn new(timeline: &Timeline, texts: Texts<'_>) -> Self {
        Self {
            last: timeline.last().as_str().to_owned(),
            stages_us: timeline
                .stages()
                .map(|(stage, time)| (stage.as_str().to_owned(), micros(time)))
                .collect(),
            note: timeline.note().and_then(|note| texts.kept(note)),
            spent: timeline.server().map(Spent::encode),
        }
    }

    fn timeline(&self) -> Option<Timeline> {
        let mut timeline = Timeline::new(Stage::parse(&self.last)?);
        for (stage, micros) in &self.stages_us {
            let time = Duration::from_micros(*micros);
            timeline = timeline.with_spent(Stage::parse(stage)?, time);
        }
        if let Some(note) = &self.note {
            timeline = timeline.with_note(note.clone());
        }
        let server = match &self.spent {
            Some(spent) => Some(Box::new(Spent::decode(spent)?)),
            None => None,
        };
        Some(timeline.with_server(server))
    }
}

impl AttemptForm {
    fn new(record: &AttemptRecord, texts: Texts<'_>) -> Self {
        let pause = match record.decision {
            Some(RetryDecision::Again(pause)) => Some(pause),
            _ => None,
        };
        Self {
            code: record.code.as_str().to_owned(),
            reason: record.reason.as_ref().map(|reason| reason.as_str().to_owned()),
            delivery: record.delivery.as_str().to_owned(),
            elapsed_ns: nanos(record.elapsed),
            decision: record.decision.and_then(decision).map(str::to_owned),
            pause_ns: pause.map(nanos),
            endpoint: record.endpoint.as_deref().and_then(|name| texts.kept(name)),
            timeline: record.timeline.as_ref().map(|timeline| TimelineForm::new(timeline, texts)),
        }
    }

    fn record(&self) -> Option<AttemptRecord> {
        let (code, reason) = (Code::from_wire(&self.code)?, reason(self.reason.as_deref())?);
        let mut error = Error::failure(code, delivery(&self.delivery)?, reason, "");
        if let Some(timeline) = &self.timeline {
            error = error.with_timeline(timeline.timeline()?);
        }
        let mut record = AttemptRecord::of(&error, Duration::from_nanos(self.elapsed_ns));
        if let Some(text) = self.decision.as_deref() {
            let pause = Duration::from_nanos(self.pause_ns.unwrap_or(0));
            let known = decisions(pause).into_iter().find(|known| decision(*known) == Some(text));
            record = record.with_decision(known?);
        }
        match &self.endpoint {
            Some(endpoint) => Some(record.with_endpoint(endpoint.as_str().into())),
            None => Some(record),
        }
    }
}

/// Every decision, with the pause of the one that has a pause.
fn decisions(pause: Duration) -> [RetryDecision; 10] {
    use RetryDecision::*;
    [
        Resend,
        Moved,
        Again(pause),
        Final,
        Never,
        NotIdempotent,
        AttemptsSpent,
        BudgetSpent,
        NoTimeLeft,
        CallEnded,
    ]
}

fn decision(decision: RetryDecision) -> Option<&'static str> {
    Some(match decision {
        RetryDecision::Resend => "resend",
        RetryDecision::Moved => "moved",
        RetryDecision::Again(_) => "again",
        RetryDecision::Final => "final",
        RetryDecision::Never => "never",
        RetryDecision::NotIdempotent => "not-idempotent",
        RetryDecision::AttemptsSpent => "attempts-spent",
        RetryDecision::BudgetSpent => "budget-spent",
        RetryDecision::NoTimeLeft => "no-time-left",
        RetryDecision::CallEnded => "call-ended",
        _ => return None,
    })
}

fn delivery(text: &str) -> Option<Delivery> {
    // Unlike on the wire, an error may not have left this process.
    if text == Delivery::NotSent.as_str() {
        return Some(Delivery::NotSent);
    }
    Delivery::from_wire(text)
}

/// Reads a reason that may be absent.
#[allow(clippy::option_option, reason = "absent and malformed differ")]
fn reason(text: Option<&str>) -> Option<Option<Reason>> {
    text.map_or(Some(None), |text| Reason::parse(text).map(Some))
}

/// Reads a duplicate suppression that may be absent.
#[allow(clippy::option_option, reason = "absent and malformed differ")]
pub(super) fn dedup(text: Option<&str>) -> Option<Option<Dedup>> {
    text.map_or(Some(None), |text| Dedup::parse(text).map(Some))
}

const ORIGINS: [Origin; 3] = [Origin::Local, Origin::Peer, Origin::Intermediary];

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Peer => "peer",
        Origin::Intermediary => "intermediary",
        _ => "local",
    }
}

/// Returns the milliseconds of a hint as in the header `rr-retry-after-ms`: a negative number means
/// never.
fn retry_after_ms(retry: RetryHint) -> Option<i64> {
    match retry {
        RetryHint::Never => Some(-1),
        RetryHint::After(after) => Some(i64::try_from(after.as_millis()).unwrap_or(i64::MAX)),
        _ => None,
    }
}

fn retry(millis: Option<i64>) -> RetryHint {
    match millis.map(u64::try_from) {
        None => RetryHint::Unset,
        Some(Ok(millis)) => RetryHint::After(Duration::from_millis(millis)),
        Some(Err(_)) => RetryHint::Never,
    }
}

/// Returns a duration in whole microseconds.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Returns a duration in nanoseconds.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
