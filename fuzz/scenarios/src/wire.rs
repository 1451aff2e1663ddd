//! Parsers and encoders that all carriers share.

use bytes::Bytes;
use rr_core::transport::wire::{
    CallHeader, ErrorDocument, RequestHead, ResponseHead, decode_binary, decode_idempotency_key,
    encode_binary, encode_idempotency_key,
};
use rr_core::transport::{Location, duration};
use rr_core::{Delivery, Target};

/// Parses bytes as everything that arrives from outside, and encodes again what was accepted.
///
/// # Panics
///
/// When something accepted does not survive encoding and parsing.
pub fn wire(bytes: &[u8]) {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match first % 7 {
        0 => call_header(&text),
        1 => error_document(rest),
        2 => drop(duration::parse(&text)),
        3 => location(&text),
        4 => target(&text),
        5 => idempotency_key(&text),
        _ => heads(rest),
    }
    if let Some(decoded) = decode_binary(rest) {
        assert_eq!(decode_binary(encode_binary(&decoded).as_bytes()), Some(decoded));
    }
}

fn call_header(text: &str) {
    match CallHeader::decode(text) {
        Ok(header) => {
            let encoded = header.encode().unwrap_or_default();
            let again = CallHeader::decode(&encoded).expect("what was written is read");
            assert_eq!(again, header, "{encoded}");
        }
        Err(error) => assert_eq!(error.delivery(), Delivery::Rejected),
    }
}

fn error_document(body: &[u8]) {
    if let Some(document) = ErrorDocument::decode(body) {
        assert!(document.message.len() <= body.len() * 3, "longer than it came");
    }
}

fn location(text: &str) {
    if let Ok(location) = Location::parse(text) {
        let shown = format!("{location:?}");
        let authority = location.authority();
        // A text that occurs elsewhere in the URL may be shown from there.
        let is_secret = |secret: &str| secret.len() > 8 && text.matches(secret).count() == 1;
        if let Some((secret, _)) =
            authority.rsplit_once('@').filter(|(secret, _)| is_secret(secret))
        {
            assert!(!shown.contains(secret), "Debug shows the credentials");
        }
    }
}

fn target(text: &str) {
    if let Ok(target) = Target::parse(text) {
        assert_eq!(target.as_str(), text);
        assert!(text.len() <= 256);
    }
}

fn idempotency_key(text: &str) {
    if let Ok(key) = decode_idempotency_key(text) {
        let again = decode_idempotency_key(&encode_idempotency_key(&key));
        assert_eq!(again.expect("what was written is read"), key);
    }
}

/// Reads lines `name: value` as the headers of a request and of a reply.
fn heads(bytes: &[u8]) {
    let (mut request, mut reply) = (RequestHead::default(), ResponseHead::default());
    let mut refused = false;
    let mut body = Bytes::new();
    for line in bytes.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            body = Bytes::copy_from_slice(line);
            continue;
        };
        let (name, value) = (String::from_utf8_lossy(&line[..colon]), &line[colon + 1..]);
        if let Err(error) = request.receive(&name, value) {
            assert_eq!(error.delivery(), Delivery::Rejected);
            refused = true;
        }
        reply.receive(&name, value);
    }
    if !refused {
        let target = Target::try_from("orders.place").expect("a valid target");
        let seen = request.into_request(target, Bytes::new()).headers;
        for (name, _) in seen.iter() {
            assert!(!name.starts_with("rr") || !name[2..].starts_with('-'), "{name} is reserved");
        }
    }
    if let Err(error) = reply.outcome(body) {
        assert_ne!(error.delivery(), Delivery::NotSent, "it was answered");
    }
}
