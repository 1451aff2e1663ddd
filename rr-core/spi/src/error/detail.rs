//! What an error carries beside code and message.

use std::borrow::Cow;

use bytes::Bytes;

/// One typed detail of an error, as Connect carries them: a type name and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Detail {
    /// The declared name of the type, such as `orders.OutOfStock`.
    pub kind: Cow<'static, str>,
    /// The encoded value; JSON for application errors.
    pub value: Bytes,
}

impl Detail {
    /// Makes a detail of the given type name and bytes.
    pub fn new(kind: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) -> Self {
        Self { kind: kind.into(), value: value.into() }
    }
}
