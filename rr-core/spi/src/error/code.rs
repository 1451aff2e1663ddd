//! The sixteen codes of gRPC and Connect.

use std::fmt;

/// Error code: one of the 16 codes of gRPC and Connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Code {
    /// The caller cancelled, or dropped the call.
    Canceled = 1,
    /// A foreign error without further information.
    Unknown = 2,
    /// The request is wrong, regardless of the state of the service.
    InvalidArgument = 3,
    /// The deadline passed.
    DeadlineExceeded = 4,
    /// The requested item does not exist.
    NotFound = 5,
    /// The item to create exists already.
    AlreadyExists = 6,
    /// The caller is authenticated but not permitted to do this.
    PermissionDenied = 7,
    /// A quota, a limit or a size was exceeded.
    ResourceExhausted = 8,
    /// The service is not in a state that allows this; the caller must change the state first.
    FailedPrecondition = 9,
    /// A conflict with another call; retry one level up, from the read that preceded it.
    Aborted = 10,
    /// A position past the valid range.
    OutOfRange = 11,
    /// The peer has no such method, or does not speak the encoding.
    Unimplemented = 12,
    /// A bug in the service.
    Internal = 13,
    /// The service cannot be reached, or cannot answer now.
    Unavailable = 14,
    /// Data was lost for good.
    DataLoss = 15,
    /// The caller is not authenticated.
    Unauthenticated = 16,
}

impl Code {
    /// Every code, in the order of gRPC's numbers.
    pub const ALL: [Self; 16] = [
        Self::Canceled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// Returns the name on the wire, such as `not_found`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Canceled => "canceled",
            Self::Unknown => "unknown",
            Self::InvalidArgument => "invalid_argument",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::PermissionDenied => "permission_denied",
            Self::ResourceExhausted => "resource_exhausted",
            Self::FailedPrecondition => "failed_precondition",
            Self::Aborted => "aborted",
            Self::OutOfRange => "out_of_range",
            Self::Unimplemented => "unimplemented",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::DataLoss => "data_loss",
            Self::Unauthenticated => "unauthenticated",
        }
    }

    /// Parses the name on the wire.
    ///
    /// Returns `None` for anything else; the next source of a code then decides.
    #[must_use]
    pub fn from_wire(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_round_trips_and_keeps_its_grpc_number() {
        for (at, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(Code::from_wire(code.as_str()), Some(code));
            assert_eq!(code as usize, at + 1);
        }
        assert_eq!(Code::from_wire("cancelled"), None);
    }
}
