//! The error body: Connect's JSON document.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::defaults::ERROR_DETAIL_BYTES_MAX;
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
    /// The value for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    debug: Option<Value>,
}

/// Maximum depth of a value that is shown as `debug`. The document adds three levels, and a reader
/// that refuses the depth loses the whole error: System.Text.Json reads 64 levels, serde_json 128.
const DEBUG_DEPTH_MAX: usize = 32;

impl ErrorDocument {
    /// Encodes an error as its body: message cut at 1 KiB, details at 8 KiB.
    ///
    /// The body has Connect's members only; reason, delivery and retry hint travel in
    /// [`ErrorHeaders`](super::ErrorHeaders). The value of an
    /// [application error](crate::AppError) is written twice: as base64, and as JSON in the member
    /// `debug`. `debug` is omitted if it does not fit into the 8 KiB as well, or has more than 32
    /// levels.
    #[must_use]
    pub fn encode(error: &Error) -> Bytes {
        let mut rest = match error.reason() {
            Some(reason) if *reason == Reason::APP => ERROR_DETAIL_BYTES_MAX,
            _ => return Self::encode_without_debug(error),
        };
        let error = error.clone().capped();
        for detail in error.details() {
            rest = rest.saturating_sub(detail.kind.len() + detail.value.len());
        }
        encode(&error, |detail| debug(detail, &mut rest))
    }

    /// Encodes an error as [`ErrorDocument::encode`] does, without the member `debug`.
    ///
    /// For transports whose messages have a limit that the longer body may exceed.
    #[must_use]
    pub fn encode_without_debug(error: &Error) -> Bytes {
        encode(&error.clone().capped(), |_| None)
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

fn encode(error: &Error, mut debug: impl FnMut(&Detail) -> Option<Value>) -> Bytes {
    let details = error.details().iter();
    let written = Written {
        code: error.code().as_str(),
        message: error.message(),
        details: details
            .map(|detail| WrittenDetail {
                r#type: &detail.kind,
                value: STANDARD_NO_PAD.encode(&detail.value),
                debug: debug(detail),
            })
            .collect(),
    };
    // Strings and JSON values always serialize.
    serde_json::to_vec(&written).unwrap_or_default().into()
}

/// Returns the value of a detail for people, and takes its length from `rest`; `None` if it is not
/// JSON, is nested too deeply or is longer than `rest`.
fn debug(detail: &Detail, rest: &mut usize) -> Option<Value> {
    let value: Value = serde_json::from_slice(&detail.value).ok()?;
    if !is_within(&value, DEBUG_DEPTH_MAX) {
        return None;
    }
    *rest = rest.checked_sub(value.to_string().len())?;
    Some(value)
}

/// Returns whether a value has at most `levels` levels of arrays and objects.
fn is_within(value: &Value, levels: usize) -> bool {
    let is_inside = |inner: &Value| is_within(inner, levels - 1);
    match value {
        Value::Array(values) => levels > 0 && values.iter().all(is_inside),
        Value::Object(members) => levels > 0 && members.values().all(is_inside),
        _ => true,
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

    /// An application error with these details.
    fn app(values: &[&str]) -> Error {
        let error = Error::new(Code::FailedPrecondition, "").with_reason(Reason::APP);
        let details = values.iter().map(|value| Detail::new("a.B", value.to_string()));
        details.fold(error, Error::with_detail)
    }

    /// The details of the body of an error.
    fn written(error: &Error) -> Vec<Value> {
        let body = ErrorDocument::encode(error);
        let document: Value = serde_json::from_slice(&body).unwrap();
        let read = ErrorDocument::decode(&body).unwrap();
        assert_eq!(read.details, error.details(), "`debug` changes nothing for a reader");
        document["details"].as_array().unwrap().clone()
    }

    #[test]
    fn the_value_of_an_application_error_is_readable() {
        let body = ErrorDocument::encode(&app(&[r#"{"left":2}"#]));
        let text = r#"{"code":"failed_precondition","message":"","details":[{"type":"a.B","value":"eyJsZWZ0IjoyfQ","debug":{"left":2}}]}"#;
        assert_eq!(body, text);
        let body = ErrorDocument::encode_without_debug(&app(&[r#"{"left":2}"#]));
        assert_eq!(body, text.replace(r#","debug":{"left":2}"#, ""));
    }

    #[test]
    fn only_json_of_an_application_error_is_readable() {
        let other = Error::new(Code::Aborted, "").with_detail(Detail::new("a.B", "1"));
        assert!(written(&other)[0].get("debug").is_none());
        // Neither text, nor a number that receivers cannot read, nor half a value.
        for value in ["", "text", "1e999", "{\"left\":"] {
            assert!(written(&app(&[value]))[0].get("debug").is_none(), "{value}");
        }
        for value in ["null", "1", "\"Empty\"", "[[]]"] {
            let expected: Value = serde_json::from_str(value).unwrap();
            assert_eq!(written(&app(&[value]))[0].get("debug"), Some(&expected));
        }
    }

    #[test]
    fn what_debug_adds_fits_into_the_limit_of_the_details() {
        let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        let half = ERROR_DETAIL_BYTES_MAX / 2;
        // Twice the value and the type fit exactly, with one byte more they do not.
        let fits = written(&app(&[&text(half - 3), "1"]));
        assert!(fits[0].get("debug").is_none() && fits[1].get("debug").is_some(), "{fits:?}");
        assert!(written(&app(&[&text(half - 2)]))[0].get("debug").is_some());
        assert!(written(&app(&[&text(half - 1)]))[0].get("debug").is_none());
        // The longest value of all still travels.
        assert_eq!(written(&app(&[&text(ERROR_DETAIL_BYTES_MAX - 3)])).len(), 1);
    }

    #[test]
    fn a_deep_value_travels_without_debug() {
        for (levels, is_shown) in [(32, true), (33, false), (127, false), (500, false)] {
            for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
                let value = format!("{}1{}", open.repeat(levels), close.repeat(levels));
                let details = written(&app(&[&value]));
                assert_eq!(details[0].get("debug").is_some(), is_shown, "{levels}");
            }
        }
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
