//! Replies: bytes for a success, a marked header block and a document for an error.

use async_nats::{HeaderMap, Message, StatusCode};
use rr_spi::wire::{ErrorDocument, ErrorHeaders, RR_DEDUP, ResponseHead, status_of};
use rr_spi::{Bytes, Code, Delivery, Error, Origin, Reason, Response, Target};

use super::headers::{one_line, put, put_all, sorted};
use super::status::code_of;
use super::{SERVICE_ERROR, SERVICE_ERROR_CODE};

/// Maximum length of the text in `Nats-Service-Error`, in bytes; the body has the full text.
const TEXT_BYTES_MAX: usize = 256;

/// Returns header block and body of a reply.
pub(crate) fn encode_reply(outcome: Result<Response, Error>) -> (Option<HeaderMap>, Bytes) {
    let mut map = None;
    match outcome {
        Ok(response) => {
            if let Some(dedup) = response.dedup() {
                put(&mut map, RR_DEDUP, dedup.as_str());
            }
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

/// Returns the error without its text and details, for servers that accept only very short
/// messages.
pub(crate) fn minimal(error: &Error) -> Error {
    let reason = error.reason().cloned();
    Error::failure(error.code(), error.delivery(), reason, "")
        .with_retry(error.retry())
        .with_dedup(error.dedup())
}

fn text_of(error: &Error) -> String {
    let mut text = one_line(error.message());
    text.truncate(TEXT_BYTES_MAX);
    if text.is_empty() { error.code().as_str().to_owned() } else { text }
}

/// Converts a message that arrived for a call into the outcome of the call.
///
/// # Errors
///
/// The error that the reply carries, or that its status or headers stand for.
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

/// The header block of a reply.
#[derive(Default)]
struct Reply<'a> {
    service_error: Option<&'a str>,
    service_code: Option<&'a str>,
    head: ResponseHead<'a>,
}

impl<'a> Reply<'a> {
    fn read(map: &'a HeaderMap) -> Self {
        let mut reply = Self::default();
        for (name, value) in sorted(map) {
            let value = value.as_str();
            match name {
                SERVICE_ERROR => reply.service_error = reply.service_error.or(Some(value)),
                SERVICE_ERROR_CODE => reply.service_code = reply.service_code.or(Some(value)),
                name => reply.head.receive(name, value.as_bytes()),
            }
        }
        reply
    }

    fn outcome(self, body: Bytes) -> Result<Response, Error> {
        let Self { service_error, service_code, head } = self;
        let is_marked = service_error.is_some() || service_code.is_some();
        if !is_marked && !head.is_error() {
            return head.into_response(body);
        }
        let code = service_code.map_or(Code::Unknown, code_of);
        let text: String = service_error.unwrap_or_default().chars().take(1024).collect();
        let error = |code: Code, delivery: Delivery| {
            Error::failure(code, delivery, None, text).with_origin(Origin::Peer)
        };
        if head.is_from_rr() {
            // An rr responder states whether its handler ran.
            return Err(head.into_error(&body, || error(code, Delivery::Unknown)));
        }
        // A foreign service ran its handler. The code of a Connect document takes precedence.
        let code = ErrorDocument::decode(&body).and_then(|body| body.code).unwrap_or(code);
        Err(error(code, Delivery::Processed).with_headers(head.headers))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rr_spi::{Dedup, Detail, Headers, RetryHint};

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
                .with_dedup(Dedup::On)
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
        assert_eq!(read.dedup(), Some(Dedup::On));
        let response = Response::new("").with_dedup(Dedup::Replayed);
        assert_eq!(over_the_wire(Ok(response.clone())).unwrap(), response);
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
            (SERVICE_ERROR_CODE, "400", Code::InvalidArgument),
            (SERVICE_ERROR_CODE, "401", Code::Unauthenticated),
            (SERVICE_ERROR_CODE, "403", Code::PermissionDenied),
            (SERVICE_ERROR_CODE, "404", Code::NotFound),
            (SERVICE_ERROR_CODE, "408", Code::DeadlineExceeded),
            (SERVICE_ERROR_CODE, "409", Code::Aborted),
            (SERVICE_ERROR_CODE, "412", Code::FailedPrecondition),
            (SERVICE_ERROR_CODE, "429", Code::ResourceExhausted),
            (SERVICE_ERROR_CODE, "500", Code::Internal),
            (SERVICE_ERROR_CODE, "501", Code::Unimplemented),
            (SERVICE_ERROR_CODE, "503", Code::Unavailable),
            (SERVICE_ERROR_CODE, "504", Code::DeadlineExceeded),
            (SERVICE_ERROR_CODE, "405", Code::Unknown),
            (SERVICE_ERROR_CODE, "413", Code::Unknown),
            (SERVICE_ERROR_CODE, "502", Code::Unknown),
            (SERVICE_ERROR_CODE, "200", Code::Unknown),
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

    /// Decodes a reply with these headers, whose names keep their case.
    fn read(headers: &[(&str, &str)], body: &'static str) -> Result<Response, Error> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, *value);
        }
        decode_reply(&target(), message(Some(map), body))
    }

    #[test]
    fn a_reply_of_ours_that_does_not_say_whether_the_handler_ran_is_unknown() {
        for ours in [
            &[("rr-code", "newer_code")][..],
            &[("Rr-Code", "newer_code"), ("rr-delivery", "maybe")],
            &[("rr-reason", "draining")],
            &[("RR-Retry-After-Ms", "5")],
            &[("rr-dedup", "on")],
            &[("Rr-Newer", "x")],
        ] {
            let marks = [(SERVICE_ERROR, "it broke"), (SERVICE_ERROR_CODE, "404")];
            let error = read(&[ours, &marks].concat(), "").unwrap_err();
            let told = (error.code(), error.delivery(), error.message());
            assert_eq!(told, (Code::NotFound, Delivery::Unknown, "it broke"), "{ours:?}");
        }
        // Without the marks of ADR-32 the reply is still an error.
        for (name, value) in [("rr-reason", "draining"), ("rr-retry-after-ms", "5")] {
            let error = read(&[(name, value)], "").unwrap_err();
            assert_eq!((error.code(), error.delivery()), (Code::Unknown, Delivery::Unknown));
        }
        let response = read(&[("RR-Dedup", "replayed")], "x").unwrap();
        assert_eq!((&*response.body, response.dedup()), (&b"x"[..], Some(Dedup::Replayed)));
        let error = read(&[("rr-code", "newer_code"), ("rr-delivery", "rejected")], "");
        assert_eq!(error.unwrap_err().delivery(), Delivery::Rejected);
    }

    #[test]
    fn a_header_of_ours_in_two_cases_is_repeated_and_claims_the_least() {
        let both = |name: &str, one: &str, two: &str| {
            let upper = name.to_uppercase();
            let known = [("rr-code", "unavailable"), ("rr-delivery", "rejected")];
            let rest = known.into_iter().filter(|(known, _)| *known != name);
            read(&rest.chain([(name, one), (&*upper, two)]).collect::<Vec<_>>(), "").unwrap_err()
        };
        for (one, two) in [("rejected", "processed"), ("rejected", "rejected")] {
            assert_eq!(both("rr-delivery", one, two).delivery(), Delivery::Unknown);
        }
        let error = both("rr-code", "aborted", "not_found");
        assert_eq!((error.code(), error.delivery()), (Code::Unknown, Delivery::Rejected));
        assert_eq!(both("rr-reason", "draining", "closed").reason(), None);
        assert_eq!(both("rr-retry-after-ms", "1", "1").retry(), RetryHint::Never);
    }

    proptest! {
        #[test]
        fn no_reply_of_ours_claims_more_than_it_says_once(
            headers in prop::collection::vec(
                ("(rr|Rr|RR)-(code|delivery|reason|retry-after-ms|Delivery|other)",
                    "rejected|processed|unknown|unavailable|newer_code|draining|5|"),
                1..5,
            ),
            marked in prop::option::of("200|404|503|x"),
        ) {
            let mut all: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            all.extend(marked.iter().map(|code| (SERVICE_ERROR_CODE, code.as_str())));
            let stated: Vec<_> = headers
                .iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case("rr-delivery"))
                .map(|(_, value)| Delivery::from_wire(value).unwrap_or(Delivery::Unknown))
                .collect();
            let expected = if let [only] = stated[..] { only } else { Delivery::Unknown };
            let errs = |(name, _): &(String, String)| !name.to_lowercase().ends_with("other");
            match read(&all, "") {
                Ok(_) => prop_assert!(marked.is_none() && !headers.iter().any(errs)),
                Err(error) => prop_assert_eq!(error.delivery(), expected),
            }
        }

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
