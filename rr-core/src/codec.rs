//! Values to bytes and back, for typed calls and handlers.

use bytes::Bytes;
use rr_spi::{Code, Delivery, Error, Headers, Reason, wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Json {}
}

/// How typed values become bytes. Sealed: its implementors are marker types.
pub trait Codec: sealed::Sealed + Send + Sync + 'static {
    /// The content type that goes with the bytes.
    const CONTENT_TYPE: &'static str;

    /// Encodes a value.
    ///
    /// # Errors
    ///
    /// `Internal`, not sent, when the value cannot be encoded.
    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, Error>;

    /// Decodes a value; returns what is wrong as a text for people.
    ///
    /// # Errors
    ///
    /// A description without any of the bytes.
    fn decode<T: DeserializeOwned>(body: &Bytes) -> Result<T, String>;
}

/// JSON; the default.
///
/// Unit is written as `{}`, and an empty body, `null` and `{}` are all read as unit.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a marker type has nothing to add")]
pub struct Json;

impl Codec for Json {
    const CONTENT_TYPE: &'static str = "application/json";

    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, Error> {
        let encoded = serde_json::to_vec(value).map_err(|source| {
            let text = "the value cannot be encoded as JSON";
            Error::failure(Code::Internal, Delivery::NotSent, None, text).with_source(source)
        })?;
        // Only unit and unit structs are null without taking any space.
        if encoded == b"null" && size_of_val(value) == 0 {
            return Ok(Bytes::from_static(b"{}"));
        }
        Ok(encoded.into())
    }

    fn decode<T: DeserializeOwned>(body: &Bytes) -> Result<T, String> {
        match serde_json::from_slice(body) {
            Ok(value) => Ok(value),
            Err(_) if size_of::<T>() == 0 && is_unit(body) => {
                let null =
                    serde_json::from_slice(b"null").or_else(|_| serde_json::from_slice(b"{}"));
                null.map_err(|error| describe(&error))
            }
            Err(_) if body.is_empty() => Err("the body is empty".to_owned()),
            Err(error) => Err(describe(&error)),
        }
    }
}

fn is_unit(body: &[u8]) -> bool {
    matches!(body.trim_ascii(), b"" | b"null" | b"{}")
}

/// Says where and of what kind; serde's own text may quote the value.
fn describe(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "JSON of another shape",
        serde_json::error::Category::Eof => "JSON that ends early",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "not JSON",
    };
    format!("the body is {what} (line {}, column {})", error.line(), error.column())
}

/// Decodes what arrived at a typed handler; what fails here has not run.
pub(crate) fn decode_request<C: Codec, T: DeserializeOwned>(
    headers: &Headers,
    body: &Bytes,
) -> Result<T, Error> {
    if let Some(other) = foreign::<C>(headers) {
        let text = format!("content type `{other}` is not supported; send {}", C::CONTENT_TYPE);
        return Err(Error::failure(Code::Unimplemented, Delivery::Rejected, Reason::CODEC, text));
    }
    C::decode(body).map_err(|what| {
        Error::failure(Code::InvalidArgument, Delivery::Rejected, Reason::DECODE, what)
    })
}

/// Decodes what a typed call was answered; the handler has run.
pub(crate) fn decode_response<C: Codec, T: DeserializeOwned>(
    headers: &Headers,
    body: &Bytes,
) -> Result<T, Error> {
    let failure = |reason, text| Error::failure(Code::Internal, Delivery::Processed, reason, text);
    if let Some(other) = foreign::<C>(headers) {
        let text = format!("the reply is of type `{other}`, not {}", C::CONTENT_TYPE);
        return Err(failure(Reason::BAD_RESPONSE, text));
    }
    C::decode(body).map_err(|what| match is_stream_ack(body) {
        true => stream_ack(),
        false => failure(Reason::DECODE, what),
    })
}

/// Tells whether a body is the acknowledgement of a JetStream stream (NATS ADR-8), which a requester
/// gets as a reply when a stream captures the subject, whether or not a responder serves it.
fn is_stream_ack(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Ack {
        #[serde(rename = "stream")]
        _stream: String,
        #[serde(rename = "seq")]
        _sequence: u64,
    }
    serde_json::from_slice::<Ack>(body).is_ok()
}

fn stream_ack() -> Error {
    let text = "the reply is the acknowledgement of a JetStream stream";
    Error::failure(Code::Internal, Delivery::Unknown, Reason::BAD_RESPONSE, text).with_hint(
        "a stream captures this subject: take the subject out of the stream's list, or set `no_ack` \
         on the stream",
    )
}

/// Returns the content type when it is there and another one; parameters and case do not matter.
fn foreign<C: Codec>(headers: &Headers) -> Option<&str> {
    let given = headers.get(wire::CONTENT_TYPE)?;
    let kind = given.split(';').next().unwrap_or(given).trim();
    (!kind.eq_ignore_ascii_case(C::CONTENT_TYPE)).then_some(given)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Empty {}

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Unit;

    #[test]
    fn unit_is_written_as_an_object_and_read_leniently() {
        assert_eq!(Json::encode(&()).unwrap(), "{}");
        assert_eq!(Json::encode(&Unit).unwrap(), "{}");
        assert_eq!(Json::encode(&None::<u8>).unwrap(), "null");
        for unit in ["", " ", "null", "{}"] {
            let body = Bytes::from_static(unit.as_bytes());
            Json::decode::<()>(&body).unwrap();
            assert_eq!(Json::decode::<Unit>(&body), Ok(Unit));
            assert_eq!(Json::decode::<Empty>(&body), Ok(Empty {}));
            assert!(Json::decode::<u8>(&body).is_err());
        }
        assert!(Json::decode::<()>(&"7".into()).is_err());
    }

    #[test]
    fn what_is_wrong_is_said_without_quoting_the_body() {
        let error = Json::decode::<u8>(&"\"secret\"".into()).unwrap_err();
        assert!(!error.contains("secret") && error.contains("line 1"), "{error}");
    }

    #[test]
    fn parameters_and_case_of_a_content_type_do_not_matter() {
        let mut headers = Headers::new();
        for good in ["application/json", "Application/JSON; charset=utf-8"] {
            headers.insert("content-type", good).unwrap();
            assert_eq!(decode_request::<Json, u8>(&headers, &"7".into()).unwrap(), 7);
        }
        headers.insert("content-type", "text/plain").unwrap();
        let error = decode_request::<Json, u8>(&headers, &"7".into()).unwrap_err();
        assert_eq!(error.reason(), Some(&Reason::CODEC));
        assert_eq!(error.delivery(), Delivery::Rejected);
        let error = decode_response::<Json, u8>(&headers, &"7".into()).unwrap_err();
        assert_eq!(error.reason(), Some(&Reason::BAD_RESPONSE));
    }
}
