//! Replies: bytes for a success, a marked header block and a document for an error.

use async_nats::{HeaderMap, Message, StatusCode};
use rr_spi::wire::{
    ErrorDocument, ErrorHeaders, ErrorReply, RR_CODE, RR_DELIVERY, RR_REASON, RR_RETRY_AFTER_MS,
};
use rr_spi::{Bytes, Code, Delivery, Error, Headers, Origin, Reason, Received, Response, Target};

use super::headers::{one_line, put, put_all, receive, sorted};
use super::status::{code_of, status_of};
use super::{SERVICE_ERROR, SERVICE_ERROR_CODE};

/// Longest text in `Nats-Service-Error`; the body has all of it.
const TEXT_BYTES_MAX: usize = 256;

/// Returns header block and body of a reply.
pub(crate) fn encode_reply(outcome: Result<Response, Error>) -> (Option<HeaderMap>, Bytes) {
    let mut map = None;
    match outcome {
        Ok(response) => {
            put_all(&mut map, &response.headers);
            (map, response.body)
        }
        Err(error) => {
            for (name, value) in ErrorHeaders::of(&error).iter() {
                put(&mut map, name, value);
            }
            put(&mut map, SERVICE_ERROR, &text_of(&error));
            put(&mut map, SERVICE_ERROR_CODE, &status_of(&error).to_string());
            put_all(&mut map, error.headers());
            (map, ErrorDocument::encode(&error))
        }
    }
}

/// Returns what says the same in the fewest bytes, for servers that take very short messages.
pub(crate) fn minimal(error: &Error) -> Error {
    let reason = error.reason().cloned();
    Error::failure(error.code(), error.delivery(), reason, "").with_retry(error.retry())
}

fn text_of(error: &Error) -> String {
    let mut text = one_line(error.message());
    text.truncate(TEXT_BYTES_MAX);
    if text.is_empty() { error.code().as_str().to_owned() } else { text }
}

/// Turns a message that arrived for a call into its outcome.
///
/// # Errors
///
/// The error that the reply carries, or that it amounts to.
pub(crate) fn decode_reply(target: &Target, message: Message) -> Result<Response, Error> {
    if let Some(status) = message.status.filter(|status| !status.is_success()) {
        if status == StatusCode::NO_RESPONDERS && message.payload.is_empty() {
            return Err(no_responder(target));
        }
        let text = format!("a message of status {status} instead of a reply");
        let code = code_of(&status.as_u16().to_string());
        return Err(
            Error::failure(code, Delivery::Unknown, None, text).with_origin(Origin::Intermediary)
        );
    }
    let Some(map) = message.headers.as_ref().filter(|map| !map.is_empty()) else {
        return Ok(Response::new(message.payload));
    };
    Reply::read(map).outcome(message.payload)
}

fn no_responder(target: &Target) -> Error {
    let text = format!("nobody answers `{target}`");
    Error::failure(Code::Unavailable, Delivery::NotSent, Reason::NO_RESPONDER, text)
        .with_origin(Origin::Intermediary)
}

/// The header block of a reply, taken apart.
#[derive(Default)]
struct Reply<'a> {
    service_error: Option<&'a str>,
    service_code: Option<&'a str>,
    ours: ErrorReply<'a>,
    /// Whether a peer that speaks rr wrote it.
    is_ours: bool,
    over_limit: bool,
}

impl<'a> Reply<'a> {
    fn read(map: &'a HeaderMap) -> Self {
        let mut reply = Self::default();
        for (name, values) in sorted(map) {
            let all = || values.iter().map(async_nats::HeaderValue::as_str);
            let first = all().next();
            let only = first.filter(|_| values.len() == 1);
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            if name == SERVICE_ERROR {
                reply.service_error = first;
            } else if name == SERVICE_ERROR_CODE {
                reply.service_code = first;
            } else if is(RR_CODE) {
                reply.ours.code = only;
                reply.is_ours = true;
            } else if is(RR_REASON) {
                reply.ours.reason = only;
            } else if is(RR_DELIVERY) {
                reply.ours.delivery = all().collect();
                reply.is_ours = true;
            } else if is(RR_RETRY_AFTER_MS) {
                reply.ours.retry_after_ms = all().collect();
            } else {
                for value in values {
                    let received = receive(&mut reply.ours.headers, name, value);
                    reply.over_limit |= received == Received::OverLimit;
                }
            }
        }
        reply
    }

    fn outcome(self, body: Bytes) -> Result<Response, Error> {
        let marked = self.service_error.is_some() || self.service_code.is_some();
        if !marked && !self.is_ours {
            if self.over_limit {
                let text = "the reply has more than 64 headers or 16 KiB of them";
                let reason = Reason::BAD_RESPONSE;
                return Err(Error::failure(Code::Internal, Delivery::Processed, reason, text));
            }
            return Ok(Response::new(body).with_headers(self.ours.headers));
        }
        let Self { service_error, service_code, ours: mut reply, is_ours, .. } = self;
        let foreign = |headers: Headers, code: Code, message: &str| {
            Error::failure(code, Delivery::Processed, None, message.to_owned())
                .with_origin(Origin::Peer)
                .with_headers(headers)
        };
        let code = service_code.map_or(Code::Unknown, code_of);
        let text: String = service_error.unwrap_or_default().chars().take(1024).collect();
        if is_ours {
            reply.body = body;
            return Err(reply.decode(|| foreign(Headers::new(), code, &text)));
        }
        // A foreign service: its code is taken from a Connect document if it wrote one.
        let code = ErrorDocument::decode(&body).and_then(|body| body.code).unwrap_or(code);
        Err(foreign(reply.headers, code, &text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rr_spi::{Detail, RetryHint};

    use super::*;

    fn message(headers: Option<HeaderMap>, payload: impl Into<Bytes>) -> Message {
        Message {
            subject: "s".into(),
            reply: None,
            payload: payload.into(),
            headers,
            status: None,
            description: None,
            length: 0,
        }
    }

    fn target() -> Target {
        Target::try_from("svc.t").unwrap()
    }

    fn over_the_wire(outcome: Result<Response, Error>) -> Result<Response, Error> {
        let (headers, body) = encode_reply(outcome);
        decode_reply(&target(), message(headers, body))
    }

    #[test]
    fn a_plain_success_has_no_headers() {
        let outcome = || Ok(Response::new("pong"));
        assert!(encode_reply(outcome()).0.is_none());
        assert_eq!(over_the_wire(outcome()).unwrap().body, "pong");
    }

    #[test]
    fn an_error_round_trips_and_is_marked_twice() {
        let mut headers = Headers::new();
        headers.insert("x-shop", "berlin").unwrap();
        let error =
            Error::failure(Code::Unavailable, Delivery::Rejected, Reason::DRAINING, "b\r\nü")
                .with_detail(Detail::new("a.B", "x"))
                .with_retry(RetryHint::After(std::time::Duration::from_millis(20)))
                .with_headers(headers);
        let (map, _) = encode_reply(Err(error.clone()));
        let map = map.unwrap();
        assert_eq!(map.get(SERVICE_ERROR).unwrap().as_str(), "b  ?");
        assert_eq!(map.get(SERVICE_ERROR_CODE).unwrap().as_str(), "503");
        let read = over_the_wire(Err(error.clone())).unwrap_err();
        assert_eq!((read.code(), read.delivery()), (error.code(), error.delivery()));
        assert_eq!((read.reason(), read.retry()), (error.reason(), error.retry()));
        assert_eq!((read.message(), read.details()), (error.message(), error.details()));
        assert_eq!((read.headers(), read.origin()), (error.headers(), Origin::Peer));
    }

    #[test]
    fn no_responders_takes_the_status_and_an_empty_body() {
        let mut reply = message(None, "");
        reply.status = Some(StatusCode::NO_RESPONDERS);
        let error = decode_reply(&target(), reply.clone()).unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::NotSent));
        assert_eq!(error.reason(), Some(&Reason::NO_RESPONDER));
        reply.payload = "x".into();
        let error = decode_reply(&target(), reply).unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::Unknown));
    }

    #[test]
    fn foreign_errors_take_either_header_and_are_processed() {
        for (name, value, code) in [
            (SERVICE_ERROR_CODE, "404", Code::Unimplemented),
            (SERVICE_ERROR_CODE, "bad", Code::Unknown),
            (SERVICE_ERROR, "it broke", Code::Unknown),
        ] {
            let mut map = HeaderMap::new();
            map.insert(name, value);
            let error = decode_reply(&target(), message(Some(map), "body")).unwrap_err();
            assert_eq!((error.code(), error.delivery()), (code, Delivery::Processed));
        }
        let mut map = HeaderMap::new();
        map.insert(SERVICE_ERROR_CODE, "500");
        let body = r#"{"code":"not_found","delivery":"rejected"}"#;
        let error = decode_reply(&target(), message(Some(map), body)).unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::NotFound, Delivery::Processed));
    }

    proptest! {
        #[test]
        fn any_error_text_is_safe_to_write(text in ".{0,400}", code in 0usize..16) {
            let error = Error::failure(Code::ALL[code], Delivery::Processed, None, text.clone());
            let read = over_the_wire(Err(error)).unwrap_err();
            prop_assert_eq!(read.code(), Code::ALL[code]);
            prop_assert_eq!(read.message(), text);
        }

        #[test]
        fn reading_never_panics(
            name in prop_oneof![
                Just("Nats-Service-Error".to_owned()), Just("rr-code".to_owned()), Just("x".to_owned()),
                Just("Nats-Service-Error-Code".to_owned()), Just("é-Bin".replace('é', "e")),
            ],
            value in "[^\r\n]{0,20}",
            body in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut map = HeaderMap::new();
            map.append(name.as_str(), value.as_str());
            let _ = decode_reply(&target(), message(Some(map), body));
        }
    }
}
