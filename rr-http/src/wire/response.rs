//! Replies that are received.

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderName, header};
use rr_spi::wire::{ErrorReply, RR_CODE, RR_DELIVERY, RR_REASON, RR_RETRY_AFTER_MS};
use rr_spi::{Delivery, Error, Headers, Received};

use super::headers;
use crate::error::{RawReply, bad_response, of_status};

/// Reads the head of a successful reply.
///
/// # Errors
///
/// `Internal`, `bad-response`, when its encoding is not identity; processed, as it is a success.
pub(crate) fn decode_response(parts: &Parts) -> Result<Headers, Error> {
    if let Some(encoding) = parts.headers.get(header::CONTENT_ENCODING) {
        if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") {
            let message = "the reply is compressed, which was not asked for";
            return Err(bad_response(Delivery::Processed, message));
        }
    }
    match headers::read(&parts.headers) {
        (_, Received::OverLimit) => {
            let message = "the reply has more than 64 headers or 16 KiB of them";
            Err(bad_response(Delivery::Processed, message))
        }
        (headers, _) => Ok(headers),
    }
}

/// Turns a reply other than a success into an error.
pub(crate) fn decode_error(parts: &Parts, body: Bytes) -> Error {
    let map = &parts.headers;
    let mut reply = ErrorReply::default();
    reply.code = single(map, RR_CODE);
    reply.reason = single(map, RR_REASON);
    reply.delivery = all(map, RR_DELIVERY);
    reply.retry_after_ms = all(map, RR_RETRY_AFTER_MS);
    // The content type is that of the error body, and says nothing to the application.
    reply.headers = headers::read(map).0;
    reply.headers.remove(rr_spi::wire::CONTENT_TYPE);
    if is_json(map) {
        reply.body = body.clone();
    }
    reply.decode(|| of_status(parts.status, map)).with_source(RawReply::new(parts.status, body))
}

/// Tells whether a body may be an error document: a page of somebody else's may hold anything.
fn is_json(map: &HeaderMap) -> bool {
    let kind = map.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

fn all<'a>(map: &'a HeaderMap, name: &'static str) -> Vec<&'a str> {
    let values = map.get_all(HeaderName::from_static(name)).iter();
    values.map(|value| value.to_str().unwrap_or_default()).collect()
}

fn single<'a>(map: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    match all(map, name)[..] {
        [only] => Some(only),
        _ => None,
    }
}
