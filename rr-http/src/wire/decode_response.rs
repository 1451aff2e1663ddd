//! Decoding of replies.

use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderName, StatusCode, header};
use rr_spi::wire::{CONTENT_TYPE, ErrorDocument, ResponseHead};
use rr_spi::{Code, Delivery, Error, Headers, Response};

use super::accept_encoding::is_asked_for;
use super::content_encoding::Coding;
use super::status::of_status;
use super::{JSON, headers, name};
use crate::compression::Codec;
use crate::config::{HttpEncoding, HttpStatusCodes};
use crate::error::{RawReply, bad_response};

/// Reads the head of a successful reply, before its body.
///
/// # Errors
///
/// `Internal`, processed, `bad-response`, when the content encoding was not asked for, the transfer
/// encoding is not chunked, or there are too many headers.
pub(crate) fn decode_response(
    parts: &Parts,
    asked: HttpEncoding,
) -> Result<(Response, Option<Codec>), Error> {
    let codec = codec_of(&parts.headers, asked)
        .map_err(|message| bad_response(Delivery::Processed, message))?;
    Ok((read(&parts.headers).into_response(Bytes::new())?, codec))
}

fn read(map: &HeaderMap) -> ResponseHead<'_> {
    let mut head = ResponseHead::default();
    for (name, value) in headers::visible(map) {
        head.receive(name, value);
    }
    head
}

/// Checks the body of a successful reply against its status.
///
/// # Errors
///
/// `Internal`, processed, `bad-response`, when a call whose content type is JSON, such as a typed
/// call, gets a success other than 200 without a body: there is no result to decode.
pub(crate) fn check_body(status: StatusCode, body: &Bytes, called: &Headers) -> Result<(), Error> {
    if status == StatusCode::OK || !body.is_empty() || !is_json(called.get(CONTENT_TYPE)) {
        return Ok(());
    }
    let message = "the reply is a success without a body, and not status 200";
    Err(bad_response(Delivery::Processed, message))
}

fn is_json(content_type: Option<&str>) -> bool {
    let media_type = content_type.and_then(|text| text.split(';').next());
    media_type.is_some_and(|text| text.trim().eq_ignore_ascii_case(JSON))
}

/// Returns the codec of the body of a reply, `None` for identity.
///
/// # Errors
///
/// Why the body cannot be decoded.
pub(crate) fn codec_of(
    map: &HeaderMap,
    asked: HttpEncoding,
) -> Result<Option<Codec>, &'static str> {
    if !carries(map, &[header::CONTENT_ENCODING, header::TRANSFER_ENCODING]) {
        return Ok(None);
    }
    if let Some(message) = encoded_for_transfer(map) {
        return Err(message);
    }
    match Coding::of(map) {
        Coding::Identity => Ok(None),
        Coding::Encoded(codec) if is_asked_for(codec, asked) => Ok(Some(codec)),
        _ => Err("the reply is compressed in a way that was not asked for"),
    }
}

/// Returns why the body is not what the application sent, or `None` when it is.
fn encoded_for_transfer(map: &HeaderMap) -> Option<&'static str> {
    // Hyper decodes `chunked`, the last coding, and leaves the others.
    let mut transfer = map.get_all(header::TRANSFER_ENCODING).iter();
    let first = transfer.next()?;
    let plain = first.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    (!plain || transfer.next().is_some()).then_some("the reply has a transfer encoding of its own")
}

/// Returns the members of a list (RFC 9110 §5.6.1).
fn tokens(value: &http::HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// Turns a reply other than a success into an error.
pub(crate) fn decode_error(parts: &Parts, body: Bytes, codes: HttpStatusCodes) -> Error {
    let map = &parts.headers;
    let mut head = read(map);
    // The content type describes the error body, and is not a header of the application.
    head.headers.remove(CONTENT_TYPE);
    let document = head.code().and_then(|code| text_document(map, code, &body));
    head.into_error(document.as_ref().unwrap_or(&body), || of_status(parts.status, map, codes))
        .with_source(RawReply::new(parts.status, body))
}

/// Returns the error document for the plain text of rr's 405 and 415 replies. `rr-code` determines
/// the code.
fn text_document(map: &HeaderMap, code: Code, body: &Bytes) -> Option<Bytes> {
    let is_text = map.get(header::CONTENT_TYPE)?.as_bytes().starts_with(b"text/plain");
    let text = std::str::from_utf8(body).ok().filter(|_| is_text)?;
    let text = text.strip_suffix('\n').unwrap_or(text).to_owned();
    Some(ErrorDocument::encode(&Error::failure(code, Delivery::Unknown, None, text)))
}

/// Returns whether one of the names is present. A reply has few headers: one pass costs less than a
/// lookup of each name.
fn carries(map: &HeaderMap, names: &[HeaderName]) -> bool {
    map.keys().any(|name| names.contains(name))
}

/// Shortest time before the server closes an unused connection at which calls no longer use it: a
/// request that crosses with the close is lost without notice.
const GRANT_MARGIN_MIN: Duration = Duration::from_secs(1);

/// Returns how long an unused connection may be kept according to the server's `keep-alive`, less a
/// tenth and at least a second. Returns zero when the timeout is malformed, and `None` when there
/// is none.
pub(crate) fn granted(map: &HeaderMap) -> Option<Duration> {
    if !carries(map, &[name::KEEP_ALIVE]) {
        return None;
    }
    let members = map.get_all(name::KEEP_ALIVE).iter().flat_map(tokens);
    let grants = members.filter_map(|member| {
        let (key, seconds) = std::str::from_utf8(member).ok()?.split_once('=')?;
        let seconds = seconds.trim().trim_matches('"');
        key.trim().eq_ignore_ascii_case("timeout").then(|| seconds.parse::<u32>().unwrap_or(0))
    });
    let granted = Duration::from_secs(grants.min()?.into());
    Some(granted.saturating_sub(GRANT_MARGIN_MIN.max(granted / 10)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn map(name: &'static str, values: &[&'static str]) -> HeaderMap {
        let pairs = values.iter().map(|value| (name, HeaderValue::from_static(value)));
        pairs.map(|(name, value)| (HeaderName::from_static(name), value)).collect()
    }

    #[test]
    fn only_identity_and_chunked_leave_the_body_as_it_was_sent() {
        for plain in [&[][..], &[""], &["identity"], &["Identity", "identity"], &["identity, "]] {
            let map = map("content-encoding", plain);
            assert_eq!(codec_of(&map, HttpEncoding::None), Ok(None), "{plain:?}");
        }
        for other in [&["gzip"][..], &["identity", "gzip"], &["identity, gzip"], &["x"]] {
            let map = map("content-encoding", other);
            assert!(codec_of(&map, HttpEncoding::None).is_err(), "{other:?}");
            let gzip = codec_of(&map, HttpEncoding::Gzip);
            assert_eq!(gzip.is_ok_and(|codec| codec == Some(Codec::Gzip)), other != ["x"]);
        }
        for other in [&["gzip, gzip"][..], &["gzip", "br"], &["zstd"]] {
            let map = map("content-encoding", other);
            assert!(codec_of(&map, HttpEncoding::Gzip).is_err(), "{other:?}");
        }
        let encoded = |map: &HeaderMap| codec_of(map, HttpEncoding::Gzip).err();
        for plain in [&[][..], &["chunked"], &["Chunked"]] {
            assert_eq!(encoded(&map("transfer-encoding", plain)), None, "{plain:?}");
        }
        for other in [&["gzip, chunked"][..], &["gzip", "chunked"], &["gzip"], &[""]] {
            assert!(encoded(&map("transfer-encoding", other)).is_some(), "{other:?}");
        }
    }

    #[test]
    fn a_grant_is_used_up_to_a_margin_before_its_end() {
        let secs = |values: &[&'static str]| granted(&map("keep-alive", values));
        assert_eq!(secs(&["timeout=5, max=100"]), Some(Duration::from_secs(4)));
        assert_eq!(secs(&["max=100, Timeout = \"60\""]), Some(Duration::from_secs(54)));
        assert_eq!(secs(&["timeout=60", "timeout=5"]), Some(Duration::from_secs(4)));
        for none in ["timeout=1", "timeout=0", "timeout=soon", "timeout=-1", "timeout="] {
            assert_eq!(secs(&[none]), Some(Duration::ZERO), "{none}");
        }
        for silent in [&[][..], &["max=5"], &["timeout"]] {
            assert_eq!(secs(silent), None, "{silent:?}");
        }
    }

    #[test]
    fn only_a_typed_call_needs_a_body_with_another_status_than_200() {
        let called = |content_type: &'static str| {
            let mut headers = Headers::new();
            headers.insert(CONTENT_TYPE, content_type).unwrap();
            headers
        };
        let check = |status: u16, body: &'static str, called: &Headers| {
            check_body(StatusCode::from_u16(status).unwrap(), &body.into(), called).is_ok()
        };
        for json in ["application/json", "Application/JSON; charset=utf-8"] {
            let called = called(json);
            assert!(check(200, "", &called) && check(201, "{}", &called), "{json}");
            assert!(!check(202, "", &called) && !check(204, "", &called), "{json}");
        }
        assert!(check(204, "", &called("text/plain")) && check(204, "", &Headers::new()));
    }
}
