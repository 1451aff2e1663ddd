//! MessagePack codec.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, CodecError, Decode, Encode};

/// MessagePack codec. Structs are maps with the names of their fields, so that fields can be added.
/// Values may be nested 128 deep.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a marker type has nothing to add")]
pub struct MessagePack;

/// Deepest nesting of a value, as in JSON: deeper values could exhaust the stack.
const DEPTH_MAX: usize = 128;

impl Codec for MessagePack {
    const CONTENT_TYPE: &'static str = "application/msgpack";
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + ?Sized> Encode<T> for MessagePack {
    fn encode(value: &T) -> Result<Bytes, CodecError> {
        let encoded = rmp_serde::to_vec_named(value).map_err(|error| {
            CodecError::new("the value cannot be encoded as MessagePack").with_source(error)
        })?;
        Ok(encoded.into())
    }
}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> Decode<T> for MessagePack {
    fn decode(body: &Bytes) -> Result<T, CodecError> {
        let mut rest = &body[..];
        let mut decoder = rmp_serde::Deserializer::new(&mut rest);
        decoder.set_max_depth(DEPTH_MAX);
        let decoded = T::deserialize(&mut decoder);
        let at = body.len() - rest.len();
        let value = decoded.map_err(|error| {
            let text = format!("the body is not MessagePack of the expected shape (byte {at})");
            CodecError::new(text).with_source(error)
        })?;
        if rest.is_empty() { Ok(value) } else { Err(CodecError::trailing(at)) }
    }
}
