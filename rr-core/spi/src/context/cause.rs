//! Cause of a context's end, and the errors that it becomes.

use crate::error::{Code, Delivery, Error, Reason};

/// Cause of a context's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Cause {
    /// The caller dropped the future of the call.
    CallerDropped = 1,
    /// The context was cancelled explicitly.
    Cancelled = 2,
    /// The deadline passed.
    DeadlineExceeded = 3,
    /// The connection to the peer broke.
    PeerGone = 4,
    /// Another attempt of the same call won.
    HedgeLost = 5,
    /// The server is shutting down and its grace is over.
    Shutdown = 6,
    /// The call is done; work that still holds its context can stop.
    Finished = 7,
}

impl Cause {
    pub(super) fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::CallerDropped,
            2 => Self::Cancelled,
            3 => Self::DeadlineExceeded,
            4 => Self::PeerGone,
            5 => Self::HedgeLost,
            6 => Self::Shutdown,
            7 => Self::Finished,
            _ => return None,
        })
    }
}

impl Error {
    /// Makes the failure of a call whose context has ended.
    ///
    /// `DeadlineExceeded`, or `Canceled` for every other cause: retrying such a call is useless.
    pub(crate) fn call_ended(cause: Cause, delivery: Delivery) -> Self {
        match cause {
            Cause::Shutdown => {
                let text = "the call was cancelled: its server is shutting down";
                Self::failure(Code::Canceled, delivery, None, text)
            }
            cause => Self::from_cause(cause, delivery),
        }
    }

    /// Makes the server's failure of a request whose context has ended.
    #[must_use]
    pub fn from_cause(cause: Cause, delivery: Delivery) -> Self {
        let (code, reason, text) = match cause {
            Cause::DeadlineExceeded => (Code::DeadlineExceeded, None, "the deadline passed"),
            Cause::Shutdown => {
                let text = "the server shut down before the call was done";
                (Code::Unavailable, Some(Reason::DRAINING), text)
            }
            Cause::CallerDropped => (Code::Canceled, None, "the caller dropped the call"),
            Cause::PeerGone => (Code::Canceled, None, "the peer closed the connection"),
            Cause::HedgeLost => (Code::Canceled, None, "another attempt won"),
            Cause::Cancelled | Cause::Finished => (Code::Canceled, None, "the call was cancelled"),
        };
        Self::failure(code, delivery, reason, text)
    }
}
