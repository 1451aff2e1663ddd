//! Counters of a requester.

/// Counters of a requester.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NatsStats {
    /// Calls that currently hold a slot on a connection.
    pub in_flight: usize,
    /// Replies to calls that had already ended, and replies that a request with several replies left
    /// unread.
    pub late_replies: u64,
    /// Replies to calls that had already received a reply.
    pub duplicate_replies: u64,
    /// Connections made.
    pub connects: u64,
}

impl NatsStats {
    /// Returns the counters that remain of a closed connection.
    pub(super) fn closed(self) -> Self {
        Self { in_flight: 0, ..self }
    }

    /// Adds the counters of two connections.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            in_flight: self.in_flight + other.in_flight,
            late_replies: self.late_replies + other.late_replies,
            duplicate_replies: self.duplicate_replies + other.duplicate_replies,
            connects: self.connects + other.connects,
        }
    }
}
