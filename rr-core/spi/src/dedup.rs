//! Duplicate suppression that a responder states on its reply.

/// Duplicate suppression, as stated on the reply to a keyed request.
///
/// It travels as `rr-dedup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dedup {
    /// Duplicates are suppressed: a second request with this key does not run again.
    On,
    /// Duplicates are suppressed, and this is the reply to an earlier request with this key.
    Replayed,
}

impl Dedup {
    /// Returns the token of this value on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Replayed => "replayed",
        }
    }

    /// Parses the token of a value. Returns `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::On, Self::Replayed].into_iter().find(|known| known.as_str() == text)
    }
}
