//! Codecs that a method accepts: one, or a tuple of up to six.

use bytes::Bytes;

use super::{Codec, CodecError, Decode, Encode};

/// Codecs that a method accepts: one codec, or a tuple of up to six. Sealed.
///
/// `T` is the input of the method and `U` its output. A request without a content type is decoded
/// as JSON if that is among the codecs, otherwise by the first codec.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot carry a method from `{T}` to `{U}`",
    label = "not a codec, or a tuple of codecs, for these types",
    note = "each codec must decode `{T}` and encode `{U}`; the serde codecs need `serde::Deserialize` and `serde::Serialize`"
)]
pub trait CodecSet<T, U>: sealed::Sealed + Send + Sync + 'static {
    #[doc(hidden)]
    const CONTENT_TYPES: &'static [(&'static str, &'static str)];

    #[doc(hidden)]
    fn decode_by(codec: usize, body: &Bytes) -> Result<T, CodecError>;

    #[doc(hidden)]
    fn encode_by(codec: usize, value: &U) -> Result<Bytes, CodecError>;
}

mod sealed {
    pub trait Sealed {}
}

impl<C: Codec> sealed::Sealed for C {}

impl<T, U, C: Decode<T> + Encode<U>> CodecSet<T, U> for C {
    const CONTENT_TYPES: &'static [(&'static str, &'static str)] =
        &[(C::CONTENT_TYPE, C::REPLY_CONTENT_TYPE)];

    fn decode_by(_: usize, body: &Bytes) -> Result<T, CodecError> {
        C::decode(body)
    }

    fn encode_by(_: usize, value: &U) -> Result<Bytes, CodecError> {
        C::encode_reply(value)
    }
}

macro_rules! tuple_of_codecs {
    ($First:ident $(, $Codec:ident $at:literal)*) => {
        impl<$First: Codec, $($Codec: Codec),*> sealed::Sealed for ($First, $($Codec,)*) {}

        impl<T, U, $First, $($Codec),*> CodecSet<T, U> for ($First, $($Codec,)*)
        where
            $First: Decode<T> + Encode<U>,
            $($Codec: Decode<T> + Encode<U>,)*
        {
            const CONTENT_TYPES: &'static [(&'static str, &'static str)] = &[
                ($First::CONTENT_TYPE, $First::REPLY_CONTENT_TYPE),
                $(($Codec::CONTENT_TYPE, $Codec::REPLY_CONTENT_TYPE)),*
            ];

            fn decode_by(codec: usize, body: &Bytes) -> Result<T, CodecError> {
                match codec {
                    $($at => $Codec::decode(body),)*
                    _ => $First::decode(body),
                }
            }

            fn encode_by(codec: usize, value: &U) -> Result<Bytes, CodecError> {
                match codec {
                    $($at => $Codec::encode_reply(value),)*
                    _ => $First::encode_reply(value),
                }
            }
        }
    };
}

tuple_of_codecs!(A);
tuple_of_codecs!(A, B 1);
tuple_of_codecs!(A, B 1, C 2);
tuple_of_codecs!(A, B 1, C 2, D 3);
tuple_of_codecs!(A, B 1, C 2, D 3, E 4);
tuple_of_codecs!(A, B 1, C 2, D 3, E 4, F 5);
