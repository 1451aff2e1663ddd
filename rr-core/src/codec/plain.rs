//! Codecs of text and of bytes.

use bytes::Bytes;

use super::{Codec, CodecError, Decode, Encode};

/// Codec of plain text in UTF-8.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a marker type has nothing to add")]
pub struct Text;

impl Codec for Text {
    const CONTENT_TYPE: &'static str = "text/plain";
}

impl Encode<str> for Text {
    fn encode(value: &str) -> Result<Bytes, CodecError> {
        Ok(Bytes::copy_from_slice(value.as_bytes()))
    }
}

impl Encode<String> for Text {
    fn encode(value: &String) -> Result<Bytes, CodecError> {
        <Self as Encode<str>>::encode(value)
    }
}

impl Encode<&str> for Text {
    fn encode(value: &&str) -> Result<Bytes, CodecError> {
        <Self as Encode<str>>::encode(value)
    }
}

impl Decode<String> for Text {
    fn decode(body: &Bytes) -> Result<String, CodecError> {
        String::from_utf8(body.to_vec()).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            CodecError::new(format!("the body is not UTF-8 from byte {at} on")).with_source(error)
        })
    }
}

/// Codec of bytes as they are.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a marker type has nothing to add")]
pub struct OctetStream;

impl Codec for OctetStream {
    const CONTENT_TYPE: &'static str = "application/octet-stream";
}

impl Encode<[u8]> for OctetStream {
    fn encode(value: &[u8]) -> Result<Bytes, CodecError> {
        Ok(Bytes::copy_from_slice(value))
    }
}

impl Encode<Vec<u8>> for OctetStream {
    fn encode(value: &Vec<u8>) -> Result<Bytes, CodecError> {
        Ok(Bytes::copy_from_slice(value))
    }
}

/// Shares the bytes with the value.
impl Encode<Bytes> for OctetStream {
    fn encode(value: &Bytes) -> Result<Bytes, CodecError> {
        Ok(value.clone())
    }
}

impl<const N: usize> Encode<[u8; N]> for OctetStream {
    fn encode(value: &[u8; N]) -> Result<Bytes, CodecError> {
        Ok(Bytes::copy_from_slice(value))
    }
}

impl Decode<Vec<u8>> for OctetStream {
    fn decode(body: &Bytes) -> Result<Vec<u8>, CodecError> {
        Ok(body.to_vec())
    }
}

/// Shares the bytes with the body.
impl Decode<Bytes> for OctetStream {
    fn decode(body: &Bytes) -> Result<Bytes, CodecError> {
        Ok(body.clone())
    }
}

/// Encodes unit as an empty body, and refuses any other body for it.
macro_rules! unit {
    ($Codec:ident) => {
        impl Encode<()> for $Codec {
            fn encode((): &()) -> Result<Bytes, CodecError> {
                Ok(Bytes::new())
            }
        }

        impl Decode<()> for $Codec {
            fn decode(body: &Bytes) -> Result<(), CodecError> {
                if body.is_empty() { Ok(()) } else { Err(CodecError::new("the body is not empty")) }
            }
        }
    };
}

unit!(Text);
unit!(OctetStream);
