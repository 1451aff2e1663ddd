//! Decoding of request heads.

use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use rr_spi::wire::{self, RequestHead};
use rr_spi::{Code, Declared, Delivery, Error, Idempotency, Inbound, Reason};

use super::content_encoding::Coding;
use super::headers;
use super::known_headers::{Line, Lines};
use super::query::{Query, decode_query};
use super::refusal::Refusal;

/// The head of a request, without its target.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    /// The headers that every transport carries.
    pub(crate) common: RequestHead<'a>,
    /// The smallest timeout among the headers of Connect and gRPC.
    timeout: Option<Duration>,
    pub(crate) coding: Coding,
    /// The content type that the reply takes over; `None` when the request had none.
    pub(crate) content_type: Option<HeaderValue>,
    /// The body, when the query carries it.
    pub(crate) message: Option<Bytes>,
}

impl<'a> Head<'a> {
    /// Reads the head of a request. `lines` are its known headers, and `declared` is the
    /// idempotency that the method declares.
    pub(crate) fn read(
        parts: &'a Parts,
        lines: &Lines<'a>,
        declared: Declared,
    ) -> Result<Self, Refusal> {
        check_method(&parts.method, declared)?;
        let map = &parts.headers;
        let mut head = Self {
            common: RequestHead::default(),
            timeout: None,
            coding: lines.content_encoding.first.map_or(Coding::Identity, |_| Coding::of(map)),
            content_type: lines.content_type.first.cloned(),
            message: None,
        };
        for (name, value) in headers::visible(map) {
            head.common.receive(name, value).map_err(refused)?;
        }
        head.timeout = timeout(lines)?;
        let version = single("connect-protocol-version", lines.connect_protocol_version)?;
        if version.is_some_and(|version| version != "1") {
            return Err(invalid("connect-protocol-version is not 1").into());
        }
        if lines.content_type.repeated {
            return Err(invalid("header content-type is repeated").into());
        }
        if parts.method != Method::POST {
            head.read_query(parts.uri.query().unwrap_or_default())?;
        }
        check_content_type(head.content_type.as_ref())?;
        Ok(head)
    }

    /// Returns the part of the head that enters the call's context.
    pub(crate) fn inbound(&self) -> Inbound<'_> {
        let mut inbound = self.common.inbound();
        inbound.timeout = [self.timeout, inbound.timeout].into_iter().flatten().min();
        inbound
    }

    /// Reads the query of a GET, which carries the message instead of a body.
    fn read_query(&mut self, query: &str) -> Result<(), Refusal> {
        let Query { version, encoding, compression, message } =
            decode_query(query).map_err(invalid)?;
        if version.is_some_and(|version| version != "v1") {
            return Err(invalid("the parameter `connect` is not v1").into());
        }
        self.coding = Coding::of_list(compression.as_deref());
        self.common.idempotency = Idempotency::Safe;
        self.message = Some(message);
        self.common.headers.remove(wire::CONTENT_TYPE);
        self.content_type = None;
        if let Some(encoding) = encoding {
            self.read_encoding(&encoding)?;
        }
        Ok(())
    }

    fn read_encoding(&mut self, encoding: &str) -> Result<(), Refusal> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if encoding.is_empty() || !encoding.bytes().all(plain) {
            return Err(invalid("malformed parameter `encoding`").into());
        }
        let content_type = format!("application/{}", encoding.to_ascii_lowercase());
        let value = HeaderValue::from_str(&content_type)
            .map_err(|_| invalid("malformed parameter `encoding`"))?;
        if !headers::is_octet_stream(&value) {
            self.common.headers.receive(wire::CONTENT_TYPE, content_type.into());
        }
        self.content_type = Some(value);
        Ok(())
    }
}

fn invalid(message: &'static str) -> Error {
    Error::failure(Code::InvalidArgument, Delivery::Rejected, None, message)
}

/// Returns the single value of a header; refuses a repeated value, or one that is not text.
fn single<'a>(name: &'static str, line: Line<'a>) -> Result<Option<&'a str>, Refusal> {
    line.single().map_err(|()| {
        let message = format!("header {name} is repeated or no text");
        Error::failure(Code::InvalidArgument, Delivery::Rejected, None, message).into()
    })
}

/// Checks the HTTP method. POST runs any method; GET and HEAD, which intermediaries may repeat, run
/// only methods that are declared safe.
fn check_method(method: &Method, declared: Declared) -> Result<(), Refusal> {
    let is_get = method == Method::GET || method == Method::HEAD;
    if method == Method::POST || (is_get && declared == Declared::Safe) {
        return Ok(());
    }
    let (message, allow) = match (is_get, declared) {
        (_, Declared::Safe) => ("this method is called with GET or POST", "GET, HEAD, POST"),
        (false, _) => ("methods are called with POST", "POST"),
        (true, _) => (
            "this method takes POST; declare it safe where it is routed to let GET call it",
            "POST",
        ),
    };
    let error = Error::failure(Code::Unimplemented, Delivery::Rejected, None, message);
    let refusal = Refusal::with_status(error, StatusCode::METHOD_NOT_ALLOWED);
    Err(Refusal { allow: Some(allow), ..refusal })
}

/// Gives a refusal its status: 431 for too many headers, otherwise that of its code.
fn refused(error: Error) -> Refusal {
    match error.code() {
        Code::ResourceExhausted => {
            Refusal::with_status(error, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
        }
        _ => error.into(),
    }
}

/// Refuses streams of the Connect and gRPC protocols: they carry no unary message.
fn check_content_type(value: Option<&HeaderValue>) -> Result<(), Refusal> {
    let Some(value) = value else { return Ok(()) };
    let starts = |prefix: &[u8]| {
        let start = value.as_bytes().get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if starts(b"application/connect+") || starts(b"application/grpc") {
        let message = "streams of the Connect and gRPC protocols are not spoken here; send unary";
        let error = Error::failure(Code::Unimplemented, Delivery::Rejected, Reason::CODEC, message);
        return Err(error.into());
    }
    Ok(())
}

/// Returns the smaller of the Connect and gRPC timeouts.
fn timeout(lines: &Lines<'_>) -> Result<Option<Duration>, Refusal> {
    let connect = single("connect-timeout-ms", lines.connect_timeout_ms)?;
    let connect = connect.map(connect_timeout).transpose()?;
    let grpc = single("grpc-timeout", lines.grpc_timeout)?.map(grpc_timeout).transpose()?;
    Ok([connect, grpc].into_iter().flatten().min())
}

fn connect_timeout(text: &str) -> Result<Duration, Error> {
    let millis = digits(text, 10).ok_or_else(|| invalid("malformed header connect-timeout-ms"))?;
    Ok(Duration::from_millis(millis))
}

/// Reads gRPC's timeout: at most 8 digits and a unit.
fn grpc_timeout(text: &str) -> Result<Duration, Error> {
    let malformed = || invalid("malformed header grpc-timeout");
    let unit = text.chars().next_back().ok_or_else(malformed)?;
    let number = text.strip_suffix(unit).and_then(|number| digits(number, 8));
    let number = number.ok_or_else(malformed)?;
    Ok(match unit {
        'H' => Duration::from_secs(number * 60 * 60),
        'M' => Duration::from_secs(number * 60),
        'S' => Duration::from_secs(number),
        'm' => Duration::from_millis(number),
        'u' => Duration::from_micros(number),
        'n' => Duration::from_nanos(number),
        _ => return Err(malformed()),
    })
}

/// Parses decimal digits only: no sign, no space, at most `most` of them.
fn digits(text: &str, most: usize) -> Option<u64> {
    let plain = !text.is_empty() && text.len() <= most && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(method: Method, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri).header("host", "h");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn read(parts: &Parts, declared: Declared) -> Result<Head<'_>, Refusal> {
        Head::read(parts, &Lines::of(&parts.headers), declared)
    }

    fn refused(headers: &[(&str, &str)]) -> Option<Refusal> {
        let parts = parts(Method::POST, "/t", headers);
        let refusal = read(&parts, Declared::Unspecified).err()?;
        assert_eq!(refusal.error.delivery(), Delivery::Rejected);
        Some(refusal)
    }

    fn timeout(headers: &[(&str, &str)]) -> Option<Duration> {
        let parts = parts(Method::POST, "/t", headers);
        read(&parts, Declared::Unspecified).unwrap().inbound().timeout
    }

    #[test]
    fn the_smallest_timeout_wins_and_malformed_ones_are_refused() {
        let all = [("connect-timeout-ms", "30"), ("grpc-timeout", "20m"), ("rr", "t=25;n=1")];
        assert_eq!(timeout(&all), Some(Duration::from_millis(20)));
        assert_eq!(timeout(&[("connect-timeout-ms", "0")]), Some(Duration::ZERO));
        assert_eq!(timeout(&[]), None);
        for (name, bad) in [
            ("connect-timeout-ms", "-1"),
            ("connect-timeout-ms", "1.5"),
            ("connect-timeout-ms", ""),
            ("connect-timeout-ms", "12345678901"),
            ("grpc-timeout", "5"),
            ("grpc-timeout", "123456789m"),
            ("grpc-timeout", "5x"),
            ("rr", "t=x"),
            ("connect-protocol-version", "2"),
            ("idempotency-key", "\""),
        ] {
            let refusal = refused(&[(name, bad)]).unwrap();
            assert_eq!(refusal.error.code(), Code::InvalidArgument, "{name}: {bad}");
        }
        assert!(refused(&[("connect-timeout-ms", "1"), ("connect-timeout-ms", "1")]).is_some());
        assert!(refused(&[("idempotency-key", "a"), ("idempotency-key", "a")]).is_some());
    }

    #[test]
    fn streams_are_not_spoken_and_there_is_one_content_type() {
        for value in ["application/connect+json", "Application/gRPC-web"] {
            let refusal = refused(&[("content-type", value)]).unwrap();
            assert_eq!(refusal.error.reason(), Some(&Reason::CODEC), "{value}");
        }
        let twice = [("content-type", "text/plain"), ("content-type", "text/plain")];
        assert_eq!(refused(&twice).unwrap().error.code(), Code::InvalidArgument);
        let parts = parts(Method::GET, "/t?encoding=grpc", &[]);
        let refusal = read(&parts, Declared::Safe).unwrap_err();
        assert_eq!(refusal.error.reason(), Some(&Reason::CODEC));
    }

    #[test]
    fn repeated_list_headers_are_joined() {
        let lines =
            [("tracestate", "a=1"), ("baggage", "k=v"), ("tracestate", "b=2"), ("baggage", "l=w")];
        let parts = parts(Method::POST, "/t", &lines);
        let head = read(&parts, Declared::Unspecified).unwrap();
        assert_eq!(head.inbound().tracestate, Some("a=1,b=2"));
        assert_eq!(head.inbound().baggage, Some("k=v,l=w"));
    }

    #[test]
    fn get_runs_only_what_is_safe_and_carries_its_body_in_the_query() {
        let parts = parts(
            Method::GET,
            "/t?encoding=json&message=%7B%7D&connect=v1",
            &[("content-type", "text/plain")],
        );
        let refusal = read(&parts, Declared::Idempotent).unwrap_err();
        assert_eq!(refusal.status, Some(StatusCode::METHOD_NOT_ALLOWED));
        assert_eq!(refusal.allow, Some("POST"));
        let head = read(&parts, Declared::Safe).unwrap();
        assert_eq!(head.message.unwrap(), "{}");
        assert_eq!(head.common.headers.get("content-type"), Some("application/json"));
        assert_eq!(head.common.idempotency, Idempotency::Safe);
    }

    proptest! {
        #[test]
        fn read_never_panics(
            text in "[ -~]{0,20}",
            at in 0usize..6,
        ) {
            let names = [
                "connect-timeout-ms", "grpc-timeout", "rr", "idempotency-key", "content-encoding",
                "content-type",
            ];
            let parts = parts(Method::POST, "/t", &[(names[at], &text)]);
            let _ = read(&parts, Declared::Unspecified);
        }

        #[test]
        fn a_written_request_reads_back(retries in 0u32..100, kind in 0usize..4, millis in 1u64..9_999_999_999) {
            let key = rr_spi::IdempotencyKey::new("order-17").unwrap();
            let idempotency = [
                Idempotency::Unspecified,
                Idempotency::Safe,
                Idempotency::Idempotent,
                Idempotency::Keyed(key),
            ][kind].clone();
            let ctx = rr_spi::Context::background()
                .with_retries(retries)
                .with_request_id("id-1").unwrap()
                .with_trace("00-a-b-01", Some("s=1")).unwrap()
                .with_baggage("k=v").unwrap();
            let request = rr_spi::Request::new("t".try_into().unwrap(), "")
                .with_idempotency(idempotency.clone());
            let host = HeaderValue::from_static("h");
            let (uri, map) = ("/t".parse().unwrap(), http::HeaderMap::new());
            let message = crate::wire::encode_request(&ctx, &request, uri, Some(&host), map, ());
            let mut message = message.unwrap();
            crate::wire::set_timeout(message.headers_mut(), Some(millis));
            let (parts, ()) = message.into_parts();
            let head = read(&parts, Declared::Unspecified).unwrap();
            let inbound = head.inbound();
            prop_assert_eq!(inbound.retries, retries);
            prop_assert_eq!(inbound.timeout, Some(Duration::from_millis(millis)));
            prop_assert_eq!(inbound.request_id, Some("id-1"));
            prop_assert_eq!(inbound.traceparent, Some("00-a-b-01"));
            prop_assert_eq!(inbound.tracestate, Some("s=1"));
            prop_assert_eq!(inbound.baggage, Some("k=v"));
            prop_assert_eq!(head.common.idempotency, idempotency);
            prop_assert!(head.common.headers.is_empty());
        }
    }
}
