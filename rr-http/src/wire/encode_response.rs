//! Encoding of replies.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response as HttpResponse, StatusCode, header};
use rr_spi::wire::{CONTENT_TYPE, ErrorDocument, ErrorHeaders, RR_DEDUP, status_of};
use rr_spi::{Code, Delivery, Error, Readiness, Reason, Response, RetryHint};

use super::refusal::Refusal;
use super::{JSON, OCTET_STREAM, headers};

/// Content type of a refusal at the HTTP level.
const TEXT: &str = "text/plain; charset=utf-8";

/// Header that lists the content types that a POST may have (W3C Linked Data Platform §7.1).
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// A reply with its whole body.
type Reply = HttpResponse<Bytes>;

/// Properties of the request and the connection that determine the form of a reply.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReplyStyle {
    /// Reply to GET or HEAD: caches must not store it.
    pub(crate) is_get: bool,
    /// Reply to HEAD: the head only.
    pub(crate) is_head: bool,
    /// Last reply on an HTTP/1 connection.
    pub(crate) closes: bool,
}

/// Makes the headers of a response, in an empty map.
///
/// # Errors
///
/// `Internal`, processed, when the handler's headers do not fit HTTP.
pub(crate) fn encode_head(
    response: &Response,
    request_type: Option<&HeaderValue>,
    mut map: HeaderMap,
) -> Result<HeaderMap, Error> {
    map.reserve(3 + response.headers.len());
    if headers::write(&response.headers, &mut map).is_err() {
        let (code, reason) = (Code::Internal, Reason::BAD_RESPONSE);
        let text = "the handler's headers do not fit HTTP";
        return Err(Error::failure(code, Delivery::Processed, reason, text));
    }
    if !response.headers.contains(CONTENT_TYPE) {
        let own = if response.is_text() { TEXT } else { OCTET_STREAM };
        let own = || HeaderValue::from_static(own);
        map.insert(header::CONTENT_TYPE, request_type.map_or_else(own, HeaderValue::clone));
    }
    if let Some(dedup) = response.dedup() {
        map.insert(HeaderName::from_static(RR_DEDUP), HeaderValue::from_static(dedup.as_str()));
    }
    Ok(map)
}

/// Makes the reply of a handler that succeeded; `map` is that of [`encode_head`].
pub(crate) fn encode_response(response: Response, map: HeaderMap, style: ReplyStyle) -> Reply {
    finish(StatusCode::OK, map, response.body, style)
}

fn status(error: &Error) -> StatusCode {
    StatusCode::from_u16(status_of(error)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Makes the reply for a request that failed or was refused.
pub(crate) fn encode_error(refusal: &Refusal, style: ReplyStyle) -> Reply {
    let error = &refusal.error;
    let status = refusal.status.unwrap_or_else(|| status(error));
    let mut map = HeaderMap::with_capacity(8 + error.headers().len());
    // Drops headers that do not fit, and keeps the error.
    if headers::write(error.headers(), &mut map).is_err() {
        map.clear();
    }
    let is_text = is_of_protocol(status, refusal);
    let content_type = if is_text { TEXT } else { JSON };
    map.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    for (name, value) in ErrorHeaders::of(error).iter() {
        if let Ok(value) = HeaderValue::from_str(value) {
            map.insert(HeaderName::from_static(name), value);
        }
    }
    if let (Code::Unavailable, RetryHint::After(after)) = (error.code(), error.retry()) {
        // Whole seconds, rounded up: the client must not retry too early.
        map.insert(header::RETRY_AFTER, HeaderValue::from(after.as_millis().div_ceil(1000) as u64));
    }
    if let Some(methods) = refusal.allow {
        map.insert(header::ALLOW, HeaderValue::from_static(methods));
    }
    if let Some(encodings) = refusal.accept_encoding {
        map.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(encodings));
    }
    if is_text && status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        map.insert(ACCEPT_POST, HeaderValue::from_static(JSON));
    }
    let style = ReplyStyle { closes: style.closes || refusal.closes, ..style };
    let body = match is_text {
        true => Bytes::from(format!("{}\n", error.message())),
        false => ErrorDocument::encode(error),
    };
    finish(status, map, body, style)
}

/// Returns whether the refusal is at the HTTP level. Connect clients infer the code of such a reply
/// from its status; its body is therefore not a Connect error.
fn is_of_protocol(status: StatusCode, refusal: &Refusal) -> bool {
    status == StatusCode::METHOD_NOT_ALLOWED
        || (status == StatusCode::UNSUPPORTED_MEDIA_TYPE
            && refusal.accept_encoding.is_none()
            // A handler's own error may have details, which text would lose.
            && refusal.error.details().is_empty())
}

/// Makes the answer to a health check: 503 unless the server is ready, so that no new work comes.
pub(crate) fn encode_health(readiness: &Readiness, style: ReplyStyle) -> Reply {
    let status = match readiness {
        Readiness::Ready => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    finish(status, json(), readiness.document(), ReplyStyle { is_get: true, ..style })
}

/// Makes the answer to the question whether this process answers.
pub(crate) fn encode_live(style: ReplyStyle) -> Reply {
    let body = Bytes::from_static(br#"{"status":"live"}"#);
    finish(StatusCode::OK, json(), body, ReplyStyle { is_get: true, ..style })
}

/// Makes the headers of a JSON document.
fn json() -> HeaderMap {
    let mut map = HeaderMap::with_capacity(4);
    map.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    map
}

/// Makes the reply that describes the services.
pub(crate) fn encode_descriptions(body: Bytes, style: ReplyStyle) -> Reply {
    finish(StatusCode::OK, json(), body, style)
}

/// Makes a reply that has headers only.
pub(crate) fn encode_no_content(map: HeaderMap, style: ReplyStyle) -> Reply {
    finish(StatusCode::NO_CONTENT, map, Bytes::new(), style)
}

fn finish(status: StatusCode, mut map: HeaderMap, body: Bytes, style: ReplyStyle) -> Reply {
    if style.is_get {
        let caching = map.entry(header::CACHE_CONTROL);
        caching.or_insert_with(|| HeaderValue::from_static("no-store"));
    }
    if style.closes {
        map.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let body = if style.is_head {
        map.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        Bytes::new()
    } else {
        body
    };
    let mut reply = HttpResponse::new(body);
    *reply.status_mut() = status;
    *reply.headers_mut() = map;
    reply
}
