//! Encoding and decoding of requests and replies, with the errors of calls.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use rr_spi::{Code, Delivery, Error, Headers, Reason, Request, Response, wire};

use super::{Codec, CodecError, CodecSet, Decode, EncodedBy, Json, OctetStream};
use crate::reply::Reply;

/// Content type that transports leave out or repeat by themselves.
const JSON: &str = Json::CONTENT_TYPE;

/// Codec of a request, as its position in the [`CodecSet`] of the method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    codec: u8,
    /// Whether the reply needs a content type.
    is_reply_typed: bool,
}

/// Encodes the request of a typed call. Errors are `NotSent`.
pub(crate) fn encode_request<C: Codec>(
    value: &(impl EncodedBy<C> + ?Sized),
    request: impl FnOnce(Bytes) -> Result<Request, Error>,
) -> Result<Request, Error> {
    let body = contained(|| value.encoded())
        .map_err(|error| error.into_error(Code::Internal, Delivery::NotSent, None))?;
    let mut request = request(body)?;
    request.headers.insert(wire::CONTENT_TYPE, C::CONTENT_TYPE)?;
    Ok(request)
}

/// Decodes the request of a typed handler. Errors are `Rejected`: the handler has not run.
pub(crate) fn decode_request<C: CodecSet<T, U>, T, U>(
    request: &Request,
) -> Result<(T, Chosen), Error> {
    let given = request.headers.get(wire::CONTENT_TYPE);
    let position = |is_it: &dyn Fn(&str) -> bool| {
        C::CONTENT_TYPES.iter().position(|(accepted, _)| is_it(accepted))
    };
    let at = match given {
        // Either travels without a content type, and no list has both.
        None => position(&|accepted| accepted == JSON || accepted == OctetStream::CONTENT_TYPE),
        Some(given) => position(&|accepted| is_of(given, accepted)),
    };
    let at = at.ok_or_else(|| not_accepted(given, C::CONTENT_TYPES))?;
    let (accepted, replied) = C::CONTENT_TYPES[at];
    // Transports repeat `application/json`, or take it for granted (docs/src/wire.md#other-headers).
    let is_reply_typed = given.is_none() || accepted != replied || replied != JSON;
    let value = contained(|| C::decode_by(at, &request.body)).map_err(|error| {
        let (code, reason) = (Code::InvalidArgument, Some(Reason::DECODE));
        error.into_error(code, Delivery::Rejected, reason)
    })?;
    // A set has at most six codecs.
    Ok((value, Chosen { codec: u8::try_from(at).unwrap_or(0), is_reply_typed }))
}

/// Encodes the reply of a typed handler. Errors are the handler's: it has run.
pub(crate) fn encode_reply<C: CodecSet<T, U>, T, U>(
    chosen: Chosen,
    reply: Reply<U>,
) -> Result<Response, Error> {
    let (value, mut headers) = reply.checked()?;
    let at = usize::from(chosen.codec);
    let body = contained(|| C::encode_by(at, &value))
        .map_err(|error| error.into_error(Code::Internal, Delivery::Processed, None))?;
    if chosen.is_reply_typed && !headers.contains(wire::CONTENT_TYPE) {
        headers.insert(wire::CONTENT_TYPE, C::CONTENT_TYPES[at].1)?;
    }
    Ok(Response::new(body).with_headers(headers))
}

/// Decodes the response to a typed call. An error counts as the outcome of a call, so that it is
/// re-scoped if it leaves a handler.
pub(crate) fn receive<C: Decode<T>, T>(response: Response) -> Result<Reply<T>, Error> {
    let value = decode_reply::<C, T>(&response.headers, &response.body);
    Ok(Reply::received(value.map_err(Error::into_failure)?, response.headers))
}

/// Decodes the reply to a typed call. Errors are `Processed`, since the handler has run, or
/// `Unknown` if the reply is the acknowledgement of a stream.
fn decode_reply<C: Decode<T>, T>(headers: &Headers, body: &Bytes) -> Result<T, Error> {
    let given = headers.get(wire::CONTENT_TYPE);
    if let Some(other) = given.filter(|given| !is_of(given, C::REPLY_CONTENT_TYPE)) {
        let text = format!("the reply is of type `{other}`, not {}", C::REPLY_CONTENT_TYPE);
        let (code, reason) = (Code::Internal, Reason::BAD_RESPONSE);
        return Err(Error::failure(code, Delivery::Processed, reason, text));
    }
    // Other codecs might accept the acknowledgement, which has no content type.
    if given.is_none() && C::REPLY_CONTENT_TYPE != JSON && is_stream_ack(body) {
        return Err(stream_ack());
    }
    contained(|| C::decode_reply(body)).map_err(|error| match is_stream_ack(body) {
        true => stream_ack(),
        false => error.into_error(Code::Internal, Delivery::Processed, Some(Reason::DECODE)),
    })
}

/// Returns whether a content type is the given one, ignoring parameters and case.
fn is_of(given: &str, expected: &str) -> bool {
    let kind = given.split(';').next().unwrap_or(given).trim();
    kind.eq_ignore_ascii_case(expected)
}

fn not_accepted(given: Option<&str>, accepted: &[(&str, &str)]) -> Error {
    let list: Vec<_> = accepted.iter().map(|(content_type, _)| *content_type).collect();
    let list = list.join(" or ");
    let text = match given {
        Some(given) => format!("content type `{given}` is not supported; send {list}"),
        None => format!("the request has no content type; send {list}"),
    };
    Error::failure(Code::Unimplemented, Delivery::Rejected, Reason::CODEC, text)
}

/// Runs a codec, which is code of the application, and turns its panic into an error.
fn contained<T>(run: impl FnOnce() -> Result<T, CodecError>) -> Result<T, CodecError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        // The panic hook has seen the payload, whose destructor may panic as well.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload))).map_err(std::mem::forget);
        Err(CodecError::new("the codec failed unexpectedly"))
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

#[cfg(test)]
mod tests {
    use rr_spi::Target;
    use serde::Deserialize;

    use super::*;
    use crate::codec::{Codec, Encode, Json, Text};

    fn request(body: &'static str) -> Request {
        Request::new(Target::parse("orders.place").unwrap(), body)
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
            (
                r#"{"items":[{"price":1},{"price":"secret"}]}"#,
                "at `items[1].price`: expected u32 (line",
            ),
            (r#"{"items":[{}]}"#, "at `items[0]`: missing field `price` (line"),
            ("{}", "of another shape: missing field `items` (line"),
        ] {
            let at_server = decode_request::<Json, Order, ()>(&request(body)).unwrap_err();
            let at_client = decode_reply::<Json, Order>(&Headers::new(), &body.into()).unwrap_err();
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
        let mut request = request("7");
        for good in ["application/json", "Application/JSON; charset=utf-8"] {
            request.headers.insert("content-type", good).unwrap();
            assert_eq!(decode_request::<Json, u8, ()>(&request).unwrap().0, 7);
        }
        request.headers.insert("content-type", "application/xml").unwrap();
        let error = decode_request::<(Json, Text), String, String>(&request).unwrap_err();
        assert_eq!(error.reason(), Some(&Reason::CODEC));
        assert_eq!(error.delivery(), Delivery::Rejected);
        assert!(error.message().contains("send application/json or text/plain"), "{error}");
        let error = decode_reply::<Json, u8>(&request.headers, &"7".into()).unwrap_err();
        assert_eq!(error.reason(), Some(&Reason::BAD_RESPONSE));
    }

    #[test]
    fn a_request_without_a_content_type_is_json_or_bytes_or_refused() {
        let (value, chosen) =
            decode_request::<(Text, Json), String, String>(&request("\"7\"")).unwrap();
        assert_eq!((value.as_str(), chosen.codec), ("7", 1));
        let (value, chosen) =
            decode_request::<OctetStream, Vec<u8>, Vec<u8>>(&request("7")).unwrap();
        assert_eq!(value, b"7");
        let response = encode_reply::<OctetStream, Vec<u8>, _>(chosen, Reply::new(value)).unwrap();
        assert_eq!(response.headers.get("content-type"), Some("application/octet-stream"));
        let error = decode_request::<Text, String, String>(&request("7")).unwrap_err();
        assert_eq!(error.reason(), Some(&Reason::CODEC));
        assert_eq!(error.message(), "the request has no content type; send text/plain");
    }

    #[test]
    fn the_acknowledgement_of_a_stream_is_no_reply_for_any_codec() {
        let body = Bytes::from_static(br#"{"stream":"ORDERS","seq":7}"#);
        let as_text = decode_reply::<Text, String>(&Headers::new(), &body).unwrap_err();
        let as_json = decode_reply::<Json, u8>(&Headers::new(), &body).unwrap_err();
        for error in [as_text, as_json] {
            assert_eq!(error.delivery(), Delivery::Unknown, "{error}");
            assert_eq!(error.reason(), Some(&Reason::BAD_RESPONSE));
        }
        let mut headers = Headers::new();
        headers.insert("content-type", "text/plain").unwrap();
        assert!(decode_reply::<Text, String>(&headers, &body).is_ok());
    }

    #[test]
    fn a_received_reply_that_is_passed_on_has_the_content_type_of_its_new_body() {
        let mut headers = Headers::new();
        headers.insert("content-type", "text/plain").unwrap();
        headers.insert("x-left", "7").unwrap();
        let reply = Reply::received("tea".to_owned(), headers).map(|text| text.len() as u8);
        let (_, chosen) = decode_request::<Json, u8, u8>(&request("7")).unwrap();
        let response = encode_reply::<Json, u8, u8>(chosen, reply.clone()).unwrap();
        assert_eq!(response.headers.get("x-left"), Some("7"));
        assert_ne!(response.headers.get("content-type"), Some("text/plain"));
        let chosen_type = reply.header("content-type", "application/x-tea");
        let response = encode_reply::<Json, u8, u8>(chosen, chosen_type).unwrap();
        assert_eq!(response.headers.get("content-type"), Some("application/x-tea"));
    }

    #[test]
    fn a_codec_that_panics_makes_an_error() {
        struct Broken;
        impl Codec for Broken {
            const CONTENT_TYPE: &'static str = "application/broken";
        }
        impl Encode<u8> for Broken {
            fn encode(_: &u8) -> Result<Bytes, CodecError> {
                panic!("as asked")
            }
        }
        impl Decode<u8> for Broken {
            fn decode(_: &Bytes) -> Result<u8, CodecError> {
                panic!("as asked")
            }
        }
        let body = |bytes| Ok(Request::new(Target::parse("a.b").unwrap(), bytes));
        let error = encode_request::<Broken>(&7_u8, body).unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::Internal, Delivery::NotSent));
        let mut broken = request("7");
        broken.headers.insert("content-type", Broken::CONTENT_TYPE).unwrap();
        let error = decode_request::<Broken, u8, u8>(&broken).unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::Rejected));
        let chosen = Chosen { codec: 0, is_reply_typed: true };
        let error = encode_reply::<Broken, u8, u8>(chosen, Reply::new(7)).unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::Internal, Delivery::Processed));
        let error = decode_reply::<Broken, u8>(&Headers::new(), &"7".into()).unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::Internal, Delivery::Processed));
    }
}
