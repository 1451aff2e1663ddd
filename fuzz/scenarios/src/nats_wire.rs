//! The header blocks and replies of NATS messages.

use async_nats::{HeaderMap, HeaderName, HeaderValue, Message, StatusCode};
use bytes::Bytes;
use rr_core::{Delivery, Target};
use rr_nats::fuzz::{decode_reply, decode_request, encode_reply, encode_request, target_of};

/// Status of a message that the server sends when there are no responders.
const NO_RESPONDERS: u16 = 503;

/// Reads lines `name: value` as a header block, of a request and of a reply, and encodes again what
/// was accepted.
///
/// # Panics
///
/// When something accepted does not survive encoding and decoding, or a reply claims `NotSent`.
pub fn nats_wire(bytes: &[u8]) {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let (map, payload) = message_of(rest);
    let target = Target::try_from("orders.place").expect("a valid target");
    let _ = target_of("team", &String::from_utf8_lossy(&payload));
    match decode_request(&map, target.clone()) {
        Ok(request) => {
            let again = encode_request(&request).unwrap_or_default();
            let again = decode_request(&again, target.clone()).expect("what was written is read");
            assert_eq!(again.headers, request.headers);
            assert_eq!(again.idempotency, request.idempotency);
        }
        Err(error) => assert_eq!(error.delivery(), Delivery::Rejected),
    }
    let status = match first {
        0..=200 => None,
        201..=228 => StatusCode::from_u16(NO_RESPONDERS).ok(),
        _ => StatusCode::from_u16(u16::from(first) * 3).ok(),
    };
    let no_responders = status.is_some_and(|status| status.as_u16() == NO_RESPONDERS);
    let outcome = decode_reply(&target, message(Some(map), payload, status));
    if let Err(error) = &outcome {
        assert!(error.delivery() != Delivery::NotSent || no_responders, "it was answered");
    }
    if !no_responders {
        again(&target, outcome);
    }
}

fn again(target: &Target, outcome: Result<rr_core::Response, rr_core::Error>) {
    let (map, payload) = encode_reply(outcome.clone());
    match (outcome, decode_reply(target, message(map, payload, None))) {
        (Ok(sent), Ok(read)) => assert_eq!((sent.headers, sent.body), (read.headers, read.body)),
        (Err(sent), Err(read)) => {
            assert_eq!((sent.code(), sent.reason()), (read.code(), read.reason()));
            assert!(read.delivery() >= sent.delivery() || sent.delivery() == Delivery::NotSent);
        }
        (sent, read) => panic!("{sent:?} became {read:?}"),
    }
}

fn message(headers: Option<HeaderMap>, payload: Bytes, status: Option<StatusCode>) -> Message {
    let subject = "reply".into();
    Message { subject, reply: None, payload, headers, status, description: None, length: 0 }
}

/// Makes a header block of lines with a colon; the last line without one is the payload.
fn message_of(bytes: &[u8]) -> (HeaderMap, Bytes) {
    let (mut map, mut payload) = (HeaderMap::new(), Bytes::new());
    for line in bytes.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            payload = Bytes::copy_from_slice(line);
            continue;
        };
        let text = String::from_utf8_lossy(line);
        let name = text.get(..colon).and_then(|name| name.parse::<HeaderName>().ok());
        let value = text.get(colon + 1..).and_then(|value| value.parse::<HeaderValue>().ok());
        if let (Some(name), Some(value)) = (name, value) {
            map.append(name, value);
        }
    }
    (map, payload)
}
