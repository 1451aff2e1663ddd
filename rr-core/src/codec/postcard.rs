//! Postcard codec.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, CodecError, Decode, Encode};

/// Postcard codec: small and fast, for peers with the same types.
///
/// The bytes carry no names of fields, so that both ends must have the same version of a type. The
/// format has no limit of nesting, and elements that take no bytes, such as those of a `Vec<()>`, are
/// not limited by the length of the body: a type that contains itself lets a caller exhaust the
/// stack, a list of empty elements lets it block a thread. Use such types only among trusted peers.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a marker type has nothing to add")]
pub struct Postcard;

impl Codec for Postcard {
    const CONTENT_TYPE: &'static str = "application/postcard";
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + ?Sized> Encode<T> for Postcard {
    fn encode(value: &T) -> Result<Bytes, CodecError> {
        let encoded = postcard::to_allocvec(value).map_err(|error| {
            CodecError::new("the value cannot be encoded by postcard").with_source(error)
        })?;
        Ok(encoded.into())
    }
}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> Decode<T> for Postcard {
    fn decode(body: &Bytes) -> Result<T, CodecError> {
        let (value, rest) = postcard::take_from_bytes(body).map_err(|error| {
            CodecError::new("the body is not postcard of the expected shape").with_source(error)
        })?;
        if rest.is_empty() { Ok(value) } else { Err(CodecError::trailing(body.len() - rest.len())) }
    }
}
