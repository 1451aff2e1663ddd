//! Between core types and HTTP: pure functions, no IO.

mod head;
mod headers;
mod path;
mod query;
mod reply;
mod request;
mod response;

pub(crate) use head::{Coding, Head, Refusal, check_host};
pub(crate) use path::{decode_path, encode_path};
pub(crate) use reply::{ReplyStyle, encode_error, encode_health, encode_response};
pub(crate) use request::{encode_request, set_timeout, turn_into_get};
pub(crate) use response::{decode_error, decode_response};

use http::HeaderName;

/// Names that the `http` crate has no constant for.
pub(crate) mod name {
    use super::HeaderName;
    use rr_spi::wire;

    pub(crate) const CONNECT_PROTOCOL_VERSION: HeaderName =
        HeaderName::from_static("connect-protocol-version");
    pub(crate) const CONNECT_TIMEOUT_MS: HeaderName = HeaderName::from_static("connect-timeout-ms");
    pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
    pub(crate) const RR: HeaderName = HeaderName::from_static(wire::RR);
    pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static(wire::IDEMPOTENCY_KEY);
    pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static(wire::REQUEST_ID);
    pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static(wire::TRACEPARENT);
    pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static(wire::TRACESTATE);
    pub(crate) const BAGGAGE: HeaderName = HeaderName::from_static(wire::BAGGAGE);
    pub(crate) const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
}

/// The content type that stands for "none": raw bytes (RFC 9110 §8.3).
pub(crate) const OCTET_STREAM: &str = "application/octet-stream";

/// The content type of JSON, and of every error body.
pub(crate) const JSON: &str = "application/json";
