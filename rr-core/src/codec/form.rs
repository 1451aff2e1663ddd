//! Codec of HTML forms.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, CodecError, Decode, Encode, Json};

/// Codec of HTML forms, for requests; replies are JSON.
///
/// A value is a struct or a map of strings, numbers, booleans and lists of them.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a marker type has nothing to add")]
pub struct Form;

impl Codec for Form {
    const CONTENT_TYPE: &'static str = "application/x-www-form-urlencoded";
    const REPLY_CONTENT_TYPE: &'static str = Json::CONTENT_TYPE;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + ?Sized> Encode<T> for Form {
    fn encode(value: &T) -> Result<Bytes, CodecError> {
        let encoded = serde_html_form::to_string(value).map_err(|error| {
            CodecError::new("the value cannot be encoded as a form").with_source(error)
        })?;
        Ok(encoded.into())
    }

    fn encode_reply(value: &T) -> Result<Bytes, CodecError> {
        Json::encode(value)
    }
}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> Decode<T> for Form {
    fn decode(body: &Bytes) -> Result<T, CodecError> {
        serde_html_form::from_bytes(body).map_err(|error| {
            CodecError::new("the body is not a form of the expected shape").with_source(error)
        })
    }

    fn decode_reply(body: &Bytes) -> Result<T, CodecError> {
        Json::decode(body)
    }
}
