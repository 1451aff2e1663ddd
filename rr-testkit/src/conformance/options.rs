//! What a case needs changed.

use std::time::Duration;

use rr_spi::{CallConfig, IntakeConfig};

/// What a case needs changed in the server and the requester that a harness starts.
///
/// The defaults are those of every transport; a harness passes on all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StartOptions {
    /// What the server grants: requests in flight, timeouts, longest bodies.
    pub server: IntakeConfig,
    /// How long the server waits for a peer that takes nothing of what it is sent. Default 30 s. A
    /// transport whose time is fixed keeps that time: the case about it then takes as long.
    pub write_timeout: Duration,
    /// What the requester grants to each call: time, longest bodies.
    pub calls: CallConfig,
}

impl Default for StartOptions {
    fn default() -> Self {
        Self {
            server: IntakeConfig::default(),
            write_timeout: Duration::from_secs(30),
            calls: CallConfig::default(),
        }
    }
}

impl StartOptions {
    /// Replaces what the server grants.
    #[must_use]
    pub fn with_server(mut self, server: IntakeConfig) -> Self {
        self.server = server;
        self
    }

    /// Replaces how long the server waits for a peer that takes nothing of what it is sent.
    #[must_use]
    pub fn with_write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// Replaces what the requester grants to each call.
    #[must_use]
    pub fn with_calls(mut self, calls: CallConfig) -> Self {
        self.calls = calls;
        self
    }
}
