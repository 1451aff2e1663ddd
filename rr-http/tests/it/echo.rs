//! Requester and server together, over both versions.

use crate::support::*;
use rr_http::{HttpConfig, HttpRequester, HttpServerConfig};
use rr_spi::{Headers, Requester as _};

#[tokio::test]
async fn a_request_and_its_response_round_trip_over_both_versions() {
    let fixture = fixture(HttpServerConfig::default()).await;
    for query in ["", "?version=h2c"] {
        let url = format!("{}{query}", fixture.server.url());
        let client = HttpRequester::new(&url, HttpConfig::default()).unwrap();
        let mut headers = Headers::new();
        headers.append("x-tag", "a").unwrap();
        headers.append("x-tag", "b").unwrap();
        headers.append_bin("x-sig-bin", vec![0, 255]).unwrap();
        for body in [vec![], vec![7; 16], vec![7; 64 * 1024], vec![7; 900_000]] {
            let request = request("echo", body.clone()).with_headers(headers.clone());
            let response = client.request(&context(), request).await.unwrap();
            assert_eq!(response.body, body);
            assert_eq!(response.headers, headers);
        }
        assert_eq!(client.in_flight(), 0);
        assert_eq!(client.connections(), 1);
    }
}

#[tokio::test]
async fn a_safe_call_of_json_may_go_as_get_and_one_that_is_not_declared_so_is_refused() {
    let fixture = fixture(HttpServerConfig::default()).await;
    for query in ["?get_bytes_max=2000", "?get_bytes_max=2000&version=h2c"] {
        let url = format!("{}{query}", fixture.server.url());
        let client = HttpRequester::new(&url, HttpConfig::default()).unwrap();
        let mut headers = Headers::new();
        headers.insert("content-type", "application/json").unwrap();
        let call = |target, body: String| {
            let request = request(target, body).with_headers(headers.clone());
            let request = request.with_idempotency(rr_spi::Idempotency::Safe);
            let client = client.clone();
            async move { client.request(&context(), request).await }
        };
        let response = call("safe", r#"{"a b":"&+%ü"}"#.into()).await.unwrap();
        assert_eq!(response.body, r#"{"a b":"&+%ü"}"#);
        assert_eq!(response.headers.get("content-type"), Some("application/json"));
        assert_eq!(response.headers.get("cache-control"), Some("no-store"));
        let long = format!("\"{}\"", "x".repeat(3000));
        let response = call("safe", long.clone()).await.unwrap();
        assert_eq!((response.body, response.headers.len()), (long.into(), 1));
        let error = call("echo", "{}".into()).await.unwrap_err();
        // A proxy may have repeated the GET: the refusal speaks for one run.
        let expected = (rr_spi::Code::Unimplemented, rr_spi::Delivery::Unknown, None);
        assert_eq!(told(&error), expected);
    }
}
