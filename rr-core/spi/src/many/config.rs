//! Configuration of a request with several replies.

use std::time::Duration;

crate::options! {
    /// End and bounds of a collection of replies.
    ///
    /// The total time is the deadline of the context; without one, the default timeout of the
    /// requester applies.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod rr_core { pub mod many { pub use rr_spi::ManyConfig; } }
    /// use std::time::Duration;
    /// use rr_core::many::ManyConfig;
    ///
    /// let config = ManyConfig::default()
    ///     .with_replies_max(3)
    ///     .with_stall(Duration::from_millis(200));
    /// assert!(!config.empty_ends);
    /// ```
    #[derive(Copy)]
    pub struct ManyConfig {
        /// Number of replies after which the collection ends; errors do not count. A balance asks as
        /// many endpoints as that needs. Default 1024, as many as a balance may have endpoints; 0
        /// counts as 1.
        pub replies_max: usize = 1024, with_replies_max(usize);
        /// Longest wait for a further reply, after the first reply or error. The time between two waits
        /// does not count. Default 0: only the deadline ends the wait.
        #[serde(deserialize_with = "crate::duration::deserialize")]
        pub stall: Duration = Duration::ZERO, with_stall(Duration);
        /// Whether an empty reply is the mark of the end (NATS ADR-47), for services that send it over
        /// NATS. Default false: an empty reply is a reply. Has no effect over other transports.
        pub empty_ends: bool = false, with_empty_ends(bool);
        /// Maximum number of replies that are held until they are read. If more arrive over NATS, the
        /// collection ends with an error after those that are held. Default 1024; one reply is always
        /// held, so that 0 counts as 1. Over other transports, a reply that is not read stays with its
        /// call, of which there are at most `parallel_max`.
        pub held_max: usize = 1024, with_held_max(usize);
        /// Maximum length of the replies that are held until they are read, in bytes with headers; as
        /// `held_max` otherwise. Default 16 MiB; one reply is always held.
        pub held_bytes_max: usize = 16 * 1024 * 1024, with_held_bytes_max(usize);
        /// Maximum number of endpoints of a balance that are asked simultaneously. Default 64; 0 counts
        /// as 1. Has no effect over other requesters.
        pub parallel_max: usize = 64, with_parallel_max(usize);
    }
}
