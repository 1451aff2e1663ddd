//! CBOR codec.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, CodecError, Decode, Encode};

/// CBOR codec (RFC 8949). Values may be nested 256 deep.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a marker type has nothing to add")]
pub struct Cbor;

impl Codec for Cbor {
    const CONTENT_TYPE: &'static str = "application/cbor";
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + ?Sized> Encode<T> for Cbor {
    fn encode(value: &T) -> Result<Bytes, CodecError> {
        let mut encoded = Vec::new();
        ciborium::into_writer(value, &mut encoded).map_err(|error| {
            CodecError::new("the value cannot be encoded as CBOR").with_source(error)
        })?;
        Ok(encoded.into())
    }
}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> Decode<T> for Cbor {
    fn decode(body: &Bytes) -> Result<T, CodecError> {
        let mut rest = &body[..];
        let decoded = ciborium::from_reader(&mut rest);
        let at = body.len() - rest.len();
        let value = decoded.map_err(|error| {
            CodecError::new(format!("the body is not CBOR of the expected shape (byte {at})"))
                .with_source(error)
        })?;
        if rest.is_empty() { Ok(value) } else { Err(CodecError::trailing(at)) }
    }
}
