//! Key of a call, such as its tenant.

use std::sync::Arc;

use rr_spi::{Context, Request};

/// Longest key in bytes; a longer one is cut, since keys come from callers.
const KEY_BYTES_MAX: usize = 128;

/// Function that returns the key of a call.
pub(super) type KeyOf = dyn Fn(&Context, &Request) -> Option<String> + Send + Sync;

/// Returns the key of a call.
pub(super) fn key(key_of: Option<&KeyOf>, ctx: &Context, request: &Request) -> Option<Arc<str>> {
    let mut key = key_of?(ctx, request)?;
    let mut end = key.len().min(KEY_BYTES_MAX);
    while !key.is_char_boundary(end) {
        end -= 1;
    }
    key.truncate(end);
    Some(key.into())
}
