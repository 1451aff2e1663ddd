//! What the server answers, seen by a client that writes bytes as they are.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::io::Write as _;
use std::time::Duration;

use crate::support::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use rr_http::HttpServerConfig;
use rr_spi::{IntakeConfig, Limits};
use tokio::io::AsyncWriteExt as _;

async fn served() -> Fixture {
    fixture(HttpServerConfig::default()).await
}

async fn ask(fixture: &Fixture, text: &str) -> Answer {
    let mut raw = fixture.raw().await;
    raw.send(text).await;
    raw.answer().await.expect("an answer")
}

async fn post(fixture: &Fixture, path: &str, headers: &str, body: &str) -> Answer {
    let mut raw = fixture.raw().await;
    raw.post(path, headers, body).await;
    raw.answer().await.expect("an answer")
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// Takes requests of at most so many bytes.
fn requests_of(bytes: usize) -> HttpServerConfig {
    IntakeConfig::from(Limits::default().with_request_bytes_max(bytes)).into()
}

#[tokio::test]
async fn a_post_is_answered_with_its_own_content_type() {
    let fixture = served().await;
    let answer = post(&fixture, "/echo", "content-type: text/plain; charset=x\r\n", "hi").await;
    assert_eq!((answer.status, answer.text()), (200, "hi"));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=x"));
    assert!(!answer.head.contains("rr-"), "{answer:?}");
    let answer = post(&fixture, "/echo", "", "hi").await;
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    let answer = post(&fixture, "/svc/echo", "", "hi").await;
    assert_eq!(answer.text(), "hi");
}

#[tokio::test]
async fn http_1_1_needs_exactly_one_host_and_http_1_0_none() {
    let fixture = served().await;
    let none = ask(&fixture, "POST /echo HTTP/1.1\r\ncontent-length: 0\r\n\r\n").await;
    none.assert_error(400, "invalid_argument", "rejected");
    let two = "POST /echo HTTP/1.1\r\nhost: a\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    ask(&fixture, two).await.assert_error(400, "invalid_argument", "rejected");
    let two = ask(&fixture, "POST /echo HTTP/1.0\r\nhost: a\r\nhost: a\r\n\r\n").await;
    two.assert_error(400, "invalid_argument", "rejected");
    assert!(!two.text().contains("HTTP/1.1"), "{two:?}");
    let old = ask(&fixture, "POST /echo HTTP/1.0\r\ncontent-length: 2\r\n\r\nhi").await;
    assert_eq!((old.status, old.text()), (200, "hi"));
    let health = ask(&fixture, "GET /.well-known/rr/health HTTP/1.1\r\n\r\n").await;
    health.assert_error(400, "invalid_argument", "unknown");
    assert_eq!(fixture.runs(), 1);
}

#[tokio::test]
async fn unknown_paths_are_not_found_and_escapes_of_reserved_characters_refused() {
    let fixture = served().await;
    for path in ["/nope", "/a.b", "/svc/a.b", "/svc/a/b", "/", "/svc%2Fecho", "/%", "/echo/"] {
        let answer = post(&fixture, path, "", "x").await;
        answer.assert_error(404, "unimplemented", "rejected");
        assert_eq!(answer.header("rr-reason"), Some("no-such-target"), "{path}");
    }
    assert_eq!(post(&fixture, "/%65cho", "", "hi").await.text(), "hi");
    assert_eq!(fixture.runs(), 1);
}

#[tokio::test]
async fn only_methods_declared_safe_run_by_get() {
    let fixture = served().await;
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let mut raw = fixture.raw().await;
        raw.send(&format!("{method} /echo HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        if method == "HEAD" {
            let answer = raw.answer_to_head().await.unwrap();
            assert_eq!((answer.status, answer.header("rr-delivery")), (405, Some("unknown")));
            continue;
        }
        let answer = raw.answer().await.unwrap();
        // Proxies repeat a GET: a refusal of one run proves nothing about the others.
        let delivery = if method == "GET" { "unknown" } else { "rejected" };
        answer.assert_text_error(405, "unimplemented", delivery);
        assert_eq!(answer.header("allow"), Some("POST"));
    }
    let get = ask(&fixture, "GET /echo HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(get.text().contains("declare it safe"), "{get:?}");
    assert_eq!(fixture.runs(), 0);

    let bare = ask(&fixture, "GET /safe HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!((bare.status, bare.text()), (200, ""));
    assert_eq!(bare.header("cache-control"), Some("no-store"));
    let get =
        "GET /safe?connect=v1&encoding=json&message=%7B%22a%22%3A1%7D HTTP/1.1\r\nhost: h\r\n\r\n";
    let get = ask(&fixture, get).await;
    assert_eq!(get.text(), r#"{"a":1}"#);
    assert_eq!(get.header("content-type"), Some("application/json"));
    for method in ["PUT", "DELETE"] {
        let answer = ask(&fixture, &format!("{method} /safe HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        answer.assert_text_error(405, "unimplemented", "rejected");
        assert_eq!(answer.header("allow"), Some("GET, HEAD, POST"));
    }
}

#[tokio::test]
async fn head_is_answered_like_get_without_the_body() {
    let fixture = served().await;
    let mut raw = fixture.raw().await;
    for _ in 0..2 {
        raw.send("HEAD /safe?message=abc HTTP/1.1\r\nhost: h\r\n\r\n").await;
        let answer = raw.answer_to_head().await.unwrap();
        assert_eq!((answer.status, answer.header("content-length")), (200, Some("3")));
    }
    assert_eq!(fixture.runs(), 2);
}

#[tokio::test]
async fn a_connect_get_may_be_base64_and_compressed() {
    use base64::Engine as _;
    let fixture = served().await;
    let message = base64::engine::general_purpose::URL_SAFE.encode(gzip(b"hello"));
    let query = format!("/safe?base64=1&compression=gzip&encoding=json&message={message}");
    let answer = ask(&fixture, &format!("GET {query} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
    assert_eq!((answer.status, answer.text()), (200, "hello"));
    for (query, status) in [
        ("?connect=v2", 400),
        ("?base64=1&message=*", 400),
        ("?message=%4", 400),
        ("?encoding=a/b", 400),
        ("?compression=br&message=x", 415),
        ("?encoding=grpc&message=x", 415),
        ("?encoding=connect%2Bjson", 400),
    ] {
        let text = format!("GET /safe{query} HTTP/1.1\r\nhost: h\r\n\r\n");
        assert_eq!(ask(&fixture, &text).await.status, status, "{query}");
    }
    assert_eq!(fixture.runs(), 1);
    // Nothing is left to decode.
    let empty = ask(&fixture, "GET /safe?compression=br HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!((empty.status, empty.text()), (200, ""));
}

#[tokio::test]
async fn a_declared_length_over_the_limit_is_refused_before_the_body_and_without_100_continue() {
    let fixture = fixture(requests_of(10)).await;
    let mut raw = fixture.raw().await;
    let head = "POST /echo HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 11\r\n";
    raw.send(&format!("{head}\r\n")).await;
    let answer = raw.answer().await.unwrap();
    answer.assert_error(413, "resource_exhausted", "rejected");
    assert_eq!(answer.header("rr-reason"), Some("request-too-large"));
    assert_eq!(post(&fixture, "/echo", "", "0123456789").await.status, 200);
    assert_eq!(fixture.runs(), 1);
}

#[tokio::test]
async fn an_oversize_chunked_body_still_lets_the_client_read_its_answer() {
    let fixture = fixture(requests_of(1000)).await;
    let mut raw = fixture.raw().await;
    raw.send("POST /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n").await;
    let chunk = format!("{:x}\r\n{}\r\n", 8192, "x".repeat(8192));
    // 200 KiB: more than is accepted, less than is discarded.
    for _ in 0..25 {
        raw.send(&chunk).await;
    }
    let answer = raw.answer().await.unwrap();
    answer.assert_error(413, "resource_exhausted", "rejected");
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(fixture.runs(), 0);
    assert!(raw.rest().await.is_empty());
    fixture.quiet().await;
}

#[tokio::test]
async fn a_client_that_sends_far_too_much_is_let_go_after_its_answer() {
    let fixture = served().await;
    let mut raw = fixture.raw().await;
    raw.send("POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000000\r\n\r\n").await;
    let answer = raw.answer().await.unwrap();
    answer.assert_error(413, "resource_exhausted", "rejected");
    let junk = vec![b'x'; 64 * 1024];
    let flood = async { while raw.0.write_all(&junk).await.is_ok() {} };
    within(flood).await;
    fixture.quiet().await;
}

#[tokio::test]
async fn chunked_bodies_are_taken_and_their_connection_kept() {
    let fixture = served().await;
    let mut raw = fixture.raw().await;
    for _ in 0..2 {
        let head = "POST /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
        raw.send(&format!("{head}2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")).await;
        assert_eq!(raw.answer().await.unwrap().text(), "hello");
    }
}

#[tokio::test]
async fn a_refused_request_with_a_small_body_keeps_its_connection() {
    let fixture = served().await;
    let mut raw = fixture.raw().await;
    for _ in 0..3 {
        raw.post("/nope", "", "body").await;
        assert_eq!(raw.answer().await.unwrap().status, 404);
    }
}

#[tokio::test]
async fn gzip_is_decoded_within_the_limit_and_other_encodings_refused() {
    let fixture = fixture(requests_of(100_000)).await;
    for (body, status) in [
        (gzip(b"hello"), 200),
        (gzip(&vec![0; 100_000]), 200),
        (gzip(&vec![0; 100_001]), 413),
        (b"not gzip".to_vec(), 400),
        (Vec::new(), 200),
    ] {
        let mut raw = fixture.raw().await;
        let head = format!(
            "POST /echo HTTP/1.1\r\nhost: h\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        raw.send(&head).await;
        raw.0.write_all(&body).await.unwrap();
        let answer = raw.answer().await.unwrap();
        assert_eq!(answer.status, status, "{:?}", answer.head);
        assert_eq!(answer.header("content-encoding"), None);
    }
    let answer = post(&fixture, "/echo", "content-encoding: br\r\n", "x").await;
    // RFC 9110 §15.5.16: the reply names the codings that would do.
    let codings = if cfg!(feature = "zstd") { "identity, gzip, zstd" } else { "identity, gzip" };
    assert_eq!(answer.header("accept-encoding"), Some(codings));
    answer.assert_error(415, "unimplemented", "rejected");
    assert_eq!(answer.header("rr-reason"), Some("codec"));
    assert!(answer.text().contains(codings));
    assert_eq!(fixture.runs(), 3);
}

#[tokio::test]
async fn an_empty_body_was_never_encoded_and_identity_says_nothing() {
    let fixture = served().await;
    let chunked = |body: &str| {
        let head = "POST /echo HTTP/1.1\r\nhost: h\r\ncontent-encoding: br\r\n";
        format!("{head}transfer-encoding: chunked\r\n\r\n{body}0\r\n\r\n")
    };
    assert_eq!(post(&fixture, "/echo", "content-encoding: br\r\n", "").await.status, 200);
    assert_eq!(ask(&fixture, &chunked("")).await.status, 200);
    let identity = "content-encoding: identity\r\ncontent-encoding: identity\r\n";
    assert_eq!(post(&fixture, "/echo", identity, "hi").await.text(), "hi");
    assert_eq!(fixture.runs(), 3);
    ask(&fixture, &chunked("1\r\nx\r\n")).await.assert_error(415, "unimplemented", "rejected");
    let twice = "content-encoding: gzip\r\ncontent-encoding: gzip\r\n";
    post(&fixture, "/echo", twice, "x").await.assert_error(415, "unimplemented", "rejected");
    assert_eq!(fixture.runs(), 3);
}

#[tokio::test]
async fn streams_of_other_protocols_and_a_second_content_type_are_refused() {
    let fixture = served().await;
    for content_type in ["application/connect+json", "application/grpc", "application/grpc+proto"] {
        let header = format!("content-type: {content_type}\r\n");
        let answer = post(&fixture, "/echo", &header, "x").await;
        answer.assert_text_error(415, "unimplemented", "rejected");
        assert_eq!(answer.header("accept-post"), Some("application/json"));
    }
    let twice = "content-type: text/plain\r\ncontent-type: application/json\r\n";
    let answer = post(&fixture, "/echo", twice, "x").await;
    answer.assert_error(400, "invalid_argument", "rejected");
    assert_eq!(fixture.runs(), 0);
}

#[tokio::test]
async fn too_many_headers_are_refused_with_431() {
    let fixture = served().await;
    let many: String = (0..70).map(|at| format!("x-{at}: v\r\n")).collect();
    let answer = post(&fixture, "/echo", &many, "").await;
    answer.assert_error(431, "resource_exhausted", "rejected");
    let large = format!("x-large: {}\r\n", "v".repeat(17 * 1024));
    let answer = post(&fixture, "/echo", &large, "").await;
    answer.assert_error(431, "resource_exhausted", "rejected");
    assert_eq!(fixture.runs(), 0);
}

#[tokio::test]
async fn timeouts_are_the_smallest_given_zero_is_expired_and_garbage_refused() {
    let fixture = served().await;
    for (header, status) in [
        ("connect-timeout-ms: 0", 504),
        ("grpc-timeout: 0S", 504),
        ("rr: t=0", 504),
        ("connect-timeout-ms: -1", 400),
        ("connect-timeout-ms: 12345678901", 400),
        ("grpc-timeout: 1", 400),
        ("rr: t=1;t=1", 400),
        ("rr: n=x", 400),
        ("connect-protocol-version: 2", 400),
        ("idempotency-key: \"", 400),
        ("idempotency-key: a\r\nidempotency-key: a", 400),
    ] {
        let answer = post(&fixture, "/echo", &format!("{header}\r\n"), "").await;
        let code = if status == 504 { "deadline_exceeded" } else { "invalid_argument" };
        // Go's proxies repeat what has a key, whatever the key is, and no body.
        let is_keyed = header.starts_with("idempotency-key");
        answer.assert_error(status, code, if is_keyed { "unknown" } else { "rejected" });
    }
    assert_eq!(fixture.runs(), 0);
    let headers = "connect-timeout-ms: 9000\r\ngrpc-timeout: 700m\r\nrr: t=8000;n=2\r\n\
                   x-request-id: id-1\r\ntraceparent: 00-a\r\nidempotency-key: bare\r\n";
    let answer = post(&fixture, "/context", headers, "").await;
    let key = "Keyed(IdempotencyKey(bare))";
    assert_eq!(answer.text(), format!("2 Some(\"id-1\") Some(\"00-a\") {key} 7"));
}

#[tokio::test]
async fn trace_headers_on_several_lines_are_one_list() {
    let fixture = served().await;
    let headers = "traceparent: 00-a\r\ntracestate: a=1\r\nbaggage: k=v\r\ntracestate: b=2\r\n\
                   baggage: l=w\r\n";
    let answer = post(&fixture, "/svc/trace", headers, "").await;
    assert_eq!(answer.text(), r#"Some("a=1,b=2") Some("k=v,l=w")"#);
    let long = format!("traceparent: 00-a\r\n{}", "tracestate: a=12345\r\n".repeat(70));
    assert_eq!(post(&fixture, "/svc/trace", &long, "").await.text(), "None None");
}

#[tokio::test]
async fn a_hanging_handler_is_ended_at_the_deadline_as_processed() {
    let fixture = served().await;
    let answer = post(&fixture, "/hang", "connect-timeout-ms: 30\r\n", "").await;
    answer.assert_error(504, "deadline_exceeded", "processed");
}

#[tokio::test]
async fn a_panic_is_a_500_without_its_text_and_an_error_travels_as_it_is() {
    let fixture = served().await;
    let answer = post(&fixture, "/panic", "", "").await;
    answer.assert_error(500, "internal", "processed");
    assert_eq!(answer.header("rr-reason"), Some("panic"));
    assert!(!answer.text().contains("secret"));
    let answer = post(&fixture, "/fail", "", "").await;
    answer.assert_error(404, "not_found", "processed");
    assert!(answer.text().contains("no order 17"));
}

#[tokio::test]
async fn headers_of_the_protocol_are_not_shown_and_those_that_do_not_fit_are_counted() {
    let fixture = served().await;
    let headers = "content-type: application/octet-stream\r\nnats-x: 1\r\nrr-code: x\r\n\
                   x-a_b: 1\r\nX-Shop: berlin\r\naccept: */*\r\n";
    let answer = post(&fixture, "/headers", headers, "").await;
    assert_eq!(answer.text(), r#"{"x-shop": b"berlin", "accept": b"*/*"}"#);
    assert_eq!(fixture.stats.headers_dropped(), 1);
}

#[tokio::test]
async fn health_says_serving() {
    let fixture = served().await;
    let answer = ask(&fixture, "GET /.well-known/rr/health HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!((answer.status, answer.text()), (200, r#"{"status":"serving"}"#));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn one_in_flight_too_many_is_refused_as_overloaded() {
    let mut fixture = fixture(IntakeConfig::default().with_in_flight_max(1).into()).await;
    let mut first = fixture.raw().await;
    first.post("/hang", "", "").await;
    assert_eq!(fixture.next().await, Seen::Began);
    let answer = post(&fixture, "/echo", "", "").await;
    answer.assert_error(429, "resource_exhausted", "rejected");
    assert_eq!(answer.header("rr-reason"), Some("overloaded"));
}

#[tokio::test]
async fn a_prefix_is_part_of_every_path() {
    let fixture = fixture_at("http://127.0.0.1:0/team/", HttpServerConfig::default()).await;
    assert!(fixture.server.url().ends_with("/team"), "{}", fixture.server.url());
    let address = fixture.address().trim_end_matches("/team").to_owned();
    let mut raw = Raw(tokio::net::TcpStream::connect(address).await.unwrap());
    raw.post("/team/echo", "", "hi").await;
    assert_eq!(raw.answer().await.unwrap().text(), "hi");
    raw.post("/echo", "", "hi").await;
    assert_eq!(raw.answer().await.unwrap().status, 404);
}

#[tokio::test]
async fn no_more_connections_are_accepted_than_configured() {
    let fixture = fixture(HttpServerConfig::default().with_connections_max(1)).await;
    let mut first = fixture.raw().await;
    first.post("/echo", "", "hi").await;
    assert_eq!(first.answer().await.unwrap().text(), "hi");
    let mut second = fixture.raw().await;
    second.post("/echo", "", "ho").await;
    // The second would have been served meanwhile.
    for _ in 0..20 {
        first.post("/echo", "", "hi").await;
        assert_eq!(first.answer().await.unwrap().text(), "hi");
    }
    assert_eq!((fixture.runs(), fixture.stats.connections()), (21, 1));
    drop(first);
    assert_eq!(second.answer().await.unwrap().text(), "ho");
}

#[tokio::test]
async fn a_disconnect_cancels_the_handler_because_the_peer_is_gone() {
    let mut fixture = served().await;
    let mut raw = fixture.raw().await;
    raw.post("/hang", "", "body").await;
    assert_eq!(fixture.next().await, Seen::Began);
    drop(raw);
    assert_eq!(fixture.next().await, Seen::Cancelled(rr_spi::Cause::PeerGone));
    assert_eq!(fixture.next().await, Seen::Dropped);
    fixture.quiet().await;
    assert_eq!(fixture.server.in_flight(), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
    use rr_spi::Requester as _;
    let directory = std::env::temp_dir().join(format!("rr-http-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("a.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the stale socket");
    let url = format!("http+unix://{}", path.display());
    let fixture = fixture_at(&url, HttpServerConfig::default()).await;
    assert_eq!(fixture.server.url(), url);
    for query in ["", "?version=h2c"] {
        let client = rr_http::HttpRequester::connect(&format!("{url}{query}")).await.unwrap();
        let response = client.request(&context(), request("svc.echo", "hi")).await.unwrap();
        assert_eq!(response.body, "hi");
    }
    let error = rr_http::serve(&url, rr_spi::Routes::new()).await.unwrap_err();
    assert_eq!(error.delivery(), rr_spi::Delivery::NotSent);
    fixture.server.shutdown(Duration::from_secs(1)).await;
    assert!(!path.exists(), "the socket's file goes with its server");
    std::fs::write(&path, "a file").unwrap();
    assert!(rr_http::serve(&url, rr_spi::Routes::new()).await.is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
    std::fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
async fn requests_carry_no_trailing_metadata_and_nothing_that_connection_names() {
    let fixture = served().await;
    let headers = "trailer-x: 1\r\nx-hop: 2\r\nconnection: X-Hop\r\nx-kept: 3\r\n";
    let answer = post(&fixture, "/headers", headers, "").await;
    assert_eq!(answer.text(), r#"{"x-kept": b"3"}"#);
}

#[tokio::test]
async fn a_requester_reads_the_text_of_a_415() {
    use rr_spi::Requester as _;
    let fixture = served().await;
    let client = rr_http::HttpRequester::connect(fixture.server.url()).await.unwrap();
    let mut headers = rr_spi::Headers::new();
    headers.insert("content-type", "application/grpc").unwrap();
    let request = request("echo", "x").with_headers(headers);
    let error = client.request(&context(), request).await.unwrap_err();
    let expected = (rr_spi::Code::Unimplemented, rr_spi::Delivery::Rejected, Some("codec"));
    assert_eq!(told(&error), expected);
    assert!(error.message().ends_with("send unary"), "{error:?}");
}
