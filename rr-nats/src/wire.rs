//! Conversions between core types and NATS messages (docs/src/wire.md#nats): pure functions, no IO.

mod headers;
mod reply;
mod request;
mod status;
mod subject;

pub(crate) use headers::block_len;
pub(crate) use reply::{decode_reply, encode_reply, minimal};
pub(crate) use request::{decode_request, encode_request, inbound};
pub(crate) use subject::{CANCEL, SubscriptionSet, Token, cancel_subject, subject_of, target_of};

/// Header of a cancel message; its value is the reply subject of the call to cancel.
pub(crate) const RR_CANCEL: &str = "rr-cancel";
/// Header that marks an error reply (ADR-32); its value is the error's text, one line.
const SERVICE_ERROR: &str = "Nats-Service-Error";
/// Header that marks an error reply (ADR-32); its value is a number.
const SERVICE_ERROR_CODE: &str = "Nats-Service-Error-Code";
