//! Compressed replies: what a server sends to whom, and what a requester accepts.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::error::Error as _;
use std::io::{Read as _, Write as _};

use crate::support::*;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use rr_http::{HttpConfig, HttpEncoding, HttpRequester, HttpServerConfig, HttpVersion};
use rr_spi::{
    CallConfig, Code, Delivery, Error, Headers, Idempotency, IntakeConfig, Limits, Request,
    Requester as _, Response,
};
use tokio::io::AsyncWriteExt as _;

/// Length from which the servers of these tests compress.
const MIN: usize = 1024;

async fn compressing() -> Fixture {
    fixture(HttpServerConfig::default().with_compress_bytes_min(MIN)).await
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn gunzip(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    MultiGzDecoder::new(body).read_to_end(&mut plain).unwrap();
    plain
}

/// Text of a given length, as compressible as JSON is.
fn text(length: usize) -> String {
    let mut text: String = (0..length / 4).map(|at| format!("\"id\":{at},")).collect();
    text.truncate(length);
    text
}

async fn posted(fixture: &Fixture, headers: &str, body: &str) -> Answer {
    let mut raw = fixture.raw().await;
    raw.post("/echo", headers, body).await;
    raw.answer().await.unwrap()
}

fn json(target: &'static str, body: String) -> Request {
    let mut headers = Headers::new();
    headers.insert("content-type", "application/json").unwrap();
    request(target, body).with_headers(headers)
}

fn asking(url: &str, version: HttpVersion) -> HttpRequester {
    let config = HttpConfig::default().with_accept_encoding(HttpEncoding::Gzip);
    HttpRequester::new(url, config.with_version(version)).unwrap()
}

#[tokio::test]
async fn a_reply_is_compressed_if_it_is_long_and_asked_for() {
    let fixture = compressing().await;
    let asks = "content-type: application/json\r\naccept-encoding: deflate, gzip\r\n";
    for length in [MIN - 1, MIN, 100_000] {
        let body = text(length);
        let answer = posted(&fixture, asks, &body).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("vary"), None, "caches do not store replies to POST");
        if length < MIN {
            assert_eq!(answer.header("content-encoding"), None);
            assert_eq!(answer.text(), body);
        } else {
            assert_eq!(answer.header("content-encoding"), Some("gzip"));
            assert!(answer.body.len() < length / 2);
            assert_eq!(gunzip(&answer.body), body.as_bytes());
        }
    }
    for not_asked in [
        "content-type: application/json\r\n",
        "content-type: application/json\r\naccept-encoding: br\r\n",
        "content-type: application/json\r\naccept-encoding: gzip;q=0\r\n",
        "content-type: image/png\r\naccept-encoding: gzip\r\n",
        "accept-encoding: gzip\r\n",
    ] {
        let answer = posted(&fixture, not_asked, &text(MIN)).await;
        assert_eq!(answer.header("content-encoding"), None, "{not_asked}");
        assert_eq!(answer.text(), text(MIN), "{not_asked}");
    }
}

#[tokio::test]
async fn a_server_compresses_nothing_by_default() {
    let fixture = fixture(HttpServerConfig::default()).await;
    let asks = "content-type: application/json\r\naccept-encoding: gzip\r\n";
    let answer = posted(&fixture, asks, &text(100_000)).await;
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(answer.text(), text(100_000));
}

#[tokio::test]
async fn a_reply_that_caches_may_store_varies_by_the_accepted_codings() {
    let fixture = compressing().await;
    let mut raw = fixture.raw().await;
    for (length, asks, method) in [
        (MIN - 1, true, "GET"),
        (MIN, true, "GET"),
        (MIN, false, "GET"),
        (MIN, true, "HEAD"),
        (MIN, false, "HEAD"),
    ] {
        let message = "a".repeat(length);
        let asks = if asks { "accept-encoding: gzip\r\n" } else { "" };
        let query = format!("encoding=json&message={message}");
        raw.send(&format!("{method} /safe?{query} HTTP/1.1\r\nhost: h\r\n{asks}\r\n")).await;
        let is_head = method == "HEAD";
        let answer = if is_head { raw.answer_to_head().await } else { raw.answer().await };
        let answer = answer.unwrap();
        let varies = (length >= MIN).then_some("accept-encoding");
        assert_eq!(answer.header("vary"), varies, "{method} {asks} {length}");
        let is_short = length >= MIN && !asks.is_empty();
        // The length of a compressed body is not known without compressing it (RFC 9110 §8.6).
        let unknown = is_short && is_head;
        let expected = length.to_string();
        let declared = answer.header("content-length");
        assert_eq!(declared.is_none(), unknown, "{answer:?}");
        assert_eq!(declared == Some(&expected), !is_short, "{answer:?}");
        assert_eq!(answer.header("content-encoding"), (is_short && !is_head).then_some("gzip"));
    }
}

#[tokio::test]
async fn errors_are_compressed_too_and_keep_their_code() {
    let long = compressing().await;
    let message = "a".repeat(240);
    let path = format!("/svc/{message}");
    let mut raw = long.raw().await;
    raw.post(&path, "accept-encoding: gzip\r\n", "").await;
    let answer = raw.answer().await.unwrap();
    assert_eq!((answer.status, answer.header("content-encoding")), (500, None), "it is short");
    let config = HttpServerConfig::default().with_compress_bytes_min(100);
    let fixture = fixture(config).await;
    let mut raw = fixture.raw().await;
    raw.post(&path, "accept-encoding: gzip\r\n", "").await;
    let answer = raw.answer().await.unwrap();
    assert_eq!((answer.status, answer.header("content-encoding")), (500, Some("gzip")));
    assert_eq!(answer.header("rr-delivery"), Some("processed"));
    let document: serde_json::Value = serde_json::from_slice(&gunzip(&answer.body)).unwrap();
    assert_eq!(
        (&document["code"], &document["message"]),
        (&"internal".into(), &message.clone().into())
    );
    for version in [HttpVersion::H1, HttpVersion::H2c] {
        let client = asking(fixture.server.url(), version);
        let target = format!("svc.{message}").try_into().unwrap();
        let called = client.request(&context(), Request::new(target, "")).await;
        let error = called.unwrap_err();
        assert_eq!(told(&error), (Code::Internal, Delivery::Processed, None));
        assert_eq!(error.message(), message);
    }
}

#[tokio::test]
async fn a_requester_reads_what_it_asks_for_and_keeps_its_connection() {
    let fixture = compressing().await;
    for version in [HttpVersion::H1, HttpVersion::H2c] {
        let client = asking(fixture.server.url(), version);
        for length in [0, 1, MIN - 1, MIN, 900_000, 5000] {
            let body = text(length);
            let called = client.request(&context(), json("echo", body.clone())).await;
            assert_eq!(called.unwrap().body, body, "{version:?} {length}");
        }
        assert_eq!(client.connections(), 1, "{version:?}");
        let safe = json("safe", text(MIN)).with_idempotency(Idempotency::Safe);
        assert_eq!(client.request(&context(), safe).await.unwrap().body, text(MIN));
    }
}

/// Calls a server that answers with these header lines and this body.
async fn answered(
    asked: HttpEncoding,
    max: usize,
    head: &str,
    body: &[u8],
) -> Result<Response, Error> {
    let limits = Limits::default().with_response_bytes_max(max);
    let config = HttpConfig::from(CallConfig::from(limits)).with_accept_encoding(asked);
    let (script, url) = Script::bind().await;
    let client = HttpRequester::new(&url, config).unwrap();
    let serve = Box::pin(async {
        let mut stream = script.accept().await;
        let request = read_request(&mut stream).await;
        let asks = request.contains("\r\naccept-encoding: ");
        assert_eq!(asks, asked != HttpEncoding::None, "{request}");
        let head = format!("HTTP/1.1 {head}content-length: {}\r\n\r\n", body.len());
        // A requester that refuses the reply closes while it is still being sent.
        let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
        stream
    });
    let ctx = context();
    let call = client.request(&ctx, request("m", ""));
    let (outcome, _stream) = within(async { tokio::join!(call, serve) }).await;
    outcome
}

const GZIPPED: &str = "200 OK\r\ncontent-encoding: gzip\r\n";

#[tokio::test]
async fn the_limit_of_a_reply_counts_decoded_bytes() {
    for (length, max, fits) in [
        (1000, 1000, true),
        (1001, 1000, false),
        (20_000_000, 1000, false),
        (1, 0, false),
        (0, 0, true),
    ] {
        let outcome = answered(HttpEncoding::Gzip, max, GZIPPED, &gzip(&vec![0; length])).await;
        match outcome {
            Ok(response) => assert!(fits && response.body.len() == length, "{length}"),
            Err(error) => {
                let expected =
                    (Code::ResourceExhausted, Delivery::Processed, Some("response-too-large"));
                assert_eq!((told(&error), fits), (expected, false), "{length}");
            }
        }
    }
    // More bytes than any body within the limit is compressed to.
    let long = answered(HttpEncoding::Gzip, 1000, GZIPPED, &vec![0; 2000]).await.unwrap_err();
    assert_eq!(long.reason().unwrap().as_str(), "response-too-large");
}

#[tokio::test]
async fn a_reply_that_cannot_be_decoded_was_processed() {
    let body = gzip(b"hello");
    let cut = &body[..body.len() - 1];
    let brotli = "200 OK\r\ncontent-encoding: br\r\n";
    let twice = "200 OK\r\ncontent-encoding: gzip, gzip\r\n";
    for (asked, head, body) in [
        (HttpEncoding::Gzip, GZIPPED, &b"hello"[..]),
        (HttpEncoding::Gzip, GZIPPED, cut),
        (HttpEncoding::Gzip, GZIPPED, &[&body[..], b"x"].concat()),
        (HttpEncoding::Gzip, brotli, b"hello"),
        (HttpEncoding::Gzip, twice, &gzip(&body)),
        (HttpEncoding::None, GZIPPED, &body),
    ] {
        let error = answered(asked, 1000, head, body).await.unwrap_err();
        let expected = (Code::Internal, Delivery::Processed, Some("bad-response"));
        assert_eq!(told(&error), expected, "{head}");
    }
    let plain = answered(HttpEncoding::Gzip, 1000, "200 OK\r\n", b"hello").await.unwrap();
    assert_eq!(plain.body, "hello");
    let gzipped = answered(HttpEncoding::Gzip, 1000, GZIPPED, &body).await.unwrap();
    assert_eq!(gzipped.body, "hello");
}

#[tokio::test]
async fn an_error_whose_body_cannot_be_decoded_is_known_by_its_head() {
    let document = br#"{"code":"not_found","message":"no order"}"#;
    let head = "404 X\r\ncontent-encoding: gzip\r\n";
    let error = answered(HttpEncoding::Gzip, 1000, head, &gzip(document)).await.unwrap_err();
    assert_eq!(
        (told(&error), error.message()),
        ((Code::NotFound, Delivery::Unknown, None), "no order")
    );
    let head =
        "503 X\r\ncontent-encoding: gzip\r\nrr-code: unavailable\r\nrr-delivery: rejected\r\n";
    for body in [&b"garbage"[..], &gzip(&vec![b' '; 10_000_000])] {
        let error = answered(HttpEncoding::Gzip, 1000, head, body).await.unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::Rejected));
    }
}

#[tokio::test]
async fn what_is_readable_of_a_broken_error_body_is_kept() {
    let body = gzip(&b"the upstream is gone ".repeat(50));
    let head = "502 X\r\ncontent-encoding: gzip\r\n";
    let cut = &body[..body.len() - 1];
    let error = answered(HttpEncoding::Gzip, 1000, head, cut).await.unwrap_err();
    let raw = error.source().and_then(|source| source.downcast_ref::<rr_http::RawReply>());
    assert!(raw.unwrap().body.starts_with(b"the upstream is gone"), "{raw:?}");
}

#[tokio::test]
async fn a_request_is_refused_as_overloaded_as_soon_as_it_decodes_to_more_than_the_budget() {
    use base64::Engine as _;

    let intake = IntakeConfig::default().with_bodies_bytes_max(200_000);
    let fixture = fixture(HttpServerConfig::default().with_intake(intake)).await;
    // Decoded to the end, it would be longer than any request may be.
    let bomb = gzip(&vec![b'a'; 3_000_000]);
    let message = base64::engine::general_purpose::URL_SAFE.encode(&bomb);
    let query = format!("base64=1&compression=gzip&encoding=json&message={message}");
    let get = format!("GET /safe?{query} HTTP/1.1\r\nhost: h\r\n\r\n");
    let head = format!("content-encoding: gzip\r\ncontent-length: {}", bomb.len());
    let post = format!("POST /echo HTTP/1.1\r\nhost: h\r\n{head}\r\n\r\n");
    for (head, body) in [(get, &[][..]), (post, &bomb)] {
        let mut raw = fixture.raw().await;
        raw.send(&head).await;
        raw.0.write_all(body).await.unwrap();
        let answer = raw.answer().await.unwrap();
        assert_eq!(answer.header("rr-reason"), Some("overloaded"), "{answer:?}");
    }
    assert_eq!(fixture.runs(), 0);
    // What the refused ones held is free again.
    let mut raw = fixture.raw().await;
    raw.post("/echo", "", &text(100_000)).await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
}

#[cfg(feature = "zstd")]
#[tokio::test]
async fn zstd_is_sent_and_read_both_ways_within_its_limits() {
    let fixture = compressing().await;
    let asks = "content-type: application/json\r\naccept-encoding: gzip, zstd\r\n";
    let answer = posted(&fixture, asks, &text(100_000)).await;
    assert_eq!(answer.header("content-encoding"), Some("zstd"));
    assert_eq!(zstd::decode_all(&answer.body[..]).unwrap(), text(100_000).as_bytes());

    for version in [HttpVersion::H1, HttpVersion::H2c] {
        let config = HttpConfig::default().with_accept_encoding(HttpEncoding::Zstd);
        let config = config.with_version(version);
        let client = HttpRequester::new(fixture.server.url(), config).unwrap();
        for length in [0, MIN, 900_000] {
            let called = client.request(&context(), json("echo", text(length))).await;
            assert_eq!(called.unwrap().body, text(length), "{version:?} {length}");
        }
    }

    let head = "200 OK\r\ncontent-encoding: zstd\r\n";
    let bomb = zstd::encode_all(&vec![0; 20_000_000][..], 1).unwrap();
    let error = answered(HttpEncoding::Zstd, 1000, head, &bomb).await.unwrap_err();
    assert_eq!(error.reason().unwrap().as_str(), "response-too-large");
    let short = zstd::encode_all(&b"hello"[..], 19).unwrap();
    assert_eq!(answered(HttpEncoding::Zstd, 5, head, &short).await.unwrap().body, "hello");
    assert_eq!(
        answered(HttpEncoding::Zstd, 5, GZIPPED, &gzip(b"hello")).await.unwrap().body,
        "hello"
    );
    let unasked = answered(HttpEncoding::Gzip, 5, head, &short).await.unwrap_err();
    assert_eq!(unasked.reason().unwrap().as_str(), "bad-response");
    // A request in zstd is decoded within the limit of requests.
    for (length, status) in [(100_000, 200), (2_000_000, 413)] {
        let body = zstd::encode_all(&vec![b'a'; length][..], 1).unwrap();
        let mut raw = fixture.raw().await;
        let head = format!("content-encoding: zstd\r\ncontent-length: {}", body.len());
        raw.send(&format!("POST /echo HTTP/1.1\r\nhost: h\r\n{head}\r\n\r\n")).await;
        raw.0.write_all(&body).await.unwrap();
        assert_eq!(raw.answer().await.unwrap().status, status);
    }
}
