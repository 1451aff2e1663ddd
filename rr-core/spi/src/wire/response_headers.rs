//! Writer and reader of reply headers, for all carriers whose headers are names and values
//! (docs/src/wire.md#headers).

use bytes::Bytes;

use super::error_document::{ErrorDocument, decode_retry, encode_retry, wire_delivery};
use super::field::Field;
use super::{RR_CODE, RR_DEDUP, RR_DELIVERY, RR_REASON, RR_RETRY_AFTER_MS};
use crate::dedup::Dedup;
use crate::error::{Code, Delivery, Error, Origin, Reason, RetryHint};
use crate::headers::{Headers, Received};
use crate::response::Response;

/// Headers that rr itself adds to an error reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorHeaders(Vec<(&'static str, String)>);

impl ErrorHeaders {
    /// Returns the headers of an error reply.
    ///
    /// The body also has the code; only the headers have reason, delivery and retry hint.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        let mut headers = vec![(RR_CODE, error.code().as_str().to_owned())];
        if let Some(reason) = error.reason() {
            headers.push((RR_REASON, reason.as_str().to_owned()));
        }
        headers.push((RR_DELIVERY, wire_delivery(error).to_owned()));
        if let Some(millis) = encode_retry(error.retry()) {
            headers.push((RR_RETRY_AFTER_MS, millis.to_string()));
        }
        if let Some(dedup) = error.dedup() {
            headers.push((RR_DEDUP, dedup.as_str().to_owned()));
        }
        Self(headers)
    }

    /// Returns names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

/// Received headers of a reply, split into rr's own and the application's.
///
/// Values borrow from the transport's message. A carrier whose replies have a status calls
/// [`into_response`](Self::into_response) or [`into_error`](Self::into_error) according to the
/// status; other carriers call [`outcome`](Self::outcome), which decides by the headers.
///
/// # Examples
///
/// ```
/// use rr_spi::wire::{ErrorDocument, ErrorHeaders, ResponseHead};
/// use rr_spi::{Code, Error};
///
/// let sent = Error::new(Code::NotFound, "no such order");
/// let headers = ErrorHeaders::of(&sent);
/// let mut head = ResponseHead::default();
/// for (name, value) in headers.iter() {
///     head.receive(name, value.as_bytes());
/// }
/// let read = head.outcome(ErrorDocument::encode(&sent)).unwrap_err();
/// assert_eq!((read.code(), read.message()), (Code::NotFound, "no such order"));
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ResponseHead<'a> {
    /// The headers that the application sees.
    pub headers: Headers,
    code: Field<'a>,
    reason: Field<'a>,
    delivery: Field<'a>,
    retry_after_ms: Field<'a>,
    dedup: Field<'a>,
    is_from_rr: bool,
    is_over_limit: bool,
}

/// Prefix of names that only rr peers write.
const RR_PREFIX: &[u8] = b"rr-";

impl<'a> ResponseHead<'a> {
    /// Receives the next header in its wire form: the value of a `-bin` name is base64.
    ///
    /// Names are case-insensitive. Headers that belong to a transport or do not fit the grammar are
    /// dropped.
    pub fn receive(&mut self, name: &str, value: &'a [u8]) {
        let start = name.as_bytes().get(..RR_PREFIX.len());
        if start.is_some_and(|start| start.eq_ignore_ascii_case(RR_PREFIX)) {
            self.is_from_rr = true;
            if let Some(field) = self.field(name) {
                field.add(value);
            }
            return;
        }
        let received = self.headers.receive_encoded(name, value);
        self.is_over_limit |= received == Received::OverLimit;
    }

    fn field(&mut self, name: &str) -> Option<&mut Field<'a>> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        Some(if is(RR_CODE) {
            &mut self.code
        } else if is(RR_REASON) {
            &mut self.reason
        } else if is(RR_DELIVERY) {
            &mut self.delivery
        } else if is(RR_RETRY_AFTER_MS) {
            &mut self.retry_after_ms
        } else if is(RR_DEDUP) {
            &mut self.dedup
        } else {
            return None;
        })
    }

    /// Returns whether the reply has an error header of rr, even with an unknown value.
    ///
    /// Such a header shows that an rr peer wrote the reply.
    #[must_use]
    pub fn is_error(&self) -> bool {
        let all = [self.code, self.reason, self.delivery, self.retry_after_ms];
        all.into_iter().any(Field::is_present)
    }

    /// Returns whether an rr peer wrote the reply: it has a header of rr, including `rr-dedup`.
    #[must_use]
    pub fn is_from_rr(&self) -> bool {
        self.is_from_rr
    }

    /// Returns the code of `rr-code`; `None` when it is absent, unknown or repeated.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.code.only().and_then(Code::from_wire)
    }

    /// Returns the reply as a success.
    ///
    /// # Errors
    ///
    /// `Internal`, processed, `bad-response`, when the reply has more than 64 headers or 16 KiB of
    /// them.
    pub fn into_response(self, body: Bytes) -> Result<Response, Error> {
        if self.is_over_limit {
            let text = "the reply has more than 64 headers or 16 KiB of them";
            let (code, reason) = (Code::Internal, Reason::BAD_RESPONSE);
            return Err(Error::failure(code, Delivery::Processed, reason, text));
        }
        let dedup = self.dedup();
        Ok(Response::new(body).with_headers(self.headers).with_dedup(dedup))
    }

    /// Returns the reply as an error. The code comes from `rr-code`, then from the body, then from
    /// `fallback`, which makes the error of the carrier's own status.
    ///
    /// The origin of the fallback should be [`Origin::Intermediary`] unless it is known that the
    /// peer itself wrote the reply. A reply of rr without a known delivery is `Unknown`, whether or
    /// not its code is known; the delivery of the fallback applies to replies of other peers only.
    /// If headers and body disagree on the delivery, the one nearer to having run applies, since
    /// the other may be a mistake. The error is marked as the outcome of a call.
    pub fn into_error(self, body: &Bytes, fallback: impl FnOnce() -> Error) -> Error {
        let dedup = self.dedup();
        self.decode_error(body, fallback).with_dedup(dedup).into_failure()
    }

    /// Returns the outcome of a reply without a carrier status: an error if it has an error header.
    ///
    /// # Errors
    ///
    /// The error that the reply carries, `Unknown` when its code is not known; `Internal`,
    /// processed, `bad-response`, when the reply has more than 64 headers or 16 KiB of them.
    pub fn outcome(self, body: Bytes) -> Result<Response, Error> {
        if !self.is_error() {
            return self.into_response(body);
        }
        Err(self.into_error(&body, || {
            let text = "the code of the error is not known";
            Error::failure(Code::Unknown, Delivery::Unknown, None, text).with_origin(Origin::Peer)
        }))
    }

    /// Returns the duplicate suppression; `None` unless the header occurs once with a known value,
    /// since retries rely on it.
    fn dedup(&self) -> Option<Dedup> {
        Dedup::parse(self.dedup.only()?)
    }

    fn decode_error(self, body: &Bytes, fallback: impl FnOnce() -> Error) -> Error {
        let is_error = self.is_error();
        let document = ErrorDocument::decode(body);
        let stated = match self.delivery {
            Field::Absent => None,
            field => field.only().and_then(Delivery::from_wire).or(Some(Delivery::Unknown)),
        };
        let stated = stated.max(document.as_ref().and_then(|document| document.delivery));
        let document_code = document.as_ref().and_then(|document| document.code);
        let retry = match self.retry_after_ms {
            Field::Absent => None,
            field => Some(decode_retry(field.only().and_then(millis))),
        };
        let Some(code) = self.code().or(document_code) else {
            let message = document.map(|document| document.message).unwrap_or_default();
            let error = fallback().with_headers(self.headers);
            let claimed = if is_error { Delivery::Unknown } else { error.delivery() };
            let delivery = match stated {
                Some(stated) if !is_error => stated.max(claimed),
                stated => stated.unwrap_or(claimed),
            };
            let error = error.with_delivery(delivery);
            let error = if message.is_empty() { error } else { error.with_message(message) };
            return hinted(error, retry);
        };
        let document = document.unwrap_or_default();
        let reason = self.reason.only().and_then(Reason::parse).or(document.reason);
        let delivery = stated.unwrap_or(Delivery::Unknown);
        let error = Error::failure(code, delivery, reason, document.message)
            .with_origin(Origin::Peer)
            .with_headers(self.headers);
        let error = document.details.into_iter().fold(error, Error::with_detail);
        hinted(error, retry.or(document.retry))
    }
}

/// Sets the retry hint that was received with an error. A hint that forbids a retry always applies;
/// no hint overrules a reason that forbids a retry.
fn hinted(error: Error, retry: Option<RetryHint>) -> Error {
    match retry {
        Some(RetryHint::Never) => error.with_retry(RetryHint::Never),
        Some(retry) if error.retry() == RetryHint::Unset => error.with_retry(retry),
        _ => error,
    }
}

/// Parses digits with an optional minus sign; `parse` alone would also accept a plus sign.
fn millis(text: &str) -> Option<i64> {
    text.parse().ok().filter(|_| !text.starts_with('+'))
}

#[cfg(test)]
mod tests;
