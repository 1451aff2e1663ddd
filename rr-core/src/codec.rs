//! Encoding and decoding of values for typed calls and handlers.

use bytes::Bytes;
use rr_spi::{Code, Delivery, Error, Headers, Reason, wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Json {}
}

/// Encoding of typed values. Sealed: implemented by marker types.
pub trait Codec: sealed::Sealed + Send + Sync + 'static {
    /// Content type of the encoded bytes.
    const CONTENT_TYPE: &'static str;

    /// Encodes a value.
    ///
    /// # Errors
    ///
    /// `Internal`, not sent, when the value cannot be encoded.
    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, Error>;

    /// Decodes a value.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], with the place and the reason, when the body does not decode to `T`.
    fn decode<T: DeserializeOwned>(body: &Bytes) -> Result<T, DecodeError>;
}

/// Error of a body that does not decode to a type.
///
/// The text names the place in the body and never quotes a value, because it may be sent to the
/// caller of a service. The decoder's error, which may quote values, is the source and stays in
/// this process.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct DecodeError {
    text: String,
    source: Option<serde_json::Error>,
}

impl DecodeError {
    /// Converts to the error of a call or a request, with the decoder's error as the source.
    fn into_error(self, code: Code, delivery: Delivery) -> Error {
        let error = Error::failure(code, delivery, Reason::DECODE, self.text);
        match self.source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }
}

/// JSON codec, the default.
///
/// Unit is encoded as `{}`. An empty body, `null` and `{}` all decode to unit.
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
        // The only zero-sized values that encode as `null` are unit and unit structs.
        if encoded == b"null" && size_of_val(value) == 0 {
            return Ok(Bytes::from_static(b"{}"));
        }
        Ok(encoded.into())
    }

    fn decode<T: DeserializeOwned>(body: &Bytes) -> Result<T, DecodeError> {
        let error = match serde_json::from_slice(body) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if size_of::<T>() == 0 && is_unit(body) {
            let unit = serde_json::from_slice(b"null").or_else(|_| serde_json::from_slice(b"{}"));
            return unit.map_err(|error| describe::<T>(body, error));
        }
        if body.is_empty() {
            return Err(DecodeError { text: "the body is empty".to_owned(), source: None });
        }
        Err(describe::<T>(body, error))
    }
}

fn is_unit(body: &[u8]) -> bool {
    matches!(body.trim_ascii(), b"" | b"null" | b"{}")
}

/// Describes the place and the reason of a decoding failure, without quoting a value.
fn describe<T: DeserializeOwned>(body: &[u8], error: serde_json::Error) -> DecodeError {
    let kind = match error.classify() {
        serde_json::error::Category::Data => "JSON of another shape",
        serde_json::error::Category::Eof => "JSON that ends early",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "not JSON",
    };
    let mut text = format!("the body is {kind}");
    if let Some(path) = path_of_mismatch::<T>(body) {
        text.push_str(&format!(" at `{path}`"));
    }
    let reason = error.to_string();
    // These reasons name only a field of the type; serde's other reasons quote the body.
    let is_quotable = ["missing field `", "duplicate field `"].iter();
    if is_quotable.clone().any(|known| reason.starts_with(known)) {
        let end = reason.rfind(" at line ").unwrap_or(reason.len());
        text.push_str(&format!(": {}", &reason[..end]));
    }
    text.push_str(&format!(" (line {}, column {})", error.line(), error.column()));
    DecodeError { text, source: Some(error) }
}

/// Returns the path of the failure, such as `items[1].price`; `None` for the whole body. Decodes a
/// second time, at a cost that only failed bodies have.
fn path_of_mismatch<T: DeserializeOwned>(body: &[u8]) -> Option<String> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let failed = serde_path_to_error::deserialize::<_, T>(&mut json).err()?;
    let path = failed.path().to_string();
    (path != ".").then_some(path)
}

/// Decodes the request of a typed handler. Errors are `Rejected`: the handler has not run.
pub(crate) fn decode_request<C: Codec, T: DeserializeOwned>(
    headers: &Headers,
    body: &Bytes,
) -> Result<T, Error> {
    if let Some(other) = foreign::<C>(headers) {
        let text = format!("content type `{other}` is not supported; send {}", C::CONTENT_TYPE);
        return Err(Error::failure(Code::Unimplemented, Delivery::Rejected, Reason::CODEC, text));
    }
    C::decode(body).map_err(|error| error.into_error(Code::InvalidArgument, Delivery::Rejected))
}

/// Decodes the reply to a typed call. Errors are `Processed`, since the handler has run, or
/// `Unknown` if the reply is the acknowledgement of a stream.
pub(crate) fn decode_response<C: Codec, T: DeserializeOwned>(
    headers: &Headers,
    body: &Bytes,
) -> Result<T, Error> {
    if let Some(other) = foreign::<C>(headers) {
        let text = format!("the reply is of type `{other}`, not {}", C::CONTENT_TYPE);
        let (code, reason) = (Code::Internal, Reason::BAD_RESPONSE);
        return Err(Error::failure(code, Delivery::Processed, reason, text));
    }
    C::decode(body).map_err(|error| match is_stream_ack(body) {
        true => stream_ack(),
        false => error.into_error(Code::Internal, Delivery::Processed),
    })
}

/// Returns whether a body is the acknowledgement of a JetStream stream (NATS ADR-8). A stream that
/// captures the subject sends it as a reply, whether or not a responder serves the subject.
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

/// Returns the content type if it is present and differs from the codec's, ignoring parameters and
/// case.
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
            assert_eq!(Json::decode::<Unit>(&body).unwrap(), Unit);
            assert_eq!(Json::decode::<Empty>(&body).unwrap(), Empty {});
            assert!(Json::decode::<u8>(&body).is_err());
        }
        assert!(Json::decode::<()>(&"7".into()).is_err());
    }

    #[test]
    fn decode_errors_do_not_quote_the_body() {
        let error = Json::decode::<u8>(&"\"secret\"".into()).unwrap_err().to_string();
        assert!(!error.contains("secret") && error.contains("line 1"), "{error}");
    }

    #[test]
    fn the_field_that_does_not_fit_is_named_and_serdes_reason_is_the_source() {
        #[derive(Debug, Deserialize)]
        struct Order {
            #[serde(rename = "items")]
            _items: Vec<Item>,
        }
        #[derive(Debug, Deserialize)]
        struct Item {
            #[serde(rename = "price")]
            _price: u32,
        }
        for (body, text) in [
            (r#"{"items":[{"price":1},{"price":"secret"}]}"#, "at `items[1].price` (line"),
            (r#"{"items":[{}]}"#, "at `items[0]`: missing field `price` (line"),
            ("{}", "of another shape: missing field `items` (line"),
        ] {
            let headers = Headers::new();
            let at_server = decode_request::<Json, Order>(&headers, &body.into()).unwrap_err();
            let at_client = decode_response::<Json, Order>(&headers, &body.into()).unwrap_err();
            for error in [at_server, at_client] {
                assert!(error.message().contains(text), "{}", error.message());
                assert!(!error.message().contains("secret"), "{}", error.message());
                let source = std::error::Error::source(&error).unwrap();
                assert!(source.is::<serde_json::Error>());
            }
        }
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
