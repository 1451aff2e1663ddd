//! Requests that the test takes and answers.

use std::sync::Arc;
use std::time::Duration;

use rr_core::{Code, Context, Error, Request, Requester, Response};
use rr_testkit::{Loopback, Mock, loopback};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Charge, charge, dropped, pay, reason};

fn spawn(payments: &Arc<Loopback>, cents: u64) -> JoinHandle<Result<String, Error>> {
    let payments = Arc::clone(payments);
    tokio::spawn(async move { pay(&payments, cents).await })
}

/// Runs a future in a task and returns the message of its panic.
async fn panicked<T: Send + 'static>(run: impl Future<Output = T> + Send + 'static) -> String {
    let panic = tokio::spawn(run).await.err().expect("a panic").into_panic();
    panic.downcast_ref::<String>().expect("a text").clone()
}

#[tokio::test]
async fn requests_wait_until_the_test_answers_them() {
    let mock = Mock::by_hand("payments");
    let payments = Arc::new(loopback(&mock));
    let call = spawn(&payments, 5);
    let request = mock.next_request().await;
    assert_eq!(request.input::<Charge>(), charge(5));
    assert_eq!(request.request().target.method(), "charge");
    assert!(request.context().remaining().is_some());
    tokio::task::yield_now().await;
    assert!(!call.is_finished());
    request.reply("paid");
    assert_eq!(call.await.unwrap().unwrap(), "paid");

    let call = spawn(&payments, 6);
    mock.next_request().await.fail(Code::NotFound);
    assert_eq!(call.await.unwrap().unwrap_err().code(), Code::NotFound);

    let call = spawn(&payments, 7);
    mock.next_request().await.reply_raw(Response::new("\"raw\""));
    assert_eq!(call.await.unwrap().unwrap(), "raw");
}

#[tokio::test]
async fn requests_can_be_answered_in_any_order() {
    let mock = Mock::by_hand("payments");
    let payments = Arc::new(loopback(&mock));
    let calls = [spawn(&payments, 1), spawn(&payments, 2), spawn(&payments, 3)];
    let mut requests = Vec::new();
    for cents in 1..=3 {
        let request = mock.next_request().await;
        assert_eq!(request.input::<Charge>().cents, cents);
        requests.push(request);
    }
    for request in requests.into_iter().rev() {
        let cents = request.input::<Charge>().cents;
        request.reply(cents.to_string());
    }
    for (call, cents) in calls.into_iter().zip(1..) {
        assert_eq!(call.await.unwrap().unwrap(), cents.to_string());
    }
}

#[tokio::test]
async fn a_request_that_is_dropped_without_an_answer_is_told_so() {
    let mock = Mock::by_hand("payments");
    let payments = Arc::new(loopback(&mock));
    let call = spawn(&payments, 1);
    drop(mock.next_request().await);
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.code(), reason(&error)), (Code::Internal, "mock-no-answer"));
    assert!(error.message().starts_with("the test dropped `payments.charge` with {"), "{error}");
    assert_eq!(dropped(mock), "");
}

#[tokio::test]
async fn a_request_to_one_method_is_taken_before_others_that_wait_longer() {
    let mock = Mock::by_hand("payments");
    let payments = Arc::new(loopback(&mock));
    let first = spawn(&payments, 1);
    let other = {
        let payments = Arc::clone(&payments);
        tokio::spawn(async move { super::call(&payments, "payments.refund", &2).await })
    };
    let refund = mock.expect_request("refund").await;
    assert_eq!(refund.input::<u8>(), 2);
    refund.reply("back");
    mock.expect_request("charge").await.reply("paid");
    assert_eq!(other.await.unwrap().unwrap(), "back");
    assert_eq!(first.await.unwrap().unwrap(), "paid");
}

#[tokio::test]
async fn expectations_answer_first_and_one_without_an_answer_leaves_it_to_the_test() {
    let mock = Mock::by_hand("payments");
    mock.on("charge").when(|charge: &Charge| charge.cents > 10).reply("large");
    mock.on("charge").when(|charge: &Charge| charge.cents == 1).expect(1);
    let payments = Arc::new(loopback(&mock));
    assert_eq!(pay(&payments, 11).await.unwrap(), "large");
    for cents in [1, 5] {
        let call = spawn(&payments, cents);
        mock.next_request().await.reply("by hand");
        assert_eq!(call.await.unwrap().unwrap(), "by hand");
    }
    assert_eq!(reason(&pay(&payments, 1).await.unwrap_err()), "mock-exhausted");
    assert!(dropped(mock).contains("expected exactly 1 request, received 2"));
}

#[tokio::test(start_paused = true)]
async fn a_test_that_waits_in_vain_is_told_what_came() {
    let mock = Mock::by_hand("payments").with_patience(Duration::from_secs(3));
    let payments = Arc::new(loopback(&mock));
    let (began, taker, line) = (Instant::now(), mock.clone(), line!() + 1);
    let text = panicked(async move { taker.next_request().await }).await;
    let nothing =
        format!("no request came to the mock `payments` within 3s at {}:{line}:", file!());
    assert!(text.starts_with(&nothing), "{text}");
    assert!(text.ends_with("\nit received no request"), "{text}");
    assert_eq!(began.elapsed(), Duration::from_secs(3));

    let _call = spawn(&payments, 1);
    let taker = mock.clone();
    let text = panicked(async move { taker.expect_request("refund").await }).await;
    assert!(text.starts_with("no request to `payments.refund` came"), "{text}");
    assert!(text.contains("\n1 request waiting for the test:\n  `payments.charge` with"), "{text}");
    mock.next_request().await.reply("paid");
}

#[tokio::test]
async fn a_test_cannot_wait_for_requests_that_never_wait_for_it() {
    let mock = Mock::service("payments");
    let text = panicked(async move { mock.next_request().await }).await;
    assert!(text.contains("make it by `Mock::by_hand`"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_the_test_never_takes_fails_it() {
    let mock = Mock::by_hand("payments");
    let payments = Arc::new(loopback(&mock));
    let ctx = Context::background().with_timeout(Duration::from_secs(1));
    let request = Request::new("payments.charge".try_into().unwrap(), "1");
    let error = payments.request(&ctx, request).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    let report = dropped(mock);
    assert!(
        report.contains("`payments.charge` with 1: the test never took this request"),
        "{report}"
    );
}

#[tokio::test]
async fn requests_of_a_mock_that_is_gone_are_told_so_immediately() {
    let mock = Mock::by_hand("payments");
    let payments = Arc::new(loopback(&mock));
    let call = spawn(&payments, 1);
    while mock.received().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(dropped(mock).contains("never took"));
    assert_eq!(reason(&call.await.unwrap().unwrap_err()), "mock-no-answer");
    assert_eq!(reason(&pay(&payments, 2).await.unwrap_err()), "mock-no-answer");
}

#[tokio::test]
async fn the_test_sees_that_a_caller_has_left_and_its_answer_is_discarded() {
    let mock = Mock::by_hand("payments");
    let payments = Arc::new(loopback(&mock));
    let call = spawn(&payments, 1);
    let mut request = mock.next_request().await;
    call.abort();
    request.caller_left().await;
    request.reply("nobody");
    assert_eq!(dropped(mock), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_simultaneous_calls_are_taken_by_two_tasks_once_each() {
    let mock = Mock::by_hand("payments");
    let payments = Arc::new(loopback(&mock));
    let calls: Vec<_> = (0..100).map(|cents| spawn(&payments, cents)).collect();
    let takers = [mock.clone(), mock.clone()].map(|mock| {
        tokio::spawn(async move {
            for _ in 0..50 {
                let request = mock.next_request().await;
                let cents = request.input::<Charge>().cents;
                request.reply(cents.to_string());
            }
        })
    });
    for (call, cents) in calls.into_iter().zip(0..) {
        assert_eq!(call.await.unwrap().unwrap(), cents.to_string());
    }
    for taker in takers {
        taker.await.unwrap();
    }
}
