//! Protobuf codec.

use bytes::Bytes;
use prost::Message;

use super::{Codec, CodecError, Decode, Encode};

/// Protobuf codec for messages of prost. Connect clients that send binary messages use it. Messages
/// may be nested 100 deep.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a marker type has nothing to add")]
pub struct Protobuf;

impl Codec for Protobuf {
    const CONTENT_TYPE: &'static str = "application/proto";
}

#[diagnostic::do_not_recommend]
impl<T: Message> Encode<T> for Protobuf {
    fn encode(value: &T) -> Result<Bytes, CodecError> {
        Ok(value.encode_to_vec().into())
    }
}

#[diagnostic::do_not_recommend]
impl<T: Message + Default> Decode<T> for Protobuf {
    fn decode(body: &Bytes) -> Result<T, CodecError> {
        T::decode(body.clone()).map_err(|error| {
            CodecError::new("the body is not the expected Protobuf message").with_source(error)
        })
    }
}
