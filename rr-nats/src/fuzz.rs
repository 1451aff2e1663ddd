//! Wire functions as the fuzz targets call them; not part of the public API.

use async_nats::{HeaderMap, Message};
use rr_spi::{Context, Error, Request, Response, Target};

use crate::wire;

/// Reads the header block of a request into a request without a body.
///
/// # Errors
///
/// The refusal that the server answers with, `Rejected`.
pub fn decode_request(map: &HeaderMap, target: Target) -> Result<Request, Error> {
    let head = wire::decode_request(map)?;
    let mut request = Request::new(target, "").with_idempotency(head.idempotency);
    request.headers = head.headers;
    Ok(request)
}

/// Writes the header block of a request.
#[must_use]
pub fn encode_request(request: &Request) -> Option<HeaderMap> {
    wire::encode_request(&Context::background(), request, None, None)
}

/// Reads a reply.
///
/// # Errors
///
/// The error that a requester returns.
pub fn decode_reply(target: &Target, message: Message) -> Result<Response, Error> {
    wire::decode_reply(target, message)
}

/// Writes header block and body of a reply.
#[must_use]
pub fn encode_reply(outcome: Result<Response, Error>) -> (Option<HeaderMap>, rr_spi::Bytes) {
    wire::encode_reply(outcome)
}

/// Returns the target that a subject names under a prefix, if any.
#[must_use]
pub fn target_of<'a>(prefix: &str, subject: &'a str) -> Option<&'a str> {
    wire::target_of(prefix, subject)
}
