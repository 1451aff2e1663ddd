//! Options with which a case starts a transport.

use std::time::Duration;

use rr_spi::{CallConfig, IntakeConfig};

/// Options of the server and the requester that a harness starts for a case.
///
/// The defaults are those of every transport. A harness must apply every option.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StartOptions {
    /// Limits of the server: requests in flight, timeouts, body sizes.
    pub server: IntakeConfig,
    /// Time after which the server closes the connection of a peer that does not read. Default
    /// 30 s. A transport with a fixed timeout keeps that timeout; the case that tests it then takes
    /// that long.
    pub write_timeout: Duration,
    /// Limits of each call at the requester: timeout, body sizes.
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
    setters! {
        /// Sets the limits of the server.
        with_server(server: IntakeConfig) sets server = server;
        /// Sets the time after which the server closes the connection of a peer that does not read.
        with_write_timeout(timeout: Duration) sets write_timeout = timeout;
        /// Sets the limits of each call at the requester.
        with_calls(calls: CallConfig) sets calls = calls;
    }
}
