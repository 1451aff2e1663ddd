//! Between core types and NATS messages (docs/src/wire.md#nats): pure functions, no IO.

mod headers;
mod reply;
mod request;
mod status;
mod subject;

pub(crate) use headers::block_len;
pub(crate) use reply::{decode_reply, encode_reply, minimal};
pub(crate) use request::{decode_request, encode_request, inbound};
pub(crate) use subject::{CANCEL, SubscriptionSet, Token, cancel_subject, subject_of, target_of};

/// The header of a cancel message: the reply subject of the call that it ends.
pub(crate) const RR_CANCEL: &str = "rr-cancel";
/// Marks an error reply (ADR-32): its text, one line.
const SERVICE_ERROR: &str = "Nats-Service-Error";
/// Marks an error reply (ADR-32): a number.
const SERVICE_ERROR_CODE: &str = "Nats-Service-Error-Code";
