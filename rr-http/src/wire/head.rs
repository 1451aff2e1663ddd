//! Heads of requests that arrive.

use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use rr_spi::wire::{CallHeader, decode_idempotency_key};
use rr_spi::{Code, Declared, Delivery, Error, Headers, Idempotency, Inbound, Reason, Received};

use super::query::{Query, decode_query};
use super::{headers, name};

/// Why a request is not answered by its handler.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: Error,
    /// The status, where the error's own would say less.
    pub(crate) status: Option<StatusCode>,
    /// Whether the reply says that POST would do.
    pub(crate) allows_post: bool,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, status: None, allows_post: false }
    }
}

impl Refusal {
    fn with_status(error: Error, status: StatusCode) -> Self {
        Self { error, status: Some(status), allows_post: false }
    }
}

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
}

/// What the head of a request says, beyond its target.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    pub(crate) inbound: Inbound<'a>,
    pub(crate) headers: Headers,
    pub(crate) idempotency: Idempotency,
    pub(crate) coding: Coding,
    /// The content type that the reply takes over; `None` when the request had none.
    pub(crate) content_type: Option<HeaderValue>,
    /// The body, when the query carries it.
    pub(crate) message: Option<Bytes>,
}

impl<'a> Head<'a> {
    /// Reads the head of a request for a method that is declared to be `declared`.
    pub(crate) fn read(parts: &'a Parts, declared: Declared) -> Result<Self, Refusal> {
        check_method(&parts.method, declared)?;
        let map = &parts.headers;
        let (headers, received) = headers::read(map);
        if received == Received::OverLimit {
            return Err(too_many_headers());
        }
        let mut head = Self {
            inbound: Inbound::default(),
            headers,
            idempotency: Idempotency::Unspecified,
            coding: Coding::Identity,
            content_type: map.get(header::CONTENT_TYPE).cloned(),
            message: None,
        };
        head.read_call(map)?;
        check_content_type(head.content_type.as_ref())?;
        head.coding = coding(single(map, &header::CONTENT_ENCODING)?)?;
        if parts.method != Method::POST {
            head.read_query(parts.uri.query().unwrap_or_default())?;
        }
        Ok(head)
    }

    fn read_call(&mut self, map: &'a HeaderMap) -> Result<(), Refusal> {
        let version = single(map, &name::CONNECT_PROTOCOL_VERSION)?;
        if version.is_some_and(|version| version != "1") {
            return Err(invalid("connect-protocol-version is not 1").into());
        }
        let call = match single(map, &name::RR)? {
            Some(text) => CallHeader::decode(text)?,
            None => CallHeader::default(),
        };
        self.inbound.retries = call.retries;
        self.idempotency = match single(map, &name::IDEMPOTENCY_KEY)? {
            Some(text) => Idempotency::Keyed(decode_idempotency_key(text)?),
            None => call.idempotency,
        };
        let connect = single(map, &name::CONNECT_TIMEOUT_MS)?.map(connect_timeout).transpose()?;
        let grpc = single(map, &name::GRPC_TIMEOUT)?.map(grpc_timeout).transpose()?;
        let own = call.timeout_millis.map(Duration::from_millis);
        self.inbound.timeout = [connect, grpc, own].into_iter().flatten().min();
        let text = |name| map.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        self.inbound.request_id = text(name::REQUEST_ID);
        self.inbound.traceparent = text(name::TRACEPARENT);
        self.inbound.tracestate = text(name::TRACESTATE);
        self.inbound.baggage = text(name::BAGGAGE);
        Ok(())
    }

    /// Reads what a GET carries in its query instead of a body.
    fn read_query(&mut self, query: &str) -> Result<(), Refusal> {
        let Query { version, encoding, compression, message } =
            decode_query(query).map_err(invalid)?;
        if version.is_some_and(|version| version != "v1") {
            return Err(invalid("the parameter `connect` is not v1").into());
        }
        self.coding = coding(compression.as_deref())?;
        self.idempotency = Idempotency::Safe;
        self.message = Some(message);
        self.headers.remove(rr_spi::wire::CONTENT_TYPE);
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
            self.headers.receive(rr_spi::wire::CONTENT_TYPE, content_type.into());
        }
        self.content_type = Some(value);
        Ok(())
    }
}

fn invalid(message: &'static str) -> Error {
    Error::failure(Code::InvalidArgument, Delivery::Rejected, None, message)
}

/// Returns the one value of a header, or refuses a repeated one.
fn single<'a>(map: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    headers::single(map, name).map_err(|()| {
        let message = format!("header {name} is repeated or no text");
        Error::failure(Code::InvalidArgument, Delivery::Rejected, None, message).into()
    })
}

/// HTTP/1.1 asks for exactly one `Host` (RFC 9112 §3.2); nothing else depends on it.
pub(crate) fn check_host(parts: &Parts) -> Result<(), Refusal> {
    if parts.version > Version::HTTP_11 {
        return Ok(());
    }
    let hosts = parts.headers.get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && parts.version == Version::HTTP_11) {
        return Err(invalid("HTTP/1.1 requests carry exactly one Host").into());
    }
    Ok(())
}

/// POST runs any method; GET and HEAD, which others repeat at will, only those declared safe.
fn check_method(method: &Method, declared: Declared) -> Result<(), Refusal> {
    let is_get = method == Method::GET || method == Method::HEAD;
    if method == Method::POST || (is_get && declared == Declared::Safe) {
        return Ok(());
    }
    let message = if is_get {
        "this method takes POST; declare it safe where it is routed to let GET call it"
    } else {
        "methods are called with POST"
    };
    let error = Error::failure(Code::Unimplemented, Delivery::Rejected, None, message);
    let status = Some(StatusCode::METHOD_NOT_ALLOWED);
    Err(Refusal { error, status, allows_post: true })
}

fn too_many_headers() -> Refusal {
    let error = Error::failure(
        Code::ResourceExhausted,
        Delivery::Rejected,
        Reason::REQUEST_TOO_LARGE,
        "more than 64 headers or 16 KiB of them",
    );
    Refusal::with_status(error, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
}

/// Streams of the Connect and gRPC protocols cannot be mistaken for one message.
fn check_content_type(value: Option<&HeaderValue>) -> Result<(), Refusal> {
    let Some(value) = value else { return Ok(()) };
    let starts = |prefix: &[u8]| {
        let start = value.as_bytes().get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if starts(b"application/connect+") || starts(b"application/grpc") {
        let message = "streams of the Connect and gRPC protocols are not spoken here; send unary";
        return Err(codec(message.to_owned()));
    }
    Ok(())
}

fn coding(text: Option<&str>) -> Result<Coding, Refusal> {
    match text {
        None | Some("") => Ok(Coding::Identity),
        Some(text) if text.eq_ignore_ascii_case("identity") => Ok(Coding::Identity),
        Some(text) if text.eq_ignore_ascii_case("gzip") => Ok(Coding::Gzip),
        Some(text) => {
            let shown: String = text.chars().take(32).collect();
            let shown = shown.escape_debug();
            Err(codec(format!("encoding `{shown}` is not supported; supported: identity, gzip")))
        }
    }
}

fn codec(message: String) -> Refusal {
    Error::failure(Code::Unimplemented, Delivery::Rejected, Reason::CODEC, message).into()
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

    fn refused(headers: &[(&str, &str)]) -> Option<Refusal> {
        let parts = parts(Method::POST, "/t", headers);
        let refusal = Head::read(&parts, Declared::Unspecified).err()?;
        assert_eq!(refusal.error.delivery(), Delivery::Rejected);
        Some(refusal)
    }

    fn timeout(headers: &[(&str, &str)]) -> Option<Duration> {
        let parts = parts(Method::POST, "/t", headers);
        Head::read(&parts, Declared::Unspecified).unwrap().inbound.timeout
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
    fn streams_and_unknown_encodings_are_not_spoken() {
        for (name, value) in [
            ("content-type", "application/connect+json"),
            ("content-type", "Application/gRPC-web"),
            ("content-encoding", "br"),
        ] {
            let refusal = refused(&[(name, value)]).unwrap();
            assert_eq!(refusal.error.reason(), Some(&Reason::CODEC), "{value}");
        }
        assert!(refused(&[("content-encoding", "GZIP")]).is_none());
    }

    #[test]
    fn get_runs_only_what_is_safe_and_carries_its_body_in_the_query() {
        let parts = parts(
            Method::GET,
            "/t?encoding=json&message=%7B%7D&connect=v1",
            &[("content-type", "text/plain")],
        );
        let refusal = Head::read(&parts, Declared::Idempotent).unwrap_err();
        assert_eq!(refusal.status, Some(StatusCode::METHOD_NOT_ALLOWED));
        assert!(refusal.allows_post);
        let head = Head::read(&parts, Declared::Safe).unwrap();
        assert_eq!(head.message.unwrap(), "{}");
        assert_eq!(head.headers.get("content-type"), Some("application/json"));
        assert_eq!(head.idempotency, Idempotency::Safe);
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
            let _ = Head::read(&parts, Declared::Unspecified);
        }

        #[test]
        fn what_a_requester_writes_reads_back(retries in 0u32..100, kind in 0usize..4, millis in 1u64..9_999_999_999) {
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
            let mut message =
                crate::wire::encode_request(&ctx, &request, "/t".parse().unwrap(), Some(&host), ())
                    .unwrap();
            crate::wire::set_timeout(message.headers_mut(), Some(millis));
            let (parts, ()) = message.into_parts();
            let head = Head::read(&parts, Declared::Unspecified).unwrap();
            prop_assert_eq!(head.inbound.retries, retries);
            prop_assert_eq!(head.inbound.timeout, Some(Duration::from_millis(millis)));
            prop_assert_eq!(head.inbound.request_id, Some("id-1"));
            prop_assert_eq!(head.inbound.traceparent, Some("00-a-b-01"));
            prop_assert_eq!(head.inbound.tracestate, Some("s=1"));
            prop_assert_eq!(head.inbound.baggage, Some("k=v"));
            prop_assert_eq!(head.idempotency, idempotency);
            prop_assert!(head.headers.is_empty());
        }
    }
}
