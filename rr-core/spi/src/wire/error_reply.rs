//! Reading and writing an error reply: headers, body, and what decides where they disagree.

use bytes::Bytes;

use super::error_document::{ErrorDocument, decode_retry, encode_retry, wire_delivery};
use super::{RR_CODE, RR_DELIVERY, RR_REASON, RR_RETRY_AFTER_MS};
use crate::error::{Code, Delivery, Error, Origin, Reason, RetryHint};
use crate::headers::Headers;

/// The headers of an error reply, to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorHeaders(Vec<(&'static str, String)>);

impl ErrorHeaders {
    /// Returns the headers that say what the body says, for peers and proxies that lose bodies.
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
        Self(headers)
    }

    /// Returns names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

/// The parts of an error reply as they arrived.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ErrorReply<'a> {
    /// The value of `rr-code`; `None` when it is repeated.
    pub code: Option<&'a str>,
    /// The value of `rr-reason`; `None` when it is repeated.
    pub reason: Option<&'a str>,
    /// Every value of `rr-delivery`. Anything but one that is known is `Unknown`.
    pub delivery: Vec<&'a str>,
    /// Every value of `rr-retry-after-ms`.
    pub retry_after_ms: Vec<&'a str>,
    /// The application's headers.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

impl ErrorReply<'_> {
    /// Turns the reply into an error: `rr-code` decides, then the body, then `fallback`, which
    /// makes the error that the carrier's own status amounts to.
    ///
    /// `fallback`'s origin should be [`Origin::Intermediary`] where nothing shows that the peer
    /// itself spoke. Without `rr-delivery`, a reply of the peer says `Unknown`. Where two sources
    /// disagree on the delivery, the one that claims less holds: the other may be a mistake.
    pub fn decode(self, fallback: impl FnOnce() -> Error) -> Error {
        let document = ErrorDocument::decode(&self.body);
        let header_delivery = match self.delivery[..] {
            [] => None,
            [only] => Some(Delivery::from_wire(only).unwrap_or(Delivery::Unknown)),
            _ => Some(Delivery::Unknown),
        };
        let header_code = self.code.and_then(Code::from_wire);
        let document_code = document.as_ref().and_then(|document| document.code);
        let Some(code) = header_code.or(document_code) else {
            let message = document.map(|document| document.message).unwrap_or_default();
            let error = fallback().with_headers(self.headers);
            let delivery = header_delivery.max(Some(error.delivery())).unwrap_or(Delivery::Unknown);
            let error = error.with_delivery(delivery);
            return if message.is_empty() { error } else { error.with_message(message) };
        };
        let document = document.unwrap_or_default();
        let reason = self.reason.and_then(Reason::parse).or(document.reason);
        let delivery = header_delivery.max(document.delivery).unwrap_or(Delivery::Unknown);
        let retry = match self.retry_after_ms[..] {
            [] => document.retry,
            [only] => Some(decode_retry(millis(only))),
            _ => Some(RetryHint::Never),
        };
        let error = Error::failure(code, delivery, reason, document.message)
            .with_origin(Origin::Peer)
            .with_headers(self.headers);
        let error = document.details.into_iter().fold(error, Error::with_detail);
        match retry {
            // A reason that forbids a retry is not overruled.
            Some(retry) if error.retry() == RetryHint::Unset => error.with_retry(retry),
            _ => error,
        }
    }
}

/// Parses digits, with a minus sign or without; `parse` alone would take a plus sign too.
fn millis(text: &str) -> Option<i64> {
    text.parse().ok().filter(|_| !text.starts_with('+'))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn fallback() -> Error {
        Error::failure(Code::Unknown, Delivery::Unknown, None, "status 418")
            .with_origin(Origin::Intermediary)
    }

    #[test]
    fn an_error_round_trips_by_headers_and_body() {
        let sent = Error::failure(Code::NotFound, Delivery::Processed, Reason::APP, "no order")
            .with_detail(crate::Detail::new("t.T", "v"));
        let headers = ErrorHeaders::of(&sent);
        let value = |name| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
        let reply = ErrorReply {
            code: value(RR_CODE),
            reason: value(RR_REASON),
            delivery: value(RR_DELIVERY).into_iter().collect(),
            retry_after_ms: value(RR_RETRY_AFTER_MS).into_iter().collect(),
            headers: Headers::new(),
            body: ErrorDocument::encode(&sent),
        };
        let read = reply.decode(fallback);
        assert_eq!((read.code(), read.delivery()), (sent.code(), sent.delivery()));
        assert_eq!((read.reason(), read.message()), (sent.reason(), sent.message()));
        assert_eq!((read.details(), read.retry()), (sent.details(), RetryHint::Never));
        assert_eq!(read.origin(), Origin::Peer);
    }

    #[test]
    fn a_source_without_a_known_code_is_skipped() {
        let body = Bytes::from_static(br#"{"code":"aborted","message":"m"}"#);
        let reply = ErrorReply { code: Some("new_code"), body, ..Default::default() };
        let read = reply.decode(fallback);
        assert_eq!((read.code(), read.delivery()), (Code::Aborted, Delivery::Unknown));
        let reply = ErrorReply { body: "<html>".into(), ..Default::default() };
        let read = reply.decode(fallback);
        assert_eq!((read.code(), read.origin()), (Code::Unknown, Origin::Intermediary));
    }

    #[test]
    fn deliveries_that_disagree_claim_the_least() {
        let read = |code, delivery: &[&'static str], body: &'static str| {
            let delivery = delivery.to_vec();
            let reply = ErrorReply { code, delivery, body: body.into(), ..Default::default() };
            let rejected = || Error::failure(Code::Unavailable, Delivery::Rejected, None, "421");
            reply.decode(rejected).delivery()
        };
        let ours = Some("unavailable");
        assert_eq!(read(ours, &["rejected"], ""), Delivery::Rejected);
        assert_eq!(read(ours, &["rejected", "processed"], ""), Delivery::Unknown);
        assert_eq!(read(ours, &["xx"], r#"{"delivery":"rejected"}"#), Delivery::Unknown);
        assert_eq!(read(ours, &["rejected"], r#"{"delivery":"processed"}"#), Delivery::Processed);
        assert_eq!(read(None, &[], ""), Delivery::Rejected);
        assert_eq!(read(None, &["unknown"], ""), Delivery::Unknown);
        assert_eq!(read(Some("newer_code"), &["processed"], ""), Delivery::Processed);
    }

    #[test]
    fn negative_garbage_repeated_or_endless_retry_hints_are_never() {
        let hint = |values: &[&'static str]| {
            let retry_after_ms = values.to_vec();
            let code = Some("unavailable");
            ErrorReply { code, retry_after_ms, ..Default::default() }.decode(fallback).retry()
        };
        assert_eq!(hint(&["250"]), RetryHint::After(Duration::from_millis(250)));
        for never in [&["-1"][..], &["+5"], &["x"], &["1", "2"], &["300001"]] {
            assert_eq!(hint(never), RetryHint::Never, "{never:?}");
        }
        assert_eq!(hint(&[]), RetryHint::Unset);
    }
}
