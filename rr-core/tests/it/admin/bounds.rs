//! Nothing on the page grows without a bound.

use rr_core::config::IntakeConfig;
use tokio::task::JoinSet;

use super::*;

/// The number of operations in the list.
const SHOWN: usize = 200;

#[tokio::test]
async fn ten_thousand_requests_in_flight_are_counted_and_the_oldest_are_shown() {
    const REQUESTS: usize = 10_000;
    let (admin, hanging) = (Admin::new(), Arc::new(Semaphore::new(0)));
    let config = IntakeConfig::default().with_observers(admin.observers());
    let config = config.with_in_flight_max(REQUESTS);
    let local = Local::with_config(router(&hanging), config);
    let (mut calls, mut oldest) = (JoinSet::new(), Vec::new());
    for number in 0..REQUESTS {
        let local = local.clone();
        let ctx = context().with_request_id(&format!("r-{number}")).unwrap();
        oldest.push(calls.spawn(async move { local.call_raw(&ctx, "t.hang", "").await }));
    }
    hanging.acquire_many(REQUESTS.try_into().unwrap()).await.unwrap().forget();
    let page = page(&admin).await;
    let in_flight = &page["in_flight"];
    let operations = in_flight["operations"].as_array().unwrap();
    assert_eq!((operations.len(), &in_flight["requests"]), (SHOWN, &REQUESTS.into()));
    assert_eq!(in_flight["left_out"], REQUESTS - SHOWN);
    assert_eq!(operations[0]["request_id"], "r-0");
    let html = html(&admin).await;
    assert!(html.contains("9800 more are not shown"), "{}", html.len());

    // Those that were never in the list enter it as older ones end.
    oldest.drain(..9000).for_each(|call| call.abort());
    let page = until(&admin, |page| page["in_flight"]["requests"] == 1000).await;
    let in_flight = &page["in_flight"];
    let operations = in_flight["operations"].as_array().unwrap();
    assert_eq!((operations.len(), &in_flight["left_out"]), (SHOWN, &800.into()));
    assert_eq!(operations[0]["request_id"], "r-9000");
    calls.shutdown().await;
    until(&admin, |page| page["in_flight"]["requests"] == 0).await;
}

#[tokio::test]
async fn the_last_failures_are_kept_newest_first() {
    let admin = Admin::new().with_failures_max(3);
    let config = IntakeConfig::default().with_observers(admin.observers());
    let local = Local::with_config(Router::new(), config);
    for number in 0..10 {
        let target = format!("unknown.n{number}");
        local.call_raw(&context(), target.as_str(), "").await.unwrap_err();
    }
    let page = page(&admin).await;
    let last: Vec<_> = page["last_failures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| &failure["target"])
        .collect();
    assert_eq!(last, ["unknown.n9", "unknown.n8", "unknown.n7"]);
    assert_eq!(page["failures"], 10);
    assert!(html(&admin).await.contains("The last 3 of 10."));
}

#[tokio::test]
async fn a_text_is_cut() {
    let admin = Admin::new();
    let config = IntakeConfig::default().with_observers(admin.observers());
    let long = |_: Context, _: Request| async {
        Err::<Response, _>(Error::new(Code::Internal, "x".repeat(100_000)))
    };
    let local = Local::with_config(Router::new().route("t.long", long), config);
    let ctx = context().with_request_id(&"r".repeat(256)).unwrap();
    local.call_raw(&ctx, "t.long", "").await.unwrap_err();
    let page = page(&admin).await;
    let failure = &page["last_failures"][0];
    assert_eq!(failure["message"], "x".repeat(512));
    assert_eq!(failure["request_id"], "r".repeat(128));
}
