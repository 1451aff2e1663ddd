//! Calls of web pages from other origins, over both versions of HTTP.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::time::Duration;

use crate::support::*;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method};
use rr_http::{HttpOrigins, HttpServerConfig, HttpVersion};
use rr_spi::IntakeConfig;

const PAGE: &str = "https://shop.example";
const STRANGER: &str = "https://other.example";
const VERSIONS: [HttpVersion; 2] = [HttpVersion::H1, HttpVersion::H2c];

/// The names of the headers that grant access.
const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const EXPOSE: &str = "access-control-expose-headers";

/// What a browser sends before a call with headers of its own.
const PREFLIGHT: [(&str, &str); 2] = [
    ("access-control-request-method", "POST"),
    ("access-control-request-headers", "connect-protocol-version,x-tenant"),
];

struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn grants_nothing(&self) {
        let mut names = self.headers.keys().map(HeaderName::as_str);
        assert!(!names.any(|name| name.starts_with("access-control-")), "{:?}", self.headers);
    }
}

/// Lets pages of one origin call.
fn config() -> HttpServerConfig {
    HttpServerConfig::default().with_cors_origins(PAGE.parse().unwrap())
}

type Lines<'a> = &'a [(&'a str, &'a str)];

async fn ask(
    fixture: &Fixture,
    version: HttpVersion,
    (method, path): (Method, &str),
    lines: Lines<'_>,
    body: &str,
) -> Reply {
    match version {
        HttpVersion::H1 => ask_h1(&mut fixture.raw().await, (method, path), lines, body).await,
        _ => within(ask_h2(fixture, (method, path), lines, body)).await,
    }
}

async fn ask_h1(
    raw: &mut Raw,
    (method, path): (Method, &str),
    lines: Lines<'_>,
    body: &str,
) -> Reply {
    let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = match body.len() {
        0 => String::new(),
        length => format!("content-length: {length}\r\n"),
    };
    raw.send(&format!("{method} {path} HTTP/1.1\r\nhost: h\r\n{lines}{length}\r\n{body}")).await;
    let answer = raw.answer().await.expect("an answer");
    let mut headers = HeaderMap::new();
    for (name, value) in answer.head.lines().skip(1).filter_map(|line| line.split_once(": ")) {
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    Reply { status: answer.status, headers, body: answer.body.into() }
}

async fn ask_h2(
    fixture: &Fixture,
    (method, path): (Method, &str),
    lines: Lines<'_>,
    body: &str,
) -> Reply {
    let (send, connection) = h2::client::handshake(fixture.raw().await.0).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = http::Request::builder().method(method).uri(format!("http://h{path}"));
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    let mut send = send.ready().await.unwrap();
    let (reply, mut stream) = send.send_request(request.body(()).unwrap(), false).unwrap();
    stream.send_data(Bytes::copy_from_slice(body.as_bytes()), true).unwrap();
    let (head, mut data) = reply.await.unwrap().into_parts();
    let mut body = Vec::new();
    while let Some(chunk) = data.data().await {
        body.extend_from_slice(&chunk.unwrap());
    }
    connection.abort();
    Reply { status: head.status.as_u16(), headers: head.headers, body: body.into() }
}

async fn preflight(fixture: &Fixture, version: HttpVersion, origin: &str) -> Reply {
    let lines = [&[("origin", origin)], &PREFLIGHT[..]].concat();
    ask(fixture, version, (Method::OPTIONS, "/echo"), &lines, "").await
}

fn assert_granted(reply: &Reply, allowed: &str) {
    assert_eq!((reply.status, reply.body.len()), (204, 0), "{:?}", reply.headers);
    for (name, value) in [
        (ALLOW_ORIGIN, Some(allowed)),
        ("access-control-allow-methods", Some("POST, GET, HEAD")),
        ("access-control-allow-headers", Some("connect-protocol-version, x-tenant")),
        ("access-control-max-age", Some("7200")),
        ("access-control-allow-credentials", None),
        (EXPOSE, None),
        ("vary", Some("origin, access-control-request-method, access-control-request-headers")),
        // RFC 9110 §8.6: a 204 has none.
        ("content-length", None),
    ] {
        assert_eq!(reply.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_call_and_read_headers_and_body() {
    for version in VERSIONS {
        let fixture = fixture(config()).await;
        assert_granted(&preflight(&fixture, version, PAGE).await, PAGE);
        assert_eq!(fixture.runs(), 0);
        let lines = [("origin", PAGE), ("x-tenant", "7"), ("x-other", "8")];
        let reply = ask(&fixture, version, (Method::POST, "/echo"), &lines, "hi").await;
        assert_eq!((reply.status, &reply.body[..]), (200, &b"hi"[..]));
        assert_eq!(reply.header(ALLOW_ORIGIN), Some(PAGE));
        let mut exposed: Vec<_> = reply.header(EXPOSE).unwrap().split(", ").collect();
        exposed.sort_unstable();
        assert_eq!(exposed, ["x-other", "x-tenant"]);
        assert_eq!(reply.header("vary"), Some("origin"));
        assert_eq!(reply.header("access-control-allow-credentials"), None);
    }
}

#[tokio::test]
async fn every_refusal_and_error_can_be_read_by_the_page() {
    for version in VERSIONS {
        let fixture = fixture(config()).await;
        for (method, path, header, status, code) in [
            (Method::POST, "/fail", ("x-a", "b"), 404, Some("not_found")),
            (Method::POST, "/panic", ("x-a", "b"), 500, Some("internal")),
            (Method::POST, "/nothing", ("x-a", "b"), 404, Some("unimplemented")),
            (Method::POST, "/a/b/c/d", ("x-a", "b"), 404, Some("unimplemented")),
            (Method::GET, "/echo", ("x-a", "b"), 405, Some("unimplemented")),
            (Method::OPTIONS, "/echo", ("x-a", "b"), 405, Some("unimplemented")),
            (
                Method::POST,
                "/echo",
                ("content-type", "application/grpc"),
                415,
                Some("unimplemented"),
            ),
            (Method::POST, "/echo", ("connect-timeout-ms", "x"), 400, Some("invalid_argument")),
            (Method::POST, "/echo", ("connect-timeout-ms", "0"), 504, Some("deadline_exceeded")),
            (Method::GET, "/safe", ("x-a", "b"), 200, None),
            (Method::GET, "/.well-known/rr/health", ("x-a", "b"), 200, None),
        ] {
            let lines = [("origin", PAGE), header];
            let reply = ask(&fixture, version, (method, path), &lines, "").await;
            assert_eq!((reply.status, reply.header("rr-code")), (status, code), "{path}");
            assert_eq!(reply.header(ALLOW_ORIGIN), Some(PAGE), "{path}");
            if code.is_some() {
                let exposed: Vec<_> = reply.header(EXPOSE).unwrap().split(", ").collect();
                assert!(exposed.contains(&"rr-code") && exposed.contains(&"rr-delivery"), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn other_origins_are_refused_a_preflight_and_get_replies_that_grant_nothing() {
    for version in VERSIONS {
        let fixture = fixture(config()).await;
        for origin in [STRANGER, "null", "https://shop.example.evil", "https://shop.example:444"] {
            let refused = preflight(&fixture, version, origin).await;
            assert_eq!(
                (refused.status, refused.header("rr-code")),
                (403, Some("permission_denied"))
            );
            assert_eq!(refused.header("rr-delivery"), Some("rejected"));
            assert!(String::from_utf8_lossy(&refused.body).contains("`cors_origins`"));
            refused.grants_nothing();
        }
        assert_eq!(fixture.runs(), 0);
        for lines in [&[("origin", STRANGER)][..], &[("origin", PAGE), ("origin", PAGE)], &[]] {
            let reply = ask(&fixture, version, (Method::POST, "/echo"), lines, "hi").await;
            assert_eq!((reply.status, &reply.body[..]), (200, &b"hi"[..]), "{lines:?}");
            reply.grants_nothing();
            assert_eq!(reply.header("vary"), Some("origin"), "a cache must keep them apart");
        }
        assert_eq!(fixture.runs(), 3);
    }
}

#[tokio::test]
async fn all_origins_may_be_allowed() {
    for version in VERSIONS {
        let fixture =
            fixture(HttpServerConfig::default().with_cors_origins(HttpOrigins::all())).await;
        for origin in [PAGE, STRANGER, "null"] {
            assert_granted(&preflight(&fixture, version, origin).await, "*");
            let lines = [("origin", origin)];
            let reply = ask(&fixture, version, (Method::POST, "/fail"), &lines, "").await;
            assert_eq!((reply.status, reply.header(ALLOW_ORIGIN)), (404, Some("*")));
        }
    }
}

#[tokio::test]
async fn without_the_option_options_is_refused_and_replies_say_nothing_of_origins() {
    for version in VERSIONS {
        let fixture = fixture(HttpServerConfig::default()).await;
        let reply = preflight(&fixture, version, PAGE).await;
        assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")));
        let call = ask(&fixture, version, (Method::POST, "/echo"), &[("origin", PAGE)], "hi").await;
        assert_eq!(call.status, 200);
        for reply in [reply, call] {
            reply.grants_nothing();
            assert_eq!(reply.header("vary"), None);
        }
    }
}

#[tokio::test]
async fn a_preflight_takes_no_place_of_a_request() {
    for version in VERSIONS {
        let fixture =
            fixture(config().with_intake(IntakeConfig::default().with_in_flight_max(0))).await;
        assert_granted(&preflight(&fixture, version, PAGE).await, PAGE);
        let reply = ask(&fixture, version, (Method::POST, "/echo"), &[("origin", PAGE)], "").await;
        assert_eq!((reply.status, reply.header("rr-reason")), (429, Some("overloaded")));
        assert_eq!(reply.header(ALLOW_ORIGIN), Some(PAGE));
        assert!(reply.header(EXPOSE).unwrap().contains("rr-reason"));
    }
}

#[tokio::test]
async fn a_page_learns_of_a_drain() {
    for version in VERSIONS {
        let mut fixture = fixture(config()).await;
        let client = rr_http::HttpRequester::connect(fixture.server.url()).await.unwrap();
        let slow = tokio::spawn(async move {
            rr_spi::Requester::request(&client, &context(), request("slow", "400")).await
        });
        assert_eq!(fixture.next().await, Seen::Began);
        let drain = fixture.server.shutdown(Duration::from_secs(5));
        let page = async {
            tokio::task::yield_now().await;
            assert_granted(&preflight(&fixture, version, PAGE).await, PAGE);
            let lines = [("origin", PAGE)];
            let reply = ask(&fixture, version, (Method::POST, "/echo"), &lines, "").await;
            assert_eq!((reply.status, reply.header("rr-reason")), (503, Some("draining")));
            assert_eq!(reply.header(ALLOW_ORIGIN), Some(PAGE));
        };
        let (report, ()) = within(async { tokio::join!(drain, page) }).await;
        assert_eq!(slow.await.unwrap().unwrap().body, "done");
        // The preflight is no request that was refused.
        assert_eq!((report.completed, report.refused), (1, 1), "{version:?}");
    }
}

#[tokio::test]
async fn a_connection_that_asked_for_permission_is_used_for_the_call() {
    let fixture = fixture(config()).await;
    let mut raw = fixture.raw().await;
    let lines = [&[("origin", PAGE)], &PREFLIGHT[..]].concat();
    for _ in 0..2 {
        // A body is unusual, and is discarded.
        for body in ["", "a body"] {
            let reply = ask_h1(&mut raw, (Method::OPTIONS, "/echo"), &lines, body).await;
            assert_granted(&reply, PAGE);
        }
        let reply = ask_h1(&mut raw, (Method::POST, "/echo"), &[("origin", PAGE)], "hi").await;
        assert_eq!((reply.status, &reply.body[..]), (200, &b"hi"[..]));
    }
}

#[tokio::test]
async fn a_preflight_must_be_framed_like_any_request() {
    let fixture = fixture(config()).await;
    let lines = format!("origin: {PAGE}\r\naccess-control-request-method: POST\r\n");
    let mut raw = fixture.raw().await;
    raw.send(&format!("OPTIONS /echo HTTP/1.1\r\nhost: a\r\nhost: b\r\n{lines}\r\n")).await;
    raw.answer().await.unwrap().assert_error(400, "invalid_argument", "rejected");
}
