//! Calls that travel as GET: proxies repeat those at another server, so that no reply to one of
//! them proves that the handler did not run.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

mod support;

use rr_http::{HttpRequester, HttpServerConfig};
use rr_spi::{Delivery, Error, Headers, Idempotency, Requester as _};
use support::*;
use tokio::io::AsyncWriteExt as _;

/// Calls a server that answers with this head, with a safe call of JSON.
async fn answered(query: &str, head: &'static str) -> (String, Error) {
    let (script, url) = Script::bind().await;
    let client = HttpRequester::connect(&format!("{url}{query}")).await.unwrap();
    let mut headers = Headers::new();
    headers.insert("content-type", "application/json").unwrap();
    let request = request("svc.m", "{}").with_headers(headers);
    let request = request.with_idempotency(Idempotency::Safe);
    let serve = async {
        let mut stream = script.accept().await;
        let asked = read_request(&mut stream).await;
        stream.write_all(format!("{head}content-length: 0\r\n\r\n").as_bytes()).await.unwrap();
        asked
    };
    let ctx = context();
    let (outcome, asked) = tokio::join!(within(client.request(&ctx, request)), serve);
    (asked, outcome.unwrap_err())
}

#[tokio::test]
async fn a_reply_to_get_never_claims_that_the_handler_did_not_run() {
    for head in [
        "HTTP/1.1 503 No\r\nrr-code: unavailable\r\nrr-delivery: rejected\r\n",
        "HTTP/1.1 421 No\r\n",
        "HTTP/1.1 425 No\r\n",
        "HTTP/1.1 431 No\r\n",
    ] {
        let (asked, error) = answered("?get_bytes_max=2000", head).await;
        assert!(asked.starts_with("GET /svc/m?"), "{asked}");
        assert_eq!(error.delivery(), Delivery::Unknown, "{head}");
        let (asked, error) = answered("", head).await;
        assert!(asked.starts_with("POST /svc/m "), "{asked}");
        assert_eq!(error.delivery(), Delivery::Rejected, "{head}");
    }
    let ran = "HTTP/1.1 503 No\r\nrr-code: unavailable\r\nrr-delivery: processed\r\n";
    let (_, error) = answered("?get_bytes_max=2000", ran).await;
    assert_eq!(error.delivery(), Delivery::Processed);
}

#[tokio::test]
async fn our_server_says_unknown_to_get_where_it_says_rejected_to_post() {
    let fixture = fixture(HttpServerConfig::default().with_in_flight_max(0)).await;
    for (path, status) in
        [("/safe", 429), ("/safe?encoding=%20", 400), ("/nowhere", 404), ("/echo", 405)]
    {
        let mut raw = fixture.raw().await;
        raw.send(&format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        let answer = raw.answer().await.unwrap();
        assert_eq!((answer.status, answer.header("rr-delivery")), (status, Some("unknown")));
        raw.send(&format!("HEAD {path} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        let answer = raw.answer_to_head().await.unwrap();
        assert_eq!((answer.status, answer.header("rr-delivery")), (status, Some("unknown")));
    }
    let mut raw = fixture.raw().await;
    raw.post("/safe", "", "").await;
    raw.answer().await.unwrap().assert_error(429, "resource_exhausted", "rejected");
    assert_eq!(fixture.runs(), 0);
}

#[tokio::test]
async fn what_was_made_of_text_goes_as_text_unless_request_or_handler_name_a_type() {
    let ping = fixture(HttpServerConfig::default()).await;
    let mut raw = ping.raw().await;
    for (path, headers, expected) in [
        ("/svc/headers", "", "text/plain; charset=utf-8"),
        ("/svc/big", "", "application/octet-stream"),
        ("/svc/headers", "content-type: application/json\r\n", "application/json"),
        ("/svc/headers", "content-type: application/octet-stream\r\n", "application/octet-stream"),
    ] {
        raw.post(path, headers, "").await;
        let answer = raw.answer().await.unwrap();
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(expected)), "{path}");
    }
    raw.send("GET /safe HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let answer = raw.answer().await.unwrap();
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"), "bytes stay bytes");
    for query in ["", "?version=h2c", "?get_bytes_max=2000"] {
        let client =
            HttpRequester::connect(&format!("{}{query}", ping.server.url())).await.unwrap();
        let response = client.request(&context(), request("svc.headers", "")).await.unwrap();
        assert_eq!(response.headers, Headers::new(), "as over the other transports");
    }
}
