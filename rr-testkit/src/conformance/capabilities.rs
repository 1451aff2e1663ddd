//! The capabilities of a transport.

use std::fmt;

/// Declares each capability once: as a variant of [`Capability`], and as a field of
/// [`Capabilities`] with a setter.
macro_rules! capabilities {
    ($(
        $(#[$doc:meta])*
        $Capability:ident $field:ident, $with:ident, $name:literal, $default:literal;
    )*) => {
        /// Optional ability of a transport that some cases need.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Capability {
            $($(#[$doc])* $Capability,)*
        }

        impl Capability {
            /// All capabilities, ordered by name.
            pub const ALL: &'static [Self] = &[$(Self::$Capability),*];
        }

        impl fmt::Display for Capability {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$Capability => $name,)*
                })
            }
        }

        /// Capabilities of a transport. By default all but typed calls and the suppression of
        /// duplicates, which other crates provide.
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
            $(
                $(#[$doc])*
                #[doc = concat!("\n\nDefault ", $default, ".")]
                pub $field: bool,
            )*
            /// Maximum number of concurrent calls, for example limited by the number of sockets.
            /// Default 1500; at least 64.
            pub parallel_max: usize,
        }

        impl Default for Capabilities {
            fn default() -> Self {
                Self { $($field: $default,)* parallel_max: 1500 }
            }
        }

        impl Capabilities {
            setters! {
                $(
                    #[doc = concat!("Replaces [`Self::", stringify!($field), "`].")]
                    $with(supported: bool) sets $field = supported;
                )*
                /// Replaces [`Self::parallel_max`].
                with_parallel_max(calls: usize) sets parallel_max = calls;
            }

            /// Returns whether the transport has a capability.
            #[must_use]
            pub fn has(&self, capability: Capability) -> bool {
                match capability {
                    $(Capability::$Capability => self.$field,)*
                }
            }
        }
    };
}

capabilities! {
    /// A cancelled or dropped call reaches the handler before its deadline.
    Cancel cancel, with_cancel, "cancel", true;
    /// The requester's timeout and limits are configured separately from the server's.
    ClientConfig client_config, with_client_config, "client config", true;
    /// The link between requesters and server can be cut in the middle of a message:
    /// [`Rig::cut_after`](super::Rig::cut_after) is implemented.
    Cut cut, with_cut, "cut", true;
    /// The harness provides a middleware that suppresses duplicates:
    /// [`Harness::dedup`](super::Harness::dedup) is implemented.
    Dedup dedup, with_dedup, "dedup", false;
    /// The server can be drained.
    Drain drain, with_drain, "drain", true;
    /// The link between requesters and server can be cut:
    /// [`Rig::kill_link`](super::Rig::kill_link) and
    /// [`Rig::restore_link`](super::Rig::restore_link) are implemented.
    Link link, with_link, "link", true;
    /// A foreign peer can read and write the wire format directly: [`Rig::raw`](super::Rig::raw) is
    /// implemented.
    Raw raw, with_raw, "raw", true;
    /// The server can be killed and started again at the same address:
    /// [`Rig::restart`](super::Rig::restart) is implemented.
    Restart restart, with_restart, "restart", true;
    /// The harness provides typed calls: [`Harness::typed`](super::Harness::typed) is implemented.
    Typed typed, with_typed, "typed", false;
}
