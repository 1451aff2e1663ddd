//! Whether the handler may have run, who says so, and whether to try again.

use std::time::Duration;

/// Says whether the handler may have run. A transport must always say which; there is no default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Delivery {
    /// The request never left this process. Trying again is safe for any request.
    NotSent,
    /// The peer refused the request before the handler ran. Trying again is safe for any request.
    Rejected,
    /// The request left and nothing proves what became of it: the handler may have run.
    Unknown,
    /// The handler ran.
    Processed,
}

impl Delivery {
    /// Returns the token that stands for this value on the wire and in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::Rejected => "rejected",
            Self::Unknown => "unknown",
            Self::Processed => "processed",
        }
    }

    /// Parses the token of the wire; `not_sent` never travels and is not read.
    #[must_use]
    pub fn from_wire(text: &str) -> Option<Self> {
        match text {
            "rejected" => Some(Self::Rejected),
            "unknown" => Some(Self::Unknown),
            "processed" => Some(Self::Processed),
            _ => None,
        }
    }

    /// Tells whether the handler provably did not run, so that any request may be tried again.
    #[must_use]
    pub const fn is_unexecuted(self) -> bool {
        matches!(self, Self::NotSent | Self::Rejected)
    }
}

/// Where an error was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// In this process.
    Local,
    /// By the peer that was called.
    Peer,
    /// By something between the two that does not speak the protocol: a proxy, a foreign server.
    Intermediary,
}

/// What the maker of an error says about trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryHint {
    /// Nothing was said; the code and the delivery decide.
    Unset,
    /// Trying again is useless or harmful.
    Never,
    /// Trying again makes sense after this long.
    After(Duration),
}
