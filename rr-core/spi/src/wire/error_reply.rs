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
    /// The value of `rr-code`.
    pub code: Option<&'a str>,
    /// The value of `rr-reason`.
    pub reason: Option<&'a str>,
    /// The value of `rr-delivery`.
    pub delivery: Option<&'a str>,
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
    /// itself spoke. Without `rr-delivery`, a reply of the peer says `Unknown`.
    pub fn decode(self, fallback: impl FnOnce() -> Error) -> Error {
        let document = ErrorDocument::decode(&self.body);
        let header_code = self.code.and_then(Code::from_wire);
        let document_code = document.as_ref().and_then(|document| document.code);
        let Some(code) = header_code.or(document_code) else {
            let message = document.map(|document| document.message).unwrap_or_default();
            let error = fallback().with_headers(self.headers);
            return if message.is_empty() { error } else { error.with_message(message) };
        };
        let document = document.unwrap_or_default();
        let reason = self.reason.and_then(Reason::parse).or(document.reason);
        let delivery = self.delivery.and_then(Delivery::from_wire).or(document.delivery);
        let delivery = delivery.unwrap_or(Delivery::Unknown);
        let retry = match self.retry_after_ms[..] {
            [] => document.retry,
            [only] => Some(decode_retry(only.parse().ok())),
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
            delivery: value(RR_DELIVERY),
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
    fn negative_garbage_repeated_or_endless_retry_hints_are_never() {
        let hint = |values: &[&'static str]| {
            let retry_after_ms = values.to_vec();
            let code = Some("unavailable");
            ErrorReply { code, retry_after_ms, ..Default::default() }.decode(fallback).retry()
        };
        assert_eq!(hint(&["250"]), RetryHint::After(Duration::from_millis(250)));
        for never in [&["-1"][..], &["x"], &["1", "2"], &["300001"]] {
            assert_eq!(hint(never), RetryHint::Never, "{never:?}");
        }
        assert_eq!(hint(&[]), RetryHint::Unset);
    }
}
