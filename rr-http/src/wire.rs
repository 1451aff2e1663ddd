//! Conversion between core types and HTTP: pure functions, no IO.

mod accept_encoding;
mod content_encoding;
mod decode_request;
mod decode_response;
mod encode_request;
mod encode_response;
mod framing;
mod headers;
mod known_headers;
mod path;
mod query;
mod refusal;
mod replay;
mod status;

pub(crate) use accept_encoding::{ask_for, negotiate};
pub(crate) use content_encoding::{Coding, unsupported_coding};
pub(crate) use decode_request::Head;
pub(crate) use decode_response::{check_body, codec_of, decode_error, decode_response, granted};
pub(crate) use encode_request::{encode_request, set_timeout, turn_into_get};
pub(crate) use encode_response::{
    ReplyStyle, encode_descriptions, encode_error, encode_head, encode_health, encode_live,
    encode_no_content, encode_response,
};
pub(crate) use framing::check_framing;
pub(crate) use headers::{decimal, emptied};
pub(crate) use known_headers::Lines;
pub(crate) use path::{decode_path, encode_path};
pub(crate) use refusal::Refusal;
pub(crate) use replay::is_replayable;

use http::HeaderName;

/// Longest HTTP/2 frame that either end accepts, in bytes: a body of this length arrives in one
/// frame, and is not joined from several. HTTP/2's default is 16 KiB.
pub(crate) const FRAME_BYTES_MAX: u32 = 64 * 1024;

/// Longest HTTP/2 header list that either end accepts, in bytes as HTTP/2 counts them: 32 more for
/// each entry. Holds 64 headers of 16 KiB as base64, and the longest baggage.
pub(crate) const HEADER_LIST_BYTES_MAX: u32 = 48 * 1024;

/// Names that the `http` crate has no constant for.
pub(crate) mod name {
    use super::HeaderName;

    pub(crate) const CONNECT_PROTOCOL_VERSION: HeaderName =
        HeaderName::from_static("connect-protocol-version");
    pub(crate) const CONNECT_TIMEOUT_MS: HeaderName = HeaderName::from_static("connect-timeout-ms");
    pub(crate) const IDEMPOTENCY_KEY: HeaderName =
        HeaderName::from_static(rr_spi::wire::IDEMPOTENCY_KEY);
    pub(crate) const X_IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("x-idempotency-key");
    pub(crate) const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
}

/// Content type of raw bytes, equivalent to none (RFC 9110 §8.3).
pub(crate) const OCTET_STREAM: &str = "application/octet-stream";

/// The content type of JSON, and of every error body.
pub(crate) const JSON: &str = "application/json";
