//! Implementations of the standard library's traits for errors.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;

use super::{Error, RetryHint};

/// Allows infallible conversions where a fallible conversion is expected.
impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.code)?;
        if let Some(reason) = &self.0.reason {
            write!(f, "/{reason}")?;
        }
        write!(f, " ({})", self.0.delivery.as_str())?;
        if !self.0.message.is_empty() {
            write!(f, ": {}", self.0.message)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("code", &self.0.code).field("delivery", &self.0.delivery);
        out.field("origin", &self.0.origin);
        if let Some(reason) = &self.0.reason {
            out.field("reason", &reason.as_str());
        }
        out.field("message", &self.0.message);
        if self.0.retry != RetryHint::Unset {
            out.field("retry", &self.0.retry);
        }
        if !self.0.details.is_empty() {
            out.field("details", &self.0.details.len());
        }
        if !self.0.attempts.is_empty() {
            out.field("attempts", &self.0.attempts);
        }
        if let Some(source) = &self.0.source {
            out.field("source", &format_args!("{source}"));
        }
        // A program whose `main` returns the error prints this, so it includes the hint.
        out.field("hint", &self.hint()).field("id", &self.id()).finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}
