//! Bodies over the default limits, where both ends allow them.

#![cfg(all(feature = "http", feature = "memory"))]

use std::time::Duration;

use rr_core::{
    Client, Context, Delivery, Error, Reason, Request, RequesterExt, Response, Router,
    config::{CallConfig, IntakeConfig, Limits},
    connect, connect_with, serve, serve_with,
};

/// Length of a body that only raised limits allow.
const LARGE: usize = 4 * 1024 * 1024;

async fn echo(_: Context, request: Request) -> Result<Response, Error> {
    Ok(Response::new(request.body))
}

fn router() -> Router {
    Router::new().route("a.echo", echo)
}

/// Calls with a large body, and asserts that the same body comes back.
async fn assert_passes(client: &Client, name: &str) {
    let body: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8).collect();
    let ctx = Context::background().with_timeout(Duration::from_secs(60));
    let response = client.call_raw(&ctx, "a.echo", body.clone()).await;
    let response = response.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(response.body == body, "{name}: another body came back");
}

#[tokio::test]
async fn bodies_of_4_mib_pass_both_ways_where_the_limits_of_both_ends_are_raised() {
    let limits = Limits::default().with_request_bytes_max(LARGE).with_response_bytes_max(LARGE);
    let query = format!("request_bytes_max={LARGE}&response_bytes_max={LARGE}");
    for (url, version) in
        [("memory://large", ""), ("http://127.0.0.1:0", ""), ("http://127.0.0.1:0", "version=h2c")]
    {
        let server = serve_with(url, router(), IntakeConfig::from(limits)).await.unwrap();
        let plain = format!("{}?{version}", server.url().as_str());
        let client = connect_with(&plain, CallConfig::from(limits)).await.unwrap();
        assert_passes(&client, &plain).await;
        // The default of the requester refuses what the server would take.
        let error = connect(&plain).await.unwrap();
        let error = error.call_raw(&Context::background(), "a.echo", vec![0; LARGE]).await;
        let error = error.unwrap_err();
        assert_eq!(error.reason(), Some(&Reason::REQUEST_TOO_LARGE), "{plain}: {error}");
        assert_eq!(error.delivery(), Delivery::NotSent, "{plain}");
        server.shutdown(Duration::from_secs(5)).await;

        let server = serve(&format!("{url}?{query}"), router()).await.unwrap();
        let by_url = format!("{}&{version}", server.url().as_str());
        assert_passes(&connect(&by_url).await.unwrap(), &by_url).await;
        server.shutdown(Duration::from_secs(5)).await;
    }
}
