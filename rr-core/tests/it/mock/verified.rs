//! Counts, and when a mock fails the test.

use rr_core::Code;
use rr_testkit::{Mock, loopback};

use super::{Charge, charge, dropped, panicked, pay, reason};

/// Makes calls to a mock which expects a number of them; returns the report.
async fn report(times: impl Into<rr_testkit::Times>, calls: usize) -> String {
    let mock = Mock::service("payments");
    mock.on("charge").reply("paid").expect(times);
    let payments = loopback(&mock);
    for _ in 0..calls {
        let _ = pay(&payments, 1).await;
    }
    dropped(mock)
}

#[tokio::test]
async fn a_number_of_requests_that_was_not_expected_fails_the_test() {
    for (calls, is_met) in [(1, false), (2, true), (3, false)] {
        assert_eq!(report(2, calls).await.is_empty(), is_met, "{calls}");
    }
    for (calls, is_met) in [(0, false), (1, true), (3, true), (4, false)] {
        assert_eq!(report(1..=3, calls).await.is_empty(), is_met, "{calls}");
        assert_eq!(report(1..4, calls).await.is_empty(), is_met, "{calls}");
    }
    assert!(report(2.., 9).await.is_empty() && report(..3, 2).await.is_empty());
    let text = report(2, 1).await;
    let expected = "expected exactly 2 requests, received 1\nit received 1 request:\n";
    assert!(text.contains(expected) && text.contains(file!()), "{text}");
    assert!(report(1.., 0).await.ends_with("received 0\nit received no request"));
}

#[tokio::test]
async fn requests_beyond_the_expected_number_are_refused() {
    let mock = Mock::service("payments");
    mock.on("charge").reply("paid").expect(1);
    let payments = loopback(&mock);
    assert_eq!(pay(&payments, 1).await.unwrap(), "paid");
    let error = pay(&payments, 1).await.unwrap_err();
    assert_eq!((error.code(), reason(&error)), (Code::Internal, "mock-exhausted"));
    assert!(error.message().ends_with("expects exactly 1 request"), "{error}");
    assert!(dropped(mock).contains("expected exactly 1 request, received 2"));
}

#[tokio::test]
async fn a_request_that_must_not_come_is_refused_and_fails_the_test() {
    let mock = Mock::service("payments");
    mock.on("charge").when(|charge: &Charge| charge.cents == 0).expect_none();
    mock.on("charge").reply("paid").expect_at_least(1);
    let payments = loopback(&mock);
    pay(&payments, 1).await.unwrap();
    mock.verify();
    let error = pay(&payments, 0).await.unwrap_err();
    assert!(error.message().ends_with("expects no request"), "{error}");
    assert!(panicked(|| mock.verify()).contains("expected no request, received 1"));
    dropped(mock);
}

#[tokio::test]
async fn any_number_of_requests_meets_an_expectation_without_a_count() {
    let mock = Mock::service("payments");
    mock.on("charge").reply("paid").reply("again");
    mock.verify();
    pay(&loopback(&mock), 1).await.unwrap();
    assert_eq!(dropped(mock), "");
}

#[tokio::test]
async fn a_checkpoint_verifies_and_begins_anew() {
    let mock = Mock::service("payments");
    mock.on("charge").reply("first").expect(1);
    assert!(panicked(|| mock.checkpoint()).contains("received 0"));
    let payments = loopback(&mock);
    assert_eq!(pay(&payments, 1).await.unwrap(), "first");
    mock.checkpoint();
    assert!(mock.received().is_empty());
    assert_eq!(reason(&pay(&payments, 1).await.unwrap_err()), "mock-no-match");
    assert!(panicked(|| mock.checkpoint()).contains("the mock has no expectation"));
    dropped(mock);
}

#[tokio::test]
async fn only_the_original_fails_the_test_and_clones_share_everything() {
    let mock = Mock::service("payments");
    let clone = mock.clone();
    clone.on("charge").reply("paid").expect(1);
    assert_eq!(dropped(clone.clone()), "");
    assert!(panicked(|| clone.verify()).contains("received 0"));
    pay(&loopback(&clone), 1).await.unwrap();
    drop(clone);
    assert_eq!(mock.received().len(), 1);
    assert_eq!(mock.inputs::<Charge>("charge"), [charge(1)]);
    assert_eq!(dropped(mock), "");
}

#[test]
fn a_panic_of_the_test_is_not_replaced_by_the_mocks() {
    let text = panicked(|| {
        let mock = Mock::service("payments");
        mock.on("charge").reply("paid").expect(1);
        panic!("{}", "the test's own".to_owned());
    });
    assert_eq!(text, "the test's own");
}

#[tokio::test]
async fn what_came_is_kept_in_order_and_decoded_on_demand() {
    let mock = Mock::service("payments");
    mock.on("charge").reply("paid");
    mock.on("refund").reply("back");
    let payments = loopback(&mock);
    pay(&payments, 3).await.unwrap();
    super::call(&payments, "payments.refund", &"ü").await.unwrap();
    pay(&payments, 1).await.unwrap();
    let received = mock.received();
    let methods: Vec<_> = received.iter().map(|request| request.target.method()).collect();
    assert_eq!(methods, ["charge", "refund", "charge"]);
    assert_eq!(mock.inputs::<Charge>("charge"), [charge(3), charge(1)]);
    assert_eq!(mock.inputs::<String>("refund"), ["ü"]);
    let text = panicked(|| drop(mock.inputs::<u8>("refund")));
    assert!(text.starts_with("`payments.refund` with \"ü\": the body is not a `u8`"), "{text}");
}

#[test]
fn mistakes_in_a_mock_are_named_where_they_are_made() {
    let mock = Mock::service("payments");
    for (run, text) in [
        (&(|| drop(Mock::service("pay ments"))) as &dyn Fn(), "`pay ments`"),
        (&|| drop(mock.on("")), "empty token"),
        (&|| drop(mock.on("v1.charge")), "give the last token"),
        (&|| drop(mock.on("a").forever()), "add an answer first"),
        (&|| drop(mock.on("b").expect(4..4)), "use `expect_none`"),
        (&|| drop(mock.on("c").reply(std::collections::BTreeMap::from([((), ())]))), "as JSON"),
    ] {
        let message = panicked(run);
        assert!(message.contains(text), "{message}");
    }
}
