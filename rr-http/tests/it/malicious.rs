//! What the server makes of requests that are written to confuse it, or whoever stands in front.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use crate::support::*;
use rr_http::HttpServerConfig;

/// Follows every request on its connection, in the same write: whoever reads past the end of a
/// request answers it, or runs what was hidden in it.
const NEXT: &str = "GET /safe?message=next HTTP/1.1\r\nhost: h\r\n\r\n";

/// What becomes of a connection after its first answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// The next request is answered.
    Kept,
    /// Nothing more is read.
    Closed,
}

use After::{Closed, Kept};

/// Sends each request to a server of its own and checks what is answered, how often the handler
/// ran, and whether the connection was kept.
async fn check(table: Vec<(String, u16, After)>) {
    for (request, status, after) in table {
        let shown = request.chars().take(120).collect::<String>();
        let fixture = fixture(HttpServerConfig::default()).await;
        let mut raw = fixture.raw().await;
        raw.send(&format!("{request}{NEXT}")).await;
        let answer = raw.answer().await.unwrap_or_else(|| panic!("no answer to {shown:?}"));
        assert_eq!(answer.status, status, "{shown:?}: {answer:?}");
        let ran = usize::from(status == 200);
        match after {
            Kept => {
                let next = raw.answer().await.unwrap_or_else(|| panic!("closed after {shown:?}"));
                assert_eq!((next.status, next.text()), (200, "next"), "{shown:?}");
                assert_eq!(fixture.runs(), ran + 1, "{shown:?}");
            }
            Closed => {
                assert!(raw.rest().await.is_empty(), "something follows the answer to {shown:?}");
                assert_eq!(fixture.runs(), ran, "{shown:?}");
                fixture.quiet().await;
            }
        }
        if ran == 0 {
            // Ours carry it; what hyper answers by itself has no body, and ran nothing either.
            let told = answer.header("rr-delivery").unwrap_or("rejected");
            assert_eq!(told, "rejected", "{shown:?}");
        }
    }
}

/// Makes a POST whose body should be `hi`.
fn hi(headers: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nhost: h\r\n{headers}\r\n\r\nhi")
}

/// Makes a POST whose body is `hi` in one chunk.
fn chunked(headers: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nhost: h\r\n{headers}\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
}

#[tokio::test]
async fn the_length_of_a_body_is_one_plain_number() {
    check(vec![
        (hi("content-length: 2"), 200, Kept),
        (hi("content-length: 2\r\ncontent-length: 2"), 200, Kept),
        (hi("content-length: 2\r\ncontent-length: 3"), 400, Closed),
        (hi("content-length: 2, 2"), 400, Closed),
        (hi("content-length: +2"), 400, Closed),
        (hi("content-length: -2"), 400, Closed),
        (hi("content-length: 0x2"), 400, Closed),
        (hi("content-length: "), 400, Closed),
        (hi("content-length: 99999999999999999999"), 400, Closed),
    ])
    .await;
}

#[tokio::test]
async fn chunked_is_the_only_transfer_encoding_and_no_length_stands_beside_it() {
    let old = "POST /echo HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    check(vec![
        (chunked("transfer-encoding: chunked"), 200, Kept),
        (chunked("transfer-encoding: Chunked"), 200, Kept),
        // The length is not seen beside it; nothing more is read, as RFC 9112 §6.1 asks for.
        (chunked("transfer-encoding: chunked\r\ncontent-length: 4"), 200, Closed),
        (chunked("content-length: 4\r\ntransfer-encoding: chunked"), 200, Closed),
        (chunked("transfer-encoding: gzip, chunked"), 501, Closed),
        (chunked("transfer-encoding: gzip\r\ntransfer-encoding: chunked"), 501, Closed),
        (chunked("transfer-encoding: chunked\r\ntransfer-encoding: chunked"), 501, Closed),
        (chunked("transfer-encoding: chunked, gzip"), 400, Closed),
        (chunked("transfer-encoding: identity"), 400, Closed),
        (chunked("transfer-encoding: xchunked"), 400, Closed),
        (old.to_owned(), 400, Closed),
    ])
    .await;
}

#[tokio::test]
async fn chunks_are_as_long_as_they_say() {
    let head = "POST /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    check(vec![
        (format!("{head}zz\r\nhi\r\n0\r\n\r\n"), 400, Closed),
        (format!("{head}fffffffffffffffff\r\nhi\r\n0\r\n\r\n"), 400, Closed),
        (format!("{head}2\r\nhiho\r\n0\r\n\r\n"), 400, Closed),
        (format!("{head}2;ext=1\r\nhi\r\n0\r\nx-trailer: v\r\n\r\n"), 200, Kept),
    ])
    .await;
}

#[tokio::test]
async fn header_lines_are_whole_and_end_where_they_seem_to() {
    let bare = "POST /echo HTTP/1.1\nhost: h\ncontent-length: 2\n\nhi";
    check(vec![
        (hi("x-a: b\r\n c\r\ncontent-length: 2"), 400, Closed),
        (hi("content-length : 2"), 400, Closed),
        (hi("x-a: b\rc\r\ncontent-length: 2"), 400, Closed),
        (hi("x-a: b\0c\r\ncontent-length: 2"), 400, Closed),
        // RFC 9112 §2.2 lets a lone LF end a line.
        (bare.to_owned(), 200, Kept),
    ])
    .await;
}

#[tokio::test]
async fn targets_of_every_form_are_answered_and_only_paths_run() {
    let with = |line: &str| format!("{line}\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi");
    let bodiless = |line: &str| format!("{line}\r\nhost: h\r\n\r\n");
    check(vec![
        (with("POST http://h/echo HTTP/1.1"), 200, Kept),
        (with("POST http://elsewhere/echo HTTP/1.1"), 200, Kept),
        (with("POST echo HTTP/1.1"), 404, Kept),
        (bodiless("OPTIONS * HTTP/1.1"), 404, Kept),
        (bodiless("CONNECT h:80 HTTP/1.1"), 404, Kept),
        (bodiless("OPTIONS /echo HTTP/1.1"), 405, Kept),
        (bodiless("TRACE /echo HTTP/1.1"), 405, Kept),
        (with("POST  /echo HTTP/1.1"), 400, Closed),
        (with("POST\t/echo HTTP/1.1"), 400, Closed),
        (with("POST /echo HTTP/2.0"), 400, Closed),
        (with("POST /echo HTTP/1.2"), 400, Closed),
        (bodiless("GET /safe"), 400, Closed),
    ])
    .await;
}

#[tokio::test]
async fn hosts_are_checked() {
    let host =
        |host: &str| format!("POST /echo HTTP/1.1\r\nhost: {host}\r\ncontent-length: 2\r\n\r\nhi");
    check(vec![
        (host(""), 200, Kept),
        (host("[::1]:80"), 200, Kept),
        (host("a b/c?d"), 400, Kept),
        (host("user@h"), 400, Kept),
        (host("h:x"), 400, Kept),
    ])
    .await;
}

#[tokio::test]
async fn heads_that_are_too_long_are_told_and_cut() {
    let many: String = (0..100).map(|at| format!("x-{at}: v\r\n")).collect();
    let long = "x".repeat(40_000);
    check(vec![
        (hi(&format!("{many}content-length: 2")), 431, Closed),
        (hi(&format!("x-a: {long}\r\ncontent-length: 2")), 431, Closed),
        (format!("POST /{long} HTTP/1.1\r\nhost: h\r\n\r\n"), 431, Closed),
        (format!("POST /echo HTTP/1.1\r\nhost: h\r\nx-a: {long}"), 431, Closed),
    ])
    .await;
}

#[tokio::test]
async fn bytes_that_are_no_http_are_told_so_and_empty_lines_before_a_request_are_skipped() {
    check(vec![
        ("\x16\x03\x01\x02".to_owned(), 400, Closed),
        ("GET\r\n\r\n".to_owned(), 400, Closed),
        ("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_owned(), 400, Closed),
        (format!("\r\n\r\n{NEXT}"), 200, Kept),
    ])
    .await;
}
