//! What a case needs changed.

use std::time::Duration;

use rr_spi::{IntakeConfig, Limits, defaults};

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
    /// The requester's time for a call whose context has no deadline. Default 10 s.
    pub client_timeout: Duration,
    /// The requester's longest bodies. Default 1 MiB less 32 KiB each way.
    pub client_limits: Limits,
}

impl Default for StartOptions {
    fn default() -> Self {
        Self {
            server: IntakeConfig::default(),
            write_timeout: Duration::from_secs(30),
            client_timeout: defaults::CLIENT_TIMEOUT,
            client_limits: Limits::default(),
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

    /// Replaces the requester's time for a call whose context has no deadline.
    #[must_use]
    pub fn with_client_timeout(mut self, timeout: Duration) -> Self {
        self.client_timeout = timeout;
        self
    }

    /// Replaces the requester's longest bodies.
    #[must_use]
    pub fn with_client_limits(mut self, limits: Limits) -> Self {
        self.client_limits = limits;
        self
    }
}
