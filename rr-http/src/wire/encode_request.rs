//! Encoding of requests.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request as HttpRequest, Uri, header};
use rr_spi::wire::{CONTENT_TYPE, RequestHeaders};
use rr_spi::{Context, Error, Idempotency, Request};

use super::{OCTET_STREAM, headers, name};

/// Capacity for the headers of every request, so that the map is allocated once.
const HEADERS_RESERVED: usize = 6;

/// Makes the head of a request in an empty map. [`set_timeout`] adds the timeout when the request
/// is about to leave.
///
/// # Errors
///
/// As [`headers::write`].
pub(crate) fn encode_request<B>(
    ctx: &Context,
    request: &Request,
    uri: Uri,
    host: Option<&HeaderValue>,
    mut map: HeaderMap,
    body: B,
) -> Result<HttpRequest<B>, Error> {
    let mut message = HttpRequest::new(body);
    *message.method_mut() = Method::POST;
    *message.uri_mut() = uri;
    map.reserve(HEADERS_RESERVED + request.headers.len());
    if let Some(host) = host {
        map.insert(header::HOST, host.clone());
    }
    map.insert(name::CONNECT_PROTOCOL_VERSION, HeaderValue::from_static("1"));
    headers::write(&request.headers, &mut map)?;
    if !request.headers.contains(CONTENT_TYPE) {
        map.insert(header::CONTENT_TYPE, HeaderValue::from_static(OCTET_STREAM));
    }
    for (name, value) in RequestHeaders::new(ctx, &request.idempotency).iter() {
        // The types of these values allow only visible ASCII.
        if let Ok(value) = HeaderValue::from_str(&value) {
            map.insert(HeaderName::from_static(name), value);
        }
    }
    *message.headers_mut() = map;
    Ok(message)
}

/// Turns the head of a safe call into that of a Connect GET, whose query carries the body: JSON as
/// text, any other codec as base64. Returns `false`, and changes nothing, when it must stay a POST.
pub(crate) fn turn_into_get<B>(
    message: &mut HttpRequest<B>,
    request: &Request,
    url_bytes_max: usize,
) -> bool {
    // Escapes and base64 only make the body longer.
    if request.body.len() >= url_bytes_max || request.idempotency != Idempotency::Safe {
        return false;
    }
    let content_type = message.headers().get(header::CONTENT_TYPE);
    let Some(codec) = content_type.and_then(codec_of) else { return false };
    let mut url = format!("{}?connect=v1&encoding={codec}", message.uri());
    if codec == "json" {
        url.push_str("&message=");
        percent_encode(&request.body, &mut url);
    } else {
        url.push_str("&base64=1&message=");
        URL_SAFE_NO_PAD.encode_string(&request.body, &mut url);
    }
    if url.len() > url_bytes_max {
        return false;
    }
    let Ok(uri) = Uri::try_from(url) else { return false };
    *message.uri_mut() = uri;
    *message.method_mut() = Method::GET;
    message.headers_mut().remove(header::CONTENT_TYPE);
    true
}

/// Returns the Connect codec of a content type, such as `json` for `application/json`. `None` for
/// `application/octet-stream`, and for a content type that names no codec or has parameters.
fn codec_of(content_type: &HeaderValue) -> Option<&str> {
    let codec = content_type.to_str().ok()?.strip_prefix("application/")?;
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (codec != "octet-stream" && codec.bytes().all(is_name)).then_some(codec)
}

fn percent_encode(bytes: &[u8], into: &mut String) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(into, "%{byte:02X}");
        }
    }
}

/// Sets the header of the time left, when the request is about to leave.
pub(crate) fn set_timeout(map: &mut HeaderMap, millis: Option<u64>) {
    match millis {
        Some(millis) => drop(map.insert(name::CONNECT_TIMEOUT_MS, headers::decimal(millis))),
        None => drop(map.remove(name::CONNECT_TIMEOUT_MS)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rr_spi::Declared;

    use super::*;
    use crate::wire::{Head, Lines};

    fn encoded(request: &Request) -> HttpRequest<()> {
        let host = HeaderValue::from_static("h");
        let ctx = Context::background();
        let uri = "/svc/m".parse().unwrap();
        encode_request(&ctx, request, uri, Some(&host), HeaderMap::new(), ()).unwrap()
    }

    fn json(body: Vec<u8>) -> Request {
        let mut headers = rr_spi::Headers::new();
        headers.insert("content-type", "application/json").unwrap();
        Request::new("svc.m".try_into().unwrap(), body).with_headers(headers)
    }

    #[test]
    fn only_a_safe_short_call_with_a_codec_becomes_a_get() {
        let safe = json(b"{}".to_vec()).with_idempotency(Idempotency::Safe);
        let mut message = encoded(&safe);
        assert!(turn_into_get(&mut message, &safe, 100));
        assert_eq!(message.uri(), "/svc/m?connect=v1&encoding=json&message=%7B%7D");
        assert!(!message.headers().contains_key(header::CONTENT_TYPE));
        assert!(!turn_into_get(&mut encoded(&safe), &safe, 40));
        assert!(!turn_into_get(&mut encoded(&safe), &safe, 0));
        let unsafe_call = json(b"{}".to_vec());
        assert!(!turn_into_get(&mut encoded(&unsafe_call), &unsafe_call, 100));
        let mut raw = safe;
        raw.headers = rr_spi::Headers::new();
        assert!(!turn_into_get(&mut encoded(&raw), &raw, 100));
    }

    #[test]
    fn a_codec_other_than_json_goes_as_base64() {
        let mut safe = json(vec![0xff, 0xfe]).with_idempotency(Idempotency::Safe);
        for (content_type, query) in [
            ("application/proto", Some("connect=v1&encoding=proto&base64=1&message=__4")),
            ("application/proto; charset=x", None),
            ("text/plain", None),
        ] {
            safe.headers = rr_spi::Headers::new();
            safe.headers.insert("content-type", content_type).unwrap();
            let mut message = encoded(&safe);
            assert_eq!(turn_into_get(&mut message, &safe, 100), query.is_some(), "{content_type}");
            assert_eq!(message.uri().query(), query);
        }
    }

    proptest! {
        #[test]
        fn a_get_reads_back_as_what_was_sent(body in prop::collection::vec(any::<u8>(), 0..60)) {
            let request = json(body.clone()).with_idempotency(Idempotency::Safe);
            let mut message = encoded(&request);
            prop_assert!(turn_into_get(&mut message, &request, 1000));
            let (parts, ()) = message.into_parts();
            let head = Head::read(&parts, &Lines::of(&parts.headers), Declared::Safe).unwrap();
            prop_assert_eq!(&head.message.unwrap()[..], &body[..]);
            prop_assert_eq!(head.common.headers, request.headers);
            prop_assert_eq!(head.common.idempotency, Idempotency::Safe);
        }
    }
}
