//! Calls that are held back are counted as calls, by their reason, and not as attempts.

use rr_core::config::IntakeConfig;
use rr_core::{
    Context, Error, Reason, RequesterExt as _, Router, connect, recommended, serve_with,
};
use std::time::Duration;

use super::support::Exporter;

#[tokio::test]
async fn calls_that_are_held_back_are_counted_by_their_reason() {
    let (exporter, _guard) = Exporter::install();
    let router = Router::new().route("shop.double", async |n: u32| Ok::<u32, Error>(n * 2));
    // The server refuses every request.
    let config = IntakeConfig::default().with_in_flight_max(0);
    let server = serve_with("memory://metrics-throttled", router, config).await.unwrap();
    let client = recommended(connect(server.url()).await.unwrap());
    let mut throttled = 0;
    while throttled < 3 {
        let ctx = Context::background().with_timeout(Duration::from_millis(20));
        let error = client.call::<u32>(&ctx, "shop.double", &1).await.unwrap_err();
        throttled += u32::from(Error::from(error).reason() == Some(&Reason::THROTTLED));
    }
    let calls = exporter.values("rpc_client_call_duration_seconds_count");
    // A target that has never answered has no name.
    assert!(calls.contains(&"throttled _OTHER resource_exhausted 3".to_owned()), "{calls:?}");
    let attempts = exporter.values("rr_client_attempt_duration_seconds_count");
    assert!(attempts.iter().all(|line| !line.starts_with("throttled")), "{attempts:?}");
}
