//! Form of one line of a recording: one call as JSON.

use rr_spi::Idempotency;
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::failure::Failure;
use super::headers::Header;

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

/// Names of idempotencies.
const IDEMPOTENCIES: [&str; 4] = ["unspecified", "safe", "idempotent", "keyed"];

/// Returns the name of an idempotency that was read; `None` if it is unknown.
pub(super) fn read_idempotency(text: &str) -> Option<&'static str> {
    IDEMPOTENCIES.into_iter().find(|known| *known == text)
}

/// Returns the name of an idempotency, one of [`IDEMPOTENCIES`]; keys are headers.
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
