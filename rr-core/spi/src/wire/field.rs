//! Received values of one header name.

use crate::error::{Code, Delivery, Error};

/// Received values of one header name: none, one, or more than one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Field<'a> {
    #[default]
    Absent,
    Once(&'a [u8]),
    Repeated,
}

impl<'a> Field<'a> {
    /// Adds a value.
    pub(super) fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Absent => Self::Once(value),
            Self::Once(_) | Self::Repeated => Self::Repeated,
        };
    }

    pub(super) fn is_present(self) -> bool {
        self != Self::Absent
    }

    /// Returns the value if there is exactly one and it is text.
    pub(super) fn only(self) -> Option<&'a str> {
        match self {
            Self::Once(value) => text(value),
            Self::Absent | Self::Repeated => None,
        }
    }

    /// Returns the value of a header that decides how the request is handled.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, rejected, when the header is repeated or its value is not text.
    pub(super) fn required_once(self, name: &str) -> Result<Option<&'a str>, Error> {
        let wrong = match self {
            Self::Absent => return Ok(None),
            Self::Once(value) => match text(value) {
                Some(value) => return Ok(Some(value)),
                None => "malformed",
            },
            Self::Repeated => "repeated",
        };
        Err(refused(wrong, name))
    }
}

/// Makes the error for a malformed or repeated header that decides how the request is handled.
pub(super) fn refused(wrong: &str, name: &str) -> Error {
    let message = format!("{wrong} header {name}");
    Error::failure(Code::InvalidArgument, Delivery::Rejected, None, message)
}

/// Returns a value as text if it consists of visible ASCII, spaces and tabs.
pub(super) fn text(value: &[u8]) -> Option<&str> {
    let is_text = value.iter().all(|&byte| matches!(byte, b' '..=b'~' | b'\t'));
    std::str::from_utf8(value).ok().filter(|_| is_text)
}
