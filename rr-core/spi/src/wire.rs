//! Wire encoding that all transports share (docs/src/wire.md): pure functions, no IO.

mod call_header;
mod error_document;
mod field;
mod idempotency_key;
mod percent;
mod request_headers;
mod response_headers;
mod status;

pub use call_header::CallHeader;
pub use error_document::ErrorDocument;
pub use idempotency_key::{decode_idempotency_key, encode_idempotency_key};
pub use percent::percent_decode;
pub use request_headers::{RequestHead, RequestHeaders};
pub use response_headers::{ErrorHeaders, ResponseHead};
pub use status::status_of;

pub use crate::headers::{CONTENT_TYPE, decode_binary, encode_binary};
pub use crate::spent::RR_SPENT;

/// The target of a page for operators, which HTTP also serves at `/.well-known/rr/debug`.
pub const DEBUG_TARGET: &str = "rr.debug";
/// The header of a request that carries timeout, time of sending, retries and idempotency.
pub const RR: &str = "rr";
/// The code of an error reply, in lower snake case.
pub const RR_CODE: &str = "rr-code";
/// The reason token of an error reply.
pub const RR_REASON: &str = "rr-reason";
/// Whether the handler ran: `rejected`, `unknown` or `processed`.
pub const RR_DELIVERY: &str = "rr-delivery";
/// The retry hint in milliseconds; a negative number means never.
pub const RR_RETRY_AFTER_MS: &str = "rr-retry-after-ms";
/// Set on replies to keyed requests by a responder that deduplicates.
pub const RR_DEDUP: &str = "rr-dedup";
/// The key of a keyed request.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The request id, which is passed on over every hop.
pub const REQUEST_ID: &str = "x-request-id";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// W3C trace context.
pub const TRACESTATE: &str = "tracestate";
/// W3C baggage.
pub const BAGGAGE: &str = "baggage";
