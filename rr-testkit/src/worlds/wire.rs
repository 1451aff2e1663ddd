//! Messages on their way: names, values and a body, written and read by the wire functions that
//! every transport uses.

use std::borrow::Cow;

use rr_spi::wire::{
    ErrorDocument, ErrorHeaders, RR_DEDUP, RR_SPENT, RequestHead, RequestHeaders, ResponseHead,
};
use rr_spi::{Attempt, Bytes, Error, Headers, Request, Response, Target};
use tokio::time::Instant;

/// Names and values of a message, in their order.
type Fields = Vec<(Cow<'static, str>, Bytes)>;

/// Request on its way. It may be read several times.
pub(super) struct RequestMessage {
    /// When it was written. Both ends share a clock, so that the time on the way counts.
    pub(super) sent_at: Instant,
    target: String,
    fields: Fields,
    body: Bytes,
}

impl RequestMessage {
    /// Writes a request. The message holds the time that is left now.
    pub(super) fn write(attempt: &Attempt, request: &Request) -> Self {
        let own = RequestHeaders::new(attempt.context(), &request.idempotency)
            .with_timeout_millis(attempt.timeout_millis());
        let own = own.iter().map(|(name, value)| (name, value.into_owned()));
        let fields = fields(own, &request.headers);
        let (target, body) = (request.target.as_str().to_owned(), request.body.clone());
        Self { sent_at: Instant::now(), target, fields, body }
    }

    /// Reads the head and the target.
    ///
    /// # Errors
    ///
    /// As [`RequestHead::receive`] and [`Target::parse`]: the handler has not run.
    pub(super) fn read(&self) -> Result<(RequestHead<'_>, Target), Error> {
        let mut head = RequestHead::default();
        for (name, value) in &self.fields {
            head.receive(name, value)?;
        }
        Ok((head, Target::parse(&self.target)?))
    }

    pub(super) fn body(&self) -> Bytes {
        self.body.clone()
    }
}

/// Writes the reply of a server and reads it as the caller of the attempt does.
///
/// # Errors
///
/// The error that the reply carries; see [`ResponseHead::outcome`].
pub(super) fn replied(
    attempt: &Attempt,
    outcome: &Result<Response, Error>,
) -> Result<Response, Error> {
    let (own, headers, body) = match outcome {
        Ok(response) => (ErrorHeaders::default(), &response.headers, response.body.clone()),
        Err(error) => (ErrorHeaders::of(error), error.headers(), ErrorDocument::encode(error)),
    };
    // An error has it among its own headers.
    let dedup = outcome.as_ref().ok().and_then(Response::dedup);
    let own = own.iter().chain(dedup.map(|dedup| (RR_DEDUP, dedup.as_str())));
    let fields = fields(own.map(|(name, value)| (name, value.to_owned())), headers);
    attempt.spent(|| {
        let spent = fields.iter().find(|(name, _)| name == RR_SPENT);
        spent.and_then(|(_, value)| std::str::from_utf8(value).ok())
    });
    let mut head = ResponseHead::default();
    for (name, value) in &fields {
        head.receive(name, value);
    }
    head.outcome(body)
}

/// Writes rr's own headers, then those of the application.
fn fields(own: impl Iterator<Item = (&'static str, String)>, headers: &Headers) -> Fields {
    let own = own.map(|(name, value)| (name.into(), value.into()));
    own.chain(headers.encoded().map(|(name, value)| (name.to_owned().into(), value))).collect()
}
