//! The capabilities of a transport.

use std::fmt;

/// Optional ability of a transport that some cases need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Capability {
    /// A cancelled or dropped call reaches the handler before its deadline.
    Cancel,
    /// The requester's timeout and limits are configured separately from the server's.
    ClientConfig,
    /// The link between requesters and server can be cut in the middle of a message.
    Cut,
    /// The harness provides a middleware that suppresses duplicates.
    Dedup,
    /// The server can be drained.
    Drain,
    /// The link between requesters and server can be cut.
    Link,
    /// A foreign peer can read and write the wire format directly.
    Raw,
    /// The server can be killed and started again at the same address.
    Restart,
    /// The harness provides typed calls.
    Typed,
}

impl Capability {
    /// All capabilities, ordered by name.
    pub const ALL: &'static [Self] = &[
        Self::Cancel,
        Self::ClientConfig,
        Self::Cut,
        Self::Dedup,
        Self::Drain,
        Self::Link,
        Self::Raw,
        Self::Restart,
        Self::Typed,
    ];
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancel => "cancel",
            Self::ClientConfig => "client config",
            Self::Cut => "cut",
            Self::Dedup => "dedup",
            Self::Drain => "drain",
            Self::Link => "link",
            Self::Raw => "raw",
            Self::Restart => "restart",
            Self::Typed => "typed",
        })
    }
}

/// Capabilities of a transport. By default all but typed calls and the suppression of duplicates,
/// which other crates provide.
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
    /// Whether the requester's timeout and limits are configured separately from the server's.
    /// Default true.
    pub client_config: bool,
    /// Whether [`Rig::cut_after`](super::Rig::cut_after) is implemented. Default true.
    pub cut: bool,
    /// Whether [`Harness::dedup`](super::Harness::dedup) is implemented. Default false.
    pub dedup: bool,
    /// Whether the server can be drained. Default true.
    pub drain: bool,
    /// Whether [`Rig::kill_link`](super::Rig::kill_link) and
    /// [`Rig::restore_link`](super::Rig::restore_link) are implemented. Default true.
    pub link: bool,
    /// Whether [`Rig::raw`](super::Rig::raw) is implemented. Default true.
    pub raw: bool,
    /// Whether [`Rig::restart`](super::Rig::restart) is implemented. Default true.
    pub restart: bool,
    /// Whether [`Harness::typed`](super::Harness::typed) is implemented. Default false.
    pub typed: bool,
    /// Maximum number of concurrent calls, for example limited by the number of sockets. Default
    /// 1500; at least 64.
    pub parallel_max: usize,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            cancel: true,
            client_config: true,
            cut: true,
            dedup: false,
            drain: true,
            link: true,
            raw: true,
            restart: true,
            typed: false,
            parallel_max: 1500,
        }
    }
}

impl Capabilities {
    /// Sets whether a cancelled or dropped call reaches the handler.
    #[must_use]
    pub fn with_cancel(mut self, supported: bool) -> Self {
        self.cancel = supported;
        self
    }

    /// Sets whether the requester's timeout and limits are configured separately.
    #[must_use]
    pub fn with_client_config(mut self, supported: bool) -> Self {
        self.client_config = supported;
        self
    }

    /// Sets whether the link can be cut in the middle of a message.
    #[must_use]
    pub fn with_cut(mut self, supported: bool) -> Self {
        self.cut = supported;
        self
    }

    /// Sets whether the harness provides a middleware that suppresses duplicates.
    #[must_use]
    pub fn with_dedup(mut self, supported: bool) -> Self {
        self.dedup = supported;
        self
    }

    /// Sets whether the server can be drained.
    #[must_use]
    pub fn with_drain(mut self, supported: bool) -> Self {
        self.drain = supported;
        self
    }

    /// Sets whether the link can be cut.
    #[must_use]
    pub fn with_link(mut self, supported: bool) -> Self {
        self.link = supported;
        self
    }

    /// Sets whether a foreign peer can read and write the wire format directly.
    #[must_use]
    pub fn with_raw(mut self, supported: bool) -> Self {
        self.raw = supported;
        self
    }

    /// Sets whether the server can be killed and started again.
    #[must_use]
    pub fn with_restart(mut self, supported: bool) -> Self {
        self.restart = supported;
        self
    }

    /// Sets whether the harness provides typed calls.
    #[must_use]
    pub fn with_typed(mut self, supported: bool) -> Self {
        self.typed = supported;
        self
    }

    /// Sets the maximum number of concurrent calls.
    #[must_use]
    pub fn with_parallel_max(mut self, calls: usize) -> Self {
        self.parallel_max = calls;
        self
    }

    /// Returns whether the transport has a capability.
    #[must_use]
    pub fn has(&self, capability: Capability) -> bool {
        match capability {
            Capability::Cancel => self.cancel,
            Capability::ClientConfig => self.client_config,
            Capability::Cut => self.cut,
            Capability::Dedup => self.dedup,
            Capability::Drain => self.drain,
            Capability::Link => self.link,
            Capability::Raw => self.raw,
            Capability::Restart => self.restart,
            Capability::Typed => self.typed,
        }
    }
}
