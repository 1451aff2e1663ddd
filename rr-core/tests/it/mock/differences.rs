//! Requests that no expectation matches: what their caller and the test are told.

use rr_core::retry::RetryHint;
use rr_core::{Code, Context, Delivery, Error, Request, Requester};
use rr_testkit::{Mock, loopback};
use serde_json::json;

use super::{Charge, call, charge, dropped, pay, reason};

async fn unmatched(mock: &Mock, target: &str, body: impl Into<rr_core::Bytes>) -> Error {
    let request = Request::new(target.try_into().unwrap(), body.into());
    loopback(mock).request(&Context::background(), request).await.unwrap_err()
}

#[tokio::test]
async fn a_request_that_matches_nothing_is_told_from_any_answer_and_fails_the_test() {
    let mock = Mock::service("payments");
    let line = line!() + 1;
    mock.on("charge").with(charge(5)).reply("paid");
    let payments = loopback(&mock);
    let error = pay(&payments, 7).await.unwrap_err();
    assert_eq!((error.code(), reason(&error)), (Code::Internal, "mock-no-match"));
    assert_eq!((error.delivery(), error.retry()), (Delivery::Processed, RetryHint::Never));
    let expected = format!(
        "`payments.charge` with {{\"cents\":7,\"to\":\"Zoë\"}}: no expectation matches; the nearest is \
         `payments.charge` at {}:{line}:10: `cents` is 7, expected 5",
        file!(),
    );
    assert_eq!(error.message(), expected);
    let report = dropped(mock);
    assert!(report.starts_with("mock `payments` has 1 problem\n  "), "{report}");
    assert!(report.contains(&expected), "{report}");
    assert!(report.contains("\nit received 1 request:\n  `payments.charge` with {"), "{report}");
}

#[tokio::test]
async fn the_nearest_expectation_is_the_one_with_the_fewest_differences() {
    let mock = Mock::service("payments");
    let never = |_: &Charge| false;
    mock.on("charge").when(never).with(charge(1)).reply("a");
    let line = line!() + 1;
    mock.on("charge").when(|charge: &Charge| charge.cents > 10).reply("b");
    mock.on("charge").when(never).when(never).reply("c");
    let error = pay(&loopback(&mock), 7).await.unwrap_err();
    let place = format!("{}:{line}:", file!());
    assert!(error.message().contains(&format!("`payments.charge` at {place}10")), "{error}");
    assert!(error.message().contains(&format!("the predicate of `when` at {place}")), "{error}");
    dropped(mock);
}

#[tokio::test]
async fn another_method_is_compared_by_its_name() {
    let mock = Mock::service("payments");
    let error = unmatched(&mock, "payments.chrage", "1").await;
    assert!(error.message().ends_with("the mock has no expectation"), "{error}");
    mock.on("refund").reply(1);
    mock.on("charge").reply(1);
    mock.on("list").reply(1);
    let error = unmatched(&mock, "payments.chrage", "1").await;
    let text = "no expectation of this method; the nearest is `payments.charge` at ";
    assert!(error.message().contains(text), "{error}");
    assert!(dropped(mock).starts_with("mock `payments` has 2 problems\n"));
}

#[tokio::test]
async fn bodies_that_cannot_be_decoded_match_nothing_and_say_why() {
    let mock = Mock::service("payments");
    mock.on("charge").when(|_: &Charge| true).reply("paid");
    for (body, text) in [
        (&b"{\"cents\": 7"[..], "the body is not a `Charge`: EOF while parsing"),
        (b"\xff\xfe\x00", "with 3 bytes that are not UTF-8: no expectation matches"),
        ("{\"cents\": \"ä\u{1f600}\"}".as_bytes(), "with {\"cents\": \"ä\u{1f600}\"}: no exp"),
        ("{\"cents\": \"ä\u{1f600}\"}".as_bytes(), "is not a `Charge`: invalid type: string"),
        (b"", "with no body: no expectation matches"),
        (b"\r\n", "with \\r\\n: no expectation matches"),
    ] {
        let error = unmatched(&mock, "payments.charge", body).await;
        assert_eq!(reason(&error), "mock-no-match");
        assert!(error.message().contains(text), "{error}");
    }
    dropped(mock);
}

#[tokio::test]
async fn large_bodies_and_many_problems_are_cut_in_every_text() {
    let mock = Mock::service("payments");
    mock.on("charge").with(json!({"items": ["é"]})).reply("paid");
    let payments = loopback(&mock);
    let large = json!({"items": vec!["é".repeat(100); 500]});
    for _ in 0..50 {
        let error = call(&payments, "payments.charge", &large).await.unwrap_err();
        assert!(error.message().contains(", and 497 more"), "{error}");
    }
    let report = dropped(mock);
    assert!(report.starts_with("mock `payments` has 50 problems\n"), "{report}");
    assert_eq!(report.matches("\n  and 30 more").count(), 2, "{report}");
    assert!(report.len() < 40_000, "{}", report.len());
}
