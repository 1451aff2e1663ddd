//! A call that is recorded: its start, its end and its line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rr_spi::wire::{RR, RequestHeaders};
use rr_spi::{Context, Error, Request, Response};
use tokio::time::Instant;

use super::failure::{Failure, micros};
use super::held;
use super::line::{Line, Message, VERSION, idempotency};
use super::redaction::{Part, Redaction};

/// The last second of the year 9999, since 1970: RFC 3339 has four digits for a year.
const SECONDS_MAX: u64 = 253_402_300_799;

/// Call that has started.
pub(super) struct Started {
    n: u64,
    at: SystemTime,
    began: Instant,
    timeout: Option<Duration>,
    retries: u32,
    inbound_retries: u32,
    /// The headers that the context and the idempotency key are on the wire.
    metadata: Vec<(&'static str, String)>,
    request: Request,
}

impl Started {
    #[allow(clippy::disallowed_methods, reason = "shown to people, never decided upon")]
    pub(super) fn new(n: u64, ctx: &Context, request: &Request) -> Self {
        let metadata = RequestHeaders::new(ctx, &request.idempotency);
        let metadata = metadata.iter().filter(|(name, _)| *name != RR);
        Self {
            n,
            at: SystemTime::now(),
            began: Instant::now(),
            timeout: ctx.remaining(),
            retries: ctx.retries(),
            inbound_retries: ctx.inbound_retries(),
            metadata: metadata.map(|(name, value)| (name, value.into_owned())).collect(),
            request: request.clone(),
        }
    }

    /// Ends the call now; `outcome` is missing if it was dropped.
    pub(super) fn ended(self, outcome: Option<Result<Response, Error>>) -> Ended {
        Ended { elapsed: self.began.elapsed(), started: self, outcome }
    }
}

/// Call that has ended; without an outcome if it was dropped.
pub(super) struct Ended {
    started: Started,
    elapsed: Duration,
    outcome: Option<Result<Response, Error>>,
}

impl Ended {
    /// Returns about how many bytes the call holds.
    pub(super) fn held_bytes(&self) -> usize {
        let Started { request, metadata, .. } = &self.started;
        let outcome = self.outcome.as_ref().map_or(0, held::of_outcome);
        size_of::<Self>() + held::of_metadata(metadata) + held::of_request(request) + outcome
    }

    /// Returns the line of the call, without its end.
    pub(super) fn line(&self, redaction: &Redaction) -> Vec<u8> {
        let Started { request, .. } = &self.started;
        let target = &request.target;
        let mut headers = redaction.headers(&request.headers);
        let metadata = self.started.metadata.iter();
        headers.extend(metadata.map(|(name, value)| redaction.header(name, value.clone())));
        let body = redaction.body(Part::RequestBody, target, &request.body);
        let line = Line {
            v: VERSION,
            n: self.started.n,
            at: rfc3339(self.started.at),
            elapsed_us: micros(self.elapsed),
            target: target.as_str().to_owned(),
            idempotency: idempotency(&request.idempotency).to_owned(),
            timeout_us: self.started.timeout.map(micros),
            retries: self.started.retries,
            inbound_retries: self.started.inbound_retries,
            request: Message { headers, body, dedup: None },
            reply: match &self.outcome {
                Some(Ok(response)) => Some(Message {
                    headers: redaction.headers(&response.headers),
                    body: redaction.body(Part::ReplyBody, target, &response.body),
                    dedup: response.dedup().map(|dedup| dedup.as_str().to_owned()),
                }),
                _ => None,
            },
            error: match &self.outcome {
                Some(Err(error)) => Some(Failure::new(error, request, redaction)),
                _ => None,
            },
            dropped: self.outcome.is_none(),
        };
        // Strings and numbers always serialize.
        serde_json::to_vec(&line).unwrap_or_default()
    }
}

/// Formats a time. A time before 1970 or after 9999 is replaced by the nearest time in between.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = since.min(Duration::from_secs(SECONDS_MAX));
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}
