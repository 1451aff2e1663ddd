//! What a transport can do.

use std::fmt;

/// One thing that a transport may be unable to do, and that some cases need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Capability {
    /// A cancelled or dropped call reaches the handler before its deadline.
    Cancel,
    /// The requester has a configuration of its own, apart from the server's.
    ClientConfig,
    /// The server can be drained.
    Drain,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancel => "cancel",
            Self::ClientConfig => "client config",
            Self::Drain => "drain",
        })
    }
}

/// What a transport can do: by default, everything.
///
/// # Examples
///
/// ```
/// use rr_testkit::conformance::Capabilities;
///
/// let capabilities = Capabilities::default().with_drain(false).with_parallel_max(200);
/// assert!(capabilities.cancel && !capabilities.drain);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Whether a cancelled or dropped call reaches the handler before its deadline. Default true.
    pub cancel: bool,
    /// Whether the requester's timeout and limits are its own, apart from the server's. Default
    /// true.
    pub client_config: bool,
    /// Whether the server can be drained. Default true.
    pub drain: bool,
    /// Most calls in flight at once, such as the number of sockets allows. Default 1000; at
    /// least 64.
    pub parallel_max: usize,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self { cancel: true, client_config: true, drain: true, parallel_max: 1000 }
    }
}

impl Capabilities {
    /// Says whether a cancelled or dropped call reaches the handler.
    #[must_use]
    pub fn with_cancel(mut self, supported: bool) -> Self {
        self.cancel = supported;
        self
    }

    /// Says whether the requester's timeout and limits are its own.
    #[must_use]
    pub fn with_client_config(mut self, supported: bool) -> Self {
        self.client_config = supported;
        self
    }

    /// Says whether the server can be drained.
    #[must_use]
    pub fn with_drain(mut self, supported: bool) -> Self {
        self.drain = supported;
        self
    }

    /// Says how many calls may be in flight at once.
    #[must_use]
    pub fn with_parallel_max(mut self, calls: usize) -> Self {
        self.parallel_max = calls;
        self
    }

    /// Tells whether one of them is there.
    #[must_use]
    pub fn has(&self, capability: Capability) -> bool {
        match capability {
            Capability::Cancel => self.cancel,
            Capability::ClientConfig => self.client_config,
            Capability::Drain => self.drain,
        }
    }
}
