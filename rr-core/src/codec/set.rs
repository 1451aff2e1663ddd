//! Codecs that a method accepts: one, or a tuple of up to six.

use bytes::Bytes;

use super::{Codec, CodecError, Decode, Encode, Json, OctetStream};

/// Codecs that a method accepts: one codec, or a tuple of up to six. Sealed.
///
/// `T` is the input of the method and `U` its output. A request without a content type is decoded
/// as JSON or as bytes, whichever is among the codecs, and refused otherwise. A list that has a content type
/// twice, or both [`Json`] and [`OctetStream`], does not compile.
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

/// Checks at compile time that the codecs of a list can be told apart by their content types.
///
/// Bytes and JSON cannot: over HTTP bytes count as a body without a content type, over NATS JSON does
/// (docs/src/wire.md#other-headers).
const fn distinct(
    types: &'static [(&'static str, &'static str)],
) -> &'static [(&'static str, &'static str)] {
    let (mut at, mut has_json, mut has_bytes) = (0, false, false);
    while at < types.len() {
        let mut other = at + 1;
        while other < types.len() {
            assert!(!is_same(types[at].0, types[other].0), "two codecs have one content type");
            other += 1;
        }
        has_json |= is_same(types[at].0, Json::CONTENT_TYPE);
        has_bytes |= is_same(types[at].0, OctetStream::CONTENT_TYPE);
        at += 1;
    }
    let is_distinct = !(has_json && has_bytes);
    assert!(is_distinct, "a method accepts JSON or bytes: either travels without a content type");
    types
}

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

macro_rules! tuple_of_codecs {
    ($First:ident $(, $Codec:ident $at:literal)*) => {
        impl<$First: Codec, $($Codec: Codec),*> sealed::Sealed for ($First, $($Codec,)*) {}

        impl<T, U, $First, $($Codec),*> CodecSet<T, U> for ($First, $($Codec,)*)
        where
            $First: Decode<T> + Encode<U>,
            $($Codec: Decode<T> + Encode<U>,)*
        {
            const CONTENT_TYPES: &'static [(&'static str, &'static str)] = distinct(&[
                ($First::CONTENT_TYPE, $First::REPLY_CONTENT_TYPE),
                $(($Codec::CONTENT_TYPE, $Codec::REPLY_CONTENT_TYPE)),*
            ]);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_are_compared_whole() {
        assert!(is_same("application/json", "application/json"));
        for other in ["application/jso", "application/jsonl", "", "text/plain"] {
            assert!(!is_same("application/json", other) && !is_same(other, "application/json"));
        }
    }

    #[test]
    #[should_panic(expected = "two codecs have one content type")]
    fn a_content_type_given_twice_is_refused() {
        let _ = distinct(&[("a/b", "a/b"), ("c/d", "c/d"), ("a/b", "a/b")]);
    }

    #[test]
    #[should_panic(expected = "a method accepts JSON or bytes")]
    fn json_and_bytes_are_refused_together() {
        const JSON: (&str, &str) = (Json::CONTENT_TYPE, Json::CONTENT_TYPE);
        const BYTES: (&str, &str) = (OctetStream::CONTENT_TYPE, OctetStream::CONTENT_TYPE);
        let _ = distinct(&[JSON, ("a/b", "a/b"), BYTES]);
    }
}
