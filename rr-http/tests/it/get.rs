//! Calls that proxies repeat at another server, so that no reply to one of them proves that the
//! handler did not run: GETs, and what has an idempotency key and no body.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use crate::support::*;
use rr_http::{HttpRequester, HttpServerConfig};
use rr_spi::{
    Delivery, Error, Headers, Idempotency, IdempotencyKey, IntakeConfig, Request, Requester as _,
};
use tokio::io::AsyncWriteExt as _;

/// Calls a server that answers with this head, with a safe call of JSON.
async fn answered(query: &str, head: &'static str) -> (String, Error) {
    let mut headers = Headers::new();
    headers.insert("content-type", "application/json").unwrap();
    let request = request("svc.m", "{}").with_headers(headers);
    answered_to(request.with_idempotency(Idempotency::Safe), query, head).await
}

/// Makes a call of a server that answers with this head.
async fn answered_to(request: Request, query: &str, head: &'static str) -> (String, Error) {
    let (script, url) = Script::bind().await;
    let client = HttpRequester::connect(&format!("{url}{query}")).await.unwrap();
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
    let fixture = fixture(IntakeConfig::default().with_in_flight_max(0).into()).await;
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

/// Reply of a server that refuses.
const REFUSAL: &str = "HTTP/1.1 503 No\r\nrr-code: unavailable\r\nrr-delivery: rejected\r\n";

#[tokio::test]
async fn a_reply_to_a_keyed_call_without_a_body_never_claims_that_the_handler_did_not_run() {
    let key = Idempotency::Keyed(IdempotencyKey::new("order-17").unwrap());
    let mut foreign_key = Headers::new();
    foreign_key.insert("x-idempotency-key", "order-17").unwrap();
    for (body, delivery) in [("", Delivery::Unknown), ("{}", Delivery::Rejected)] {
        let plain = request("svc.m", body);
        for keyed in [
            plain.clone().with_idempotency(key.clone()),
            plain.clone().with_headers(foreign_key.clone()),
        ] {
            let (asked, error) = answered_to(keyed, "", REFUSAL).await;
            assert!(asked.starts_with("POST /svc/m "), "{asked}");
            assert!(asked.contains("idempotency-key: "), "{asked}");
            assert_eq!(error.delivery(), delivery, "{asked}");
        }
    }
    let (_, error) = answered_to(request("svc.m", ""), "", REFUSAL).await;
    assert_eq!(error.delivery(), Delivery::Rejected, "nobody repeats a POST without a key");
}

#[tokio::test]
async fn our_server_says_unknown_to_a_keyed_request_without_a_body_where_it_says_rejected_to_others()
 {
    let fixture = fixture(IntakeConfig::default().with_in_flight_max(0).into()).await;
    let keys = ["idempotency-key: \"k\"\r\n", "X-Idempotency-Key: k\r\n"];
    for (key, body, delivery) in [
        (keys[0], "", "unknown"),
        (keys[1], "", "unknown"),
        (keys[0], "{}", "rejected"),
        (keys[1], "{}", "rejected"),
        ("", "", "rejected"),
    ] {
        let mut raw = fixture.raw().await;
        raw.post("/echo", key, body).await;
        raw.answer().await.unwrap().assert_error(429, "resource_exhausted", delivery);
        raw.post("/nowhere", key, body).await;
        assert_eq!(raw.answer().await.unwrap().header("rr-delivery"), Some(delivery), "{key}");
    }
    // A body of unknown length may be empty.
    let mut raw = fixture.raw().await;
    let head = format!("POST /echo HTTP/1.1\r\nhost: h\r\n{}", keys[0]);
    raw.send(&format!("{head}transfer-encoding: chunked\r\n\r\n0\r\n\r\n")).await;
    raw.answer().await.unwrap().assert_error(429, "resource_exhausted", "unknown");
    assert_eq!(fixture.runs(), 0);
}

#[tokio::test]
async fn over_http_2_too_a_refused_keyed_call_without_a_body_is_unknown() {
    let fixture = fixture(IntakeConfig::default().with_in_flight_max(0).into()).await;
    let url = format!("{}?version=h2c", fixture.server.url());
    let client = HttpRequester::connect(&url).await.unwrap();
    let key = Idempotency::Keyed(IdempotencyKey::new("order-17").unwrap());
    for (body, delivery) in [("", Delivery::Unknown), ("{}", Delivery::Rejected)] {
        let keyed = request("echo", body).with_idempotency(key.clone());
        let error = client.request(&context(), keyed).await.unwrap_err();
        assert_eq!(error.delivery(), delivery, "{error}");
    }
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
