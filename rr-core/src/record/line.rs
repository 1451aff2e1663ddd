//! Form of one line of a recording: one call as JSON.

use rr_spi::{Headers, Idempotency, wire};
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::failure::Failure;

/// Version of the form. A reader ignores members that it does not know, so that members may be added
/// without another version.
pub(super) const VERSION: u64 = 1;

/// Longest line in bytes, including its end: two bodies of more than 3 MiB in any form.
pub(super) const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One call. The module's documentation describes the members.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Line {
    pub(super) v: u64,
    pub(super) n: u64,
    pub(super) at: String,
    pub(super) elapsed_us: u64,
    pub(super) target: String,
    pub(super) idempotency: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) timeout_us: Option<u64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) retries: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) inbound_retries: u32,
    pub(super) request: Message,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reply: Option<Message>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<Failure>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) dropped: bool,
}

/// Headers and body of a request or a reply.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Message {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) headers: Vec<Header>,
    #[serde(default, skip_serializing_if = "Body::is_empty")]
    pub(super) body: Body,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) dedup: Option<String>,
}

/// Name and value in their form on the wire; the value is missing if the redaction hides it.
pub(super) type Header = (String, Option<String>);

/// Returns the headers whose values are recorded; `None` if they do not fit the limits or grammar of
/// headers.
pub(super) fn read_headers(lines: &[Header]) -> Option<Headers> {
    let mut headers = Headers::new();
    let mut receive = |name: &str, value: &str| {
        let value = match Headers::is_binary_name(name) {
            true => wire::decode_binary(value.as_bytes())?,
            false => value.to_owned().into(),
        };
        use rr_spi::Received::{Kept, Reserved};
        matches!(headers.receive(name, value), Kept | Reserved).then_some(())
    };
    for (name, value) in lines {
        if let Some(value) = value {
            receive(name, value)?;
        }
    }
    Some(headers)
}

/// Returns the name of an idempotency; keys are headers.
pub(super) fn idempotency(idempotency: &Idempotency) -> &'static str {
    match idempotency {
        Idempotency::Safe => "safe",
        Idempotency::Idempotent => "idempotent",
        Idempotency::Keyed(_) => "keyed",
        _ => "unspecified",
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
