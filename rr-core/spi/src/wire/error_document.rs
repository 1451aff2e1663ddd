//! The error body: Connect's JSON document.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{Code, Delivery, Detail, Error, Reason, RetryHint};
use crate::headers::decode_binary;

/// Decoded error body. Every member may be missing or malformed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorDocument {
    /// `code`, if it is one of the 16 codes.
    pub code: Option<Code>,
    /// `message`, empty when missing.
    pub message: String,
    /// `details`, without malformed details.
    pub details: Vec<Detail>,
    /// `reason`, which older peers write.
    pub reason: Option<Reason>,
    /// `delivery`, which older peers write.
    pub delivery: Option<Delivery>,
    /// `retryAfterMs`, which older peers write.
    pub retry: Option<RetryHint>,
}

#[derive(Serialize)]
struct Written<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<WrittenDetail<'a>>,
}

#[derive(Serialize)]
struct WrittenDetail<'a> {
    r#type: &'a str,
    value: String,
}

impl ErrorDocument {
    /// Encodes an error as its body: message cut at 1 KiB, details at 8 KiB.
    ///
    /// The body has Connect's members only; reason, delivery and retry hint travel in
    /// [`ErrorHeaders`](super::ErrorHeaders).
    #[must_use]
    pub fn encode(error: &Error) -> Bytes {
        let error: Cow<'_, Error> = Cow::Owned(error.clone().capped());
        let details = error.details().iter();
        let written = Written {
            code: error.code().as_str(),
            message: error.message(),
            details: details
                .map(|detail| WrittenDetail {
                    r#type: &detail.kind,
                    value: STANDARD_NO_PAD.encode(&detail.value),
                })
                .collect(),
        };
        // Strings and numbers always serialize.
        serde_json::to_vec(&written).unwrap_or_default().into()
    }

    /// Decodes an error body; `None` when it is not a JSON object.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let read: Map<String, Value> = serde_json::from_slice(body).ok()?;
        let text = |member: &str| read.get(member).and_then(Value::as_str);
        let details = read.get("details").and_then(Value::as_array);
        let details = details.map(Vec::as_slice).unwrap_or_default();
        Some(Self {
            code: text("code").and_then(Code::from_wire),
            message: text("message").unwrap_or_default().to_owned(),
            details: details.iter().filter_map(read_detail).collect(),
            reason: text("reason").and_then(Reason::parse),
            delivery: text("delivery").and_then(Delivery::from_wire),
            retry: match read.get("retryAfterMs") {
                None | Some(Value::Null) => None,
                Some(millis) => Some(decode_retry(millis.as_i64())),
            },
        })
    }
}

fn read_detail(detail: &Value) -> Option<Detail> {
    let kind = detail.get("type")?.as_str()?;
    let value = decode_binary(detail.get("value")?.as_str()?.as_bytes())?;
    Some(Detail::new(kind.to_owned(), value))
}

/// Returns the delivery of an error on the wire; `NotSent` travels as `rejected`.
pub(super) fn wire_delivery(error: &Error) -> &'static str {
    match error.delivery() {
        Delivery::NotSent => Delivery::Rejected.as_str(),
        other => other.as_str(),
    }
}

/// Returns the milliseconds of a hint; a negative number means never.
pub(super) fn encode_retry(retry: RetryHint) -> Option<i64> {
    match retry {
        RetryHint::Unset => None,
        RetryHint::Never => Some(-1),
        RetryHint::After(after) => Some(i64::try_from(after.as_millis()).unwrap_or(i64::MAX)),
    }
}

/// Returns the hint of a number of milliseconds. Negative and malformed numbers mean never, as do
/// times that [`Error::with_retry`] converts to never.
pub(super) fn decode_retry(millis: Option<i64>) -> RetryHint {
    match millis.map(u64::try_from) {
        Some(Ok(millis)) => {
            RetryHint::After(std::time::Duration::from_millis(millis)).on_the_wire()
        }
        _ => RetryHint::Never,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_body_is_that_of_connect_and_nothing_more() {
        let error = Error::failure(Code::Unavailable, Delivery::NotSent, Reason::DRAINING, "bye")
            .with_detail(Detail::new("a.B", "x"))
            .with_retry(RetryHint::After(Duration::from_millis(20)));
        let body = ErrorDocument::encode(&error);
        let text =
            r#"{"code":"unavailable","message":"bye","details":[{"type":"a.B","value":"eA"}]}"#;
        assert_eq!(body, text);
    }

    #[test]
    fn members_of_older_peers_are_still_read() {
        let body = br#"{"code":"unavailable","message":"bye","reason":"draining","delivery":"rejected","retryAfterMs":20}"#;
        let document = ErrorDocument::decode(body).unwrap();
        assert_eq!(document.reason, Some(Reason::DRAINING));
        assert_eq!(document.delivery, Some(Delivery::Rejected));
        assert_eq!(document.retry, Some(RetryHint::After(Duration::from_millis(20))));
    }

    #[test]
    fn broken_members_do_not_lose_the_others() {
        let body = br#"{"code":7,"message":null,"details":[{"type":"a","value":"%"},{"type":"b","value":"eA=="},3],"extra":{}}"#;
        let document = ErrorDocument::decode(body).unwrap();
        assert_eq!((document.code, document.message.as_str()), (None, ""));
        assert_eq!(document.details, [Detail::new("b", "x")]);
        let twice = br#"{"code":"aborted","message":"a","message":"b"}"#;
        assert_eq!(ErrorDocument::decode(twice).unwrap().code, Some(Code::Aborted));
        assert_eq!(ErrorDocument::decode(br#"["not_found","hi"]"#), None);
        assert_eq!(ErrorDocument::decode(b"<html>"), None);
        assert_eq!(ErrorDocument::decode(b""), None);
    }

    proptest! {
        #[test]
        fn round_trips(code in 0usize..16, message in ".{0,80}", value in prop::collection::vec(any::<u8>(), 0..40)) {
            let error = Error::failure(Code::ALL[code], Delivery::Processed, None, message.clone())
                .with_detail(Detail::new("t.T", value.clone()));
            let document = ErrorDocument::decode(&ErrorDocument::encode(&error)).unwrap();
            prop_assert_eq!(document.code, Some(Code::ALL[code]));
            prop_assert_eq!(document.message, message);
            prop_assert_eq!(document.delivery, None);
            prop_assert_eq!(&document.details[0].value[..], &value[..]);
        }

        #[test]
        fn decode_never_panics(body in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = ErrorDocument::decode(&body);
        }
    }
}
