//! Announces how long an unused HTTP/1.1 connection is kept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Version, header};

use crate::wire::name::KEEP_ALIVE;

/// Idle timeout under which every reply carries the hint: load balancers keep connections for 60 s
/// by default, and would send a request while the server closes. With a longer timeout, the first
/// reply of a connection is enough.
const EVERY_REPLY_UNDER: Duration = Duration::from_secs(60);

/// Longest time that is announced.
const PROMISE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Hint of one connection: `keep-alive: timeout=75`, as Node and Apache send it.
pub(super) struct KeepAlive {
    idle_timeout: Duration,
    told: AtomicBool,
}

impl KeepAlive {
    pub(super) fn new(idle_timeout: Duration) -> Self {
        Self { idle_timeout, told: AtomicBool::new(false) }
    }

    /// Returns the hint for the reply to a request, if one is due.
    pub(super) fn due(&self, request: &Parts) -> Option<HeaderValue> {
        let is_due = self.idle_timeout < EVERY_REPLY_UNDER || !self.told.load(Ordering::Relaxed);
        // A client of HTTP/1.0, or one that closes, keeps no connection.
        let wants = request.headers.get(header::CONNECTION);
        let keeps = wants.is_none_or(|wants| wants.as_bytes().eq_ignore_ascii_case(b"keep-alive"));
        if !is_due || !keeps || request.version != Version::HTTP_11 {
            return None;
        }
        self.told.store(true, Ordering::Relaxed);
        let secs = self.idle_timeout.min(PROMISE_MAX).as_secs();
        HeaderValue::try_from(format!("timeout={secs}")).ok()
    }
}

/// Adds the hint to a reply, unless the reply closes its connection. Both lines belong together
/// (RFC 9110 §7.6.1).
pub(super) fn promise(hint: Option<HeaderValue>, reply: &mut HeaderMap) {
    if let Some(hint) = hint {
        if !reply.contains_key(header::CONNECTION) {
            reply.insert(header::CONNECTION, HeaderValue::from_static("keep-alive"));
            reply.insert(KEEP_ALIVE, hint);
        }
    }
}
