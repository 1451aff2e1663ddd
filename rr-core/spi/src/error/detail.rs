//! Typed details of an error.

use std::borrow::Cow;

use bytes::Bytes;

/// Typed detail of an error, as in Connect: a type name and an encoded value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Detail {
    /// The declared name of the type, such as `orders.OutOfStock`.
    pub kind: Cow<'static, str>,
    /// The encoded value; JSON for application errors, whose error body also shows it as text.
    pub value: Bytes,
}

impl Detail {
    /// Makes a detail of the given type name and bytes.
    pub fn new(kind: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) -> Self {
        Self { kind: kind.into(), value: value.into() }
    }
}
