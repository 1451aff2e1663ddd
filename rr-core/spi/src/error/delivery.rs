//! Delivery, origin and retry hint of an error.

use std::time::Duration;

/// Delivery of a request: whether the handler may have run.
///
/// A transport must always state it; there is no default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Delivery {
    /// The request never left this process. A retry is safe for any request.
    NotSent,
    /// The peer refused the request before the handler ran. A retry is safe for any request.
    Rejected,
    /// The request left this process and its outcome is not known: the handler may have run.
    Unknown,
    /// The handler ran.
    Processed,
}

impl Delivery {
    /// Returns the token of this value on the wire and in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::Rejected => "rejected",
            Self::Unknown => "unknown",
            Self::Processed => "processed",
        }
    }

    /// Parses the token on the wire; `not_sent` never travels and is not accepted.
    #[must_use]
    pub fn from_wire(text: &str) -> Option<Self> {
        match text {
            "rejected" => Some(Self::Rejected),
            "unknown" => Some(Self::Unknown),
            "processed" => Some(Self::Processed),
            _ => None,
        }
    }

    /// Returns whether the handler provably did not run, so that any request may be retried.
    #[must_use]
    pub const fn is_unexecuted(self) -> bool {
        matches!(self, Self::NotSent | Self::Rejected)
    }
}

/// Maker of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// This process.
    Local,
    /// The peer that was called.
    Peer,
    /// An intermediary that does not speak the protocol: a proxy or a foreign server.
    Intermediary,
}

/// Retry hint of an error.
///
/// An [`Error`](crate::Error) stores the hint as every transport carries it: in whole milliseconds,
/// rounded up; more than 300 s become [`RetryHint::Never`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryHint {
    /// No hint; the code and the delivery decide.
    Unset,
    /// A retry is useless or harmful.
    Never,
    /// A retry makes sense after this delay.
    After(Duration),
}

/// Longest accepted delay: no call outlives the longest timeout that servers grant.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

impl RetryHint {
    /// Returns the hint as every transport carries it.
    pub(crate) fn on_the_wire(self) -> Self {
        let Self::After(after) = self else { return self };
        if after > RETRY_AFTER_MAX {
            return Self::Never;
        }
        let millis = after.as_nanos().div_ceil(1_000_000);
        u64::try_from(millis)
            .map_or(Self::Never, |millis| Self::After(Duration::from_millis(millis)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Code, Error};

    #[test]
    fn hints_are_whole_milliseconds_rounded_up_and_never_beyond_300_s() {
        let after = |nanos| RetryHint::After(Duration::from_nanos(nanos));
        for (given, held) in [
            (RetryHint::Unset, RetryHint::Unset),
            (RetryHint::Never, RetryHint::Never),
            (after(0), after(0)),
            (after(1), after(1_000_000)),
            (after(1_500_000), after(2_000_000)),
            (after(300_000_000_000), after(300_000_000_000)),
            (after(300_000_000_001), RetryHint::Never),
            (RetryHint::After(Duration::MAX), RetryHint::Never),
        ] {
            let error = Error::new(Code::Unavailable, "").with_retry(given);
            assert_eq!(error.retry(), held, "{given:?}");
        }
    }
}
