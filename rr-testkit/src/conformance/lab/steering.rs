//! The request headers that control the lab.

use std::str::FromStr;
use std::time::Duration;

use rr_spi::Headers;

pub(super) const KEY: &str = "lab-key";
pub(super) const SLEEP_MS: &str = "lab-sleep-ms";
pub(super) const HANG: &str = "lab-hang";
pub(super) const GATE: &str = "lab-gate";
pub(super) const SHIELD_MS: &str = "lab-shield-ms";
pub(super) const WATCH: &str = "lab-watch";
pub(super) const PANIC: &str = "lab-panic";
pub(super) const FAIL: &str = "lab-fail";
pub(super) const MESSAGE: &str = "lab-message";
pub(super) const MESSAGE_BYTES: &str = "lab-message-bytes";
pub(super) const REASON: &str = "lab-reason";
pub(super) const DETAILS: &str = "lab-details";
pub(super) const DETAIL_BYTES: &str = "lab-detail-bytes";
pub(super) const RETRY_MS: &str = "lab-retry-ms";
pub(super) const RETRY_US: &str = "lab-retry-us";
pub(super) const SOURCE: &str = "lab-source";
pub(super) const APP: &str = "lab-app";
pub(super) const REPLY_BYTES: &str = "lab-reply-bytes";
pub(super) const REPLY_HEADERS: &str = "lab-reply-headers";
pub(super) const REPLY_HEADER_BYTES: &str = "lab-reply-header-bytes";
pub(super) const ECHO: &str = "lab-echo";
pub(super) const TRAILERS: &str = "lab-trailers";
pub(super) const REPORT: &str = "lab-report";
pub(super) const ONWARD: &str = "lab-onward";
pub(super) const ONWARD_TARGET: &str = "lab-onward-target";
pub(super) const ONWARD_TIMEOUT_MS: &str = "lab-onward-timeout-ms";
pub(super) const EXPOSE: &str = "lab-expose";

/// View of the control headers of a request.
#[derive(Clone, Copy)]
pub(super) struct Steering<'a>(pub(super) &'a Headers);

impl<'a> Steering<'a> {
    pub(super) fn has(self, name: &str) -> bool {
        self.0.contains(name)
    }

    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        self.0.get(name)
    }

    pub(super) fn number<N: FromStr>(self, name: &str) -> Option<N> {
        self.text(name)?.parse().ok()
    }

    pub(super) fn millis(self, name: &str) -> Option<Duration> {
        self.number(name).map(Duration::from_millis)
    }
}
