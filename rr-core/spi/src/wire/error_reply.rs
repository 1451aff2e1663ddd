//! Reading and writing an error reply: headers, body, and what decides where they disagree.

use bytes::Bytes;

use super::error_document::{ErrorDocument, decode_retry, encode_retry, wire_delivery};
use super::{RR_CODE, RR_DEDUP, RR_DELIVERY, RR_REASON, RR_RETRY_AFTER_MS, decode_dedup};
use crate::error::{Code, Delivery, Error, Origin, Reason, RetryHint};
use crate::headers::Headers;

/// The headers of an error reply, to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorHeaders(Vec<(&'static str, String)>);

impl ErrorHeaders {
    /// Returns the headers of an error reply. The code is in the body too; reason, delivery and
    /// retry hint are only here.
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

/// The parts of an error reply as they arrived.
///
/// One value of an `rr-*` header is enough to show that a peer that speaks rr wrote the reply.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ErrorReply<'a> {
    /// Every value of `rr-code`. Repeated, it is none that is known.
    pub code: Vec<&'a str>,
    /// Every value of `rr-reason`. Repeated, it is none.
    pub reason: Vec<&'a str>,
    /// Every value of `rr-delivery`. Anything but one that is known is `Unknown`.
    pub delivery: Vec<&'a str>,
    /// Every value of `rr-retry-after-ms`. Repeated, it is never.
    pub retry_after_ms: Vec<&'a str>,
    /// Every value of `rr-dedup`. It is no error header: successes have it too.
    pub dedup: Vec<&'a str>,
    /// The application's headers.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

impl ErrorReply<'_> {
    /// Tells whether there is an error header of ours, known or not, repeated or not.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        let all = [&self.code, &self.reason, &self.delivery, &self.retry_after_ms];
        all.into_iter().any(|values| !values.is_empty())
    }

    /// Turns the reply into an error: `rr-code` decides, then the body, then `fallback`, which
    /// makes the error that the carrier's own status amounts to.
    ///
    /// `fallback`'s origin should be [`Origin::Intermediary`] where nothing shows that the peer
    /// itself spoke. A reply of ours that does not say whether the handler ran says `Unknown`,
    /// whether its code is known or not: what `fallback` claims is for replies of others. Where
    /// two sources disagree on the delivery, the one nearer to having run holds: the other may be
    /// a mistake. The error is marked as the outcome of a call.
    pub fn decode(self, fallback: impl FnOnce() -> Error) -> Error {
        let dedup = decode_dedup(self.dedup.iter().copied());
        self.decode_error(fallback).with_dedup(dedup).into_failure()
    }

    fn decode_error(self, fallback: impl FnOnce() -> Error) -> Error {
        let is_ours = self.is_ours();
        let document = ErrorDocument::decode(&self.body);
        let stated = match self.delivery[..] {
            [] => None,
            [only] => Some(Delivery::from_wire(only).unwrap_or(Delivery::Unknown)),
            _ => Some(Delivery::Unknown),
        };
        let stated = stated.max(document.as_ref().and_then(|document| document.delivery));
        let header_code = only(&self.code).and_then(Code::from_wire);
        let document_code = document.as_ref().and_then(|document| document.code);
        let retry = match self.retry_after_ms[..] {
            [] => None,
            [only] => Some(decode_retry(millis(only))),
            _ => Some(RetryHint::Never),
        };
        let Some(code) = header_code.or(document_code) else {
            let message = document.map(|document| document.message).unwrap_or_default();
            let error = fallback().with_headers(self.headers);
            let claimed = if is_ours { Delivery::Unknown } else { error.delivery() };
            let delivery = match stated {
                Some(stated) if !is_ours => stated.max(claimed),
                stated => stated.unwrap_or(claimed),
            };
            let error = error.with_delivery(delivery);
            let error = if message.is_empty() { error } else { error.with_message(message) };
            return hinted(error, retry);
        };
        let document = document.unwrap_or_default();
        let reason = only(&self.reason).and_then(Reason::parse).or(document.reason);
        let delivery = stated.unwrap_or(Delivery::Unknown);
        let error = Error::failure(code, delivery, reason, document.message)
            .with_origin(Origin::Peer)
            .with_headers(self.headers);
        let error = document.details.into_iter().fold(error, Error::with_detail);
        hinted(error, retry.or(document.retry))
    }
}

/// Gives an error the hint that came with it. One that forbids a retry always holds, and a reason
/// that forbids it is not overruled.
fn hinted(error: Error, retry: Option<RetryHint>) -> Error {
    match retry {
        Some(RetryHint::Never) => error.with_retry(RetryHint::Never),
        Some(retry) if error.retry() == RetryHint::Unset => error.with_retry(retry),
        _ => error,
    }
}

/// Returns the value of a header that is there once.
fn only<'a>(values: &[&'a str]) -> Option<&'a str> {
    if let [only] = values { Some(only) } else { None }
}

/// Parses digits, with a minus sign or without; `parse` alone would take a plus sign too.
fn millis(text: &str) -> Option<i64> {
    text.parse().ok().filter(|_| !text.starts_with('+'))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn fallback() -> Error {
        Error::failure(Code::Unknown, Delivery::Unknown, None, "status 418")
            .with_origin(Origin::Intermediary)
    }

    fn rejected() -> Error {
        Error::failure(Code::Unavailable, Delivery::Rejected, None, "421")
    }

    #[test]
    fn an_error_round_trips_by_headers_and_body() {
        let sent = Error::failure(Code::NotFound, Delivery::Processed, Reason::APP, "no order")
            .with_detail(crate::Detail::new("t.T", "v"))
            .with_dedup(crate::Dedup::Replayed);
        let headers = ErrorHeaders::of(&sent);
        let value = |name| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
        let reply = ErrorReply {
            code: value(RR_CODE).into_iter().collect(),
            reason: value(RR_REASON).into_iter().collect(),
            delivery: value(RR_DELIVERY).into_iter().collect(),
            retry_after_ms: value(RR_RETRY_AFTER_MS).into_iter().collect(),
            dedup: value(RR_DEDUP).into_iter().collect(),
            headers: Headers::new(),
            body: ErrorDocument::encode(&sent),
        };
        let read = reply.decode(fallback);
        assert_eq!((read.code(), read.delivery()), (sent.code(), sent.delivery()));
        assert_eq!((read.reason(), read.message()), (sent.reason(), sent.message()));
        assert_eq!((read.details(), read.retry()), (sent.details(), RetryHint::Never));
        assert_eq!((read.origin(), read.dedup()), (Origin::Peer, sent.dedup()));
    }

    #[test]
    fn a_source_without_a_known_code_is_skipped() {
        let body = Bytes::from_static(br#"{"code":"aborted","message":"m"}"#);
        let reply = ErrorReply { code: vec!["new_code"], body, ..Default::default() };
        let read = reply.decode(fallback);
        assert_eq!((read.code(), read.delivery()), (Code::Aborted, Delivery::Unknown));
        let reply = ErrorReply { body: "<html>".into(), ..Default::default() };
        let read = reply.decode(fallback);
        assert_eq!((read.code(), read.origin()), (Code::Unknown, Origin::Intermediary));
    }

    #[test]
    fn deliveries_that_disagree_claim_the_least() {
        let read = |code: &[&'static str], delivery: &[&'static str], body: &'static str| {
            let (code, delivery) = (code.to_vec(), delivery.to_vec());
            let reply = ErrorReply { code, delivery, body: body.into(), ..Default::default() };
            reply.decode(rejected).delivery()
        };
        let ours = &["unavailable"][..];
        assert_eq!(read(ours, &["rejected"], ""), Delivery::Rejected);
        assert_eq!(read(ours, &["rejected", "processed"], ""), Delivery::Unknown);
        assert_eq!(read(ours, &["xx"], r#"{"delivery":"rejected"}"#), Delivery::Unknown);
        assert_eq!(read(ours, &["rejected"], r#"{"delivery":"processed"}"#), Delivery::Processed);
        assert_eq!(read(&[], &[], ""), Delivery::Rejected);
        assert_eq!(read(&[], &[], r#"{"delivery":"processed"}"#), Delivery::Processed);
        assert_eq!(read(&[], &["unknown"], ""), Delivery::Unknown);
        assert_eq!(read(&["newer_code"], &["processed"], ""), Delivery::Processed);
        assert_eq!(read(&["newer_code"], &["rejected"], ""), Delivery::Rejected);
    }

    #[test]
    fn a_reply_of_ours_without_a_usable_code_or_delivery_is_unknown() {
        let silent = |reply: ErrorReply<'_>| {
            assert!(reply.is_ours());
            assert_eq!(reply.decode(rejected).delivery(), Delivery::Unknown);
        };
        silent(ErrorReply { code: vec!["newer_code"], ..Default::default() });
        silent(ErrorReply { code: vec!["aborted", "aborted"], ..Default::default() });
        silent(ErrorReply { reason: vec!["draining"], ..Default::default() });
        silent(ErrorReply { reason: vec!["draining", "app"], ..Default::default() });
        silent(ErrorReply { retry_after_ms: vec!["5"], ..Default::default() });
        silent(ErrorReply { delivery: vec![""], ..Default::default() });
    }

    #[test]
    fn negative_garbage_repeated_or_endless_retry_hints_are_never() {
        let hint = |values: &[&'static str]| {
            let retry_after_ms = values.to_vec();
            let code = vec!["unavailable"];
            ErrorReply { code, retry_after_ms, ..Default::default() }.decode(fallback).retry()
        };
        assert_eq!(hint(&["250"]), RetryHint::After(Duration::from_millis(250)));
        for never in [&["-1"][..], &["+5"], &["x"], &["1", "2"], &["300001"]] {
            assert_eq!(hint(never), RetryHint::Never, "{never:?}");
        }
        assert_eq!(hint(&[]), RetryHint::Unset);
        let reply = ErrorReply { retry_after_ms: vec!["-1"], ..Default::default() };
        let hinted = || fallback().with_retry(RetryHint::After(Duration::from_secs(1)));
        assert_eq!(reply.decode(hinted).retry(), RetryHint::Never);
    }

    proptest! {
        #[test]
        fn only_what_the_peer_says_once_makes_a_reply_of_ours_claim_anything(
            code in values("unavailable|newer_code|aborted|"),
            reason in values("draining|x y"),
            delivery in values("rejected|processed|unknown|not_sent|Rejected|"),
            retry_after_ms in values("-1|5|x"),
            body in prop_oneof![
                Just(""), Just("{}"), Just("<html>"), Just(r#"{"code":"newer_code"}"#),
                Just(r#"{"code":"not_found"}"#),
            ],
        ) {
            fn all(values: &[String]) -> Vec<&str> { values.iter().map(String::as_str).collect() }
            let reply = ErrorReply {
                code: all(&code),
                reason: all(&reason),
                delivery: all(&delivery),
                retry_after_ms: all(&retry_after_ms),
                body: body.into(),
                ..Default::default()
            };
            let is_ours = reply.is_ours();
            let any = [&code, &reason, &delivery, &retry_after_ms].iter().any(|v| !v.is_empty());
            prop_assert_eq!(is_ours, any);
            let read = reply.decode(rejected).delivery();
            let stated = match &delivery[..] {
                [only] => Delivery::from_wire(only).unwrap_or(Delivery::Unknown),
                _ => Delivery::Unknown,
            };
            let decided_by_body = body.contains("not_found");
            if is_ours || decided_by_body {
                prop_assert_eq!(read, stated);
            } else {
                prop_assert_eq!(read, Delivery::Rejected);
            }
        }
    }

    /// None, one or two values of a header.
    fn values(of: &'static str) -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec(of, 0..3)
    }
}
