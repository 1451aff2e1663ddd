//! Who is at fault for a failure: decides the level of its event, its colour on the admin page, and
//! whether its message may be shown.

use rr_spi::{Code, Error, Reason};

/// Party that is at fault for a failure, as its server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The service: a panic, or an error that it did not foresee.
    Service,
    /// The load on the service, or a service that it depends on.
    Load,
    /// The caller: a request that no repetition makes right.
    Caller,
    /// No party: an outcome that the service foresees, such as `NotFound`, or a cancellation.
    NoParty,
}

impl Fault {
    /// Returns the fault for a failure with this code; `error` is missing if the operation was dropped.
    pub(crate) fn of(code: Code, error: Option<&Error>) -> Self {
        match error.and_then(Error::reason) {
            Some(reason) if *reason == Reason::REQUEST_TOO_LARGE => return Self::Caller,
            Some(reason) if *reason == Reason::RESPONSE_TOO_LARGE => return Self::Service,
            _ => {}
        }
        match code {
            Code::Internal | Code::Unknown | Code::DataLoss => Self::Service,
            Code::DeadlineExceeded | Code::Unavailable | Code::ResourceExhausted => Self::Load,
            Code::InvalidArgument
            | Code::Unimplemented
            | Code::Unauthenticated
            | Code::PermissionDenied => Self::Caller,
            _ => Self::NoParty,
        }
    }
}
