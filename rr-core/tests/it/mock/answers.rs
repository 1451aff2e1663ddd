//! Answers: which one a request gets, and when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rr_core::retry::RetryHint;
use rr_core::{Code, Context, Delivery, Error, Reason, Request, Requester, Response};
use rr_testkit::{Mock, loopback};
use tokio::time::Instant;

use super::{Charge, call, charge, dropped, pay, reason};

#[tokio::test]
async fn a_single_answer_is_given_to_every_request() {
    let mock = Mock::service("payments");
    mock.on("charge").reply("paid");
    let payments = loopback(&mock);
    for _ in 0..3 {
        assert_eq!(pay(&payments, 1).await.unwrap(), "paid");
    }
}

#[tokio::test]
async fn the_first_expectation_that_matches_answers() {
    let mock = Mock::service("payments");
    mock.on("charge").when(|charge: &Charge| charge.cents > 100).reply("large");
    mock.on("charge").with(charge(7)).reply("seven");
    mock.on("charge").when(|charge: &Charge| charge.cents > 50).reply("medium");
    mock.on("charge")
        .reply_with(|charge: &Charge| Ok(format!("{} to {}", charge.cents, charge.to)));
    let payments = loopback(&mock);
    for (cents, reply) in [(101, "large"), (100, "medium"), (7, "seven"), (8, "8 to Zoë")] {
        assert_eq!(pay(&payments, cents).await.unwrap(), reply);
    }
}

#[tokio::test]
async fn every_condition_of_an_expectation_must_hold() {
    let mock = Mock::service("payments");
    let large = |charge: &Charge| charge.cents > 100;
    mock.on("charge")
        .when(large)
        .when(|charge: &Charge| charge.cents.is_multiple_of(2))
        .reply("both");
    mock.on("charge").reply("other");
    let payments = loopback(&mock);
    for (cents, reply) in [(102, "both"), (101, "other"), (2, "other")] {
        assert_eq!(pay(&payments, cents).await.unwrap(), reply);
    }
}

#[tokio::test]
async fn requests_are_matched_by_headers_and_bytes() {
    let mock = Mock::service("payments");
    mock.on("charge")
        .when_raw(|request| request.headers.contains("x-test"))
        .reply_raw(Response::new("header"));
    mock.on("charge")
        .when_raw(|request| request.body[..] == [0xff, 0xfe])
        .reply_raw(Response::new("bytes"));
    let payments = loopback(&mock);
    let mut request = Request::new("payments.charge".try_into().unwrap(), vec![0xff, 0xfe]);
    let ctx = Context::background();
    assert_eq!(payments.request(&ctx, request.clone()).await.unwrap().body, "bytes");
    request.headers.insert("x-test", "1").unwrap();
    assert_eq!(payments.request(&ctx, request).await.unwrap().body, "header");
}

#[tokio::test]
async fn a_request_after_the_last_answer_is_told_so_and_fails_the_test() {
    let mock = Mock::service("payments");
    mock.on("charge").fail_times(2, Code::Unavailable).reply("paid").reply("again");
    let payments = loopback(&mock);
    for _ in 0..2 {
        assert_eq!(pay(&payments, 1).await.unwrap_err().code(), Code::Unavailable);
    }
    assert_eq!(pay(&payments, 1).await.unwrap(), "paid");
    assert_eq!(pay(&payments, 1).await.unwrap(), "again");
    let error = pay(&payments, 1).await.unwrap_err();
    assert_eq!((error.code(), reason(&error)), (Code::Internal, "mock-exhausted"));
    assert!(error.message().contains("has given its last answer"), "{error}");
    assert_eq!(error.retry(), RetryHint::Never);
    let report = dropped(mock);
    assert!(report.starts_with("mock `payments` has 1 problem\n"), "{report}");
    assert!(report.contains("has given its last answer"), "{report}");
}

#[tokio::test]
async fn the_last_answer_repeats_if_it_is_to_last_forever() {
    let mock = Mock::service("payments");
    mock.on("charge").fail_times(1, Code::Unavailable).reply("paid").forever();
    let payments = loopback(&mock);
    pay(&payments, 1).await.unwrap_err();
    for _ in 0..5 {
        assert_eq!(pay(&payments, 1).await.unwrap(), "paid");
    }
}

#[tokio::test]
async fn errors_arrive_as_they_are_given() {
    let mock = Mock::service("payments");
    let throttled = Error::new(Code::ResourceExhausted, "slow down")
        .with_reason(Reason::parse("quota").unwrap())
        .with_retry(RetryHint::After(Duration::from_secs(3)));
    let refused =
        Error::failure(Code::Unavailable, Delivery::Rejected, Reason::DRAINING, "leaving");
    mock.on("charge").fail(throttled).fail(refused).fail(Code::NotFound).reply_with(
        |charge: &Charge| match charge.cents {
            0 => Err(Error::new(Code::InvalidArgument, "nothing to pay")),
            cents => Ok(cents.to_string()),
        },
    );
    let payments = loopback(&mock);
    let error = pay(&payments, 1).await.unwrap_err();
    assert_eq!((error.code(), reason(&error)), (Code::ResourceExhausted, "quota"));
    assert_eq!((error.message(), error.delivery()), ("slow down", Delivery::Processed));
    assert_eq!(error.retry(), RetryHint::After(Duration::from_secs(3)));
    let error = pay(&payments, 1).await.unwrap_err();
    assert_eq!((error.code(), reason(&error)), (Code::Unavailable, "draining"));
    assert_eq!(error.delivery(), Delivery::Rejected);
    let error = pay(&payments, 1).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::NotFound, Delivery::Processed));
    let error = pay(&payments, 0).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::InvalidArgument, "nothing to pay"));
}

#[tokio::test(start_paused = true)]
async fn answers_come_after_their_delay_on_tokios_clock() {
    let mock = Mock::service("payments");
    let (long, short) = (Duration::from_secs(20), Duration::from_secs(3));
    mock.on("charge")
        .delay(long)
        .reply("late")
        .reply("immediately")
        .delay(short)
        .fail(Code::Aborted);
    let payments = loopback(&mock);
    let ctx = Context::background().with_timeout(long * 2);
    let request = || Request::new("payments.charge".try_into().unwrap(), "");
    for (delay, is_ok) in [(long, true), (Duration::ZERO, true), (short, false)] {
        let began = Instant::now();
        assert_eq!(payments.request(&ctx, request()).await.is_ok(), is_ok);
        assert_eq!(began.elapsed(), delay);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_answer_ends_with_the_deadline_of_its_caller() {
    let mock = Mock::service("payments");
    mock.on("charge").hang();
    let payments = loopback(&mock);
    let began = Instant::now();
    let ctx = Context::background().with_timeout(Duration::from_secs(2));
    let request = Request::new("payments.charge".try_into().unwrap(), "");
    let error = payments.request(&ctx, request).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert_eq!(began.elapsed(), Duration::from_secs(2));
}

#[tokio::test]
async fn unit_has_a_body_in_json_and_an_input() {
    let mock = Mock::service("payments");
    mock.on("ping").when(|(): &()| true).reply(());
    let payments = loopback(&mock);
    let ctx = Context::background();
    for body in ["", "{}", "null"] {
        let request = Request::new("payments.ping".try_into().unwrap(), body);
        assert_eq!(payments.request(&ctx, request).await.unwrap().body, "{}");
    }
}

#[tokio::test]
async fn an_input_that_a_function_cannot_take_fails_the_test() {
    let mock = Mock::service("payments");
    mock.on("charge").reply_with(|charge: &Charge| Ok(charge.cents));
    let payments = loopback(&mock);
    let error = call(&payments, "payments.charge", &7).await.unwrap_err();
    assert_eq!(reason(&error), "mock-no-answer");
    assert!(error.message().contains("the body is not a `Charge`"), "{error}");
    let report = dropped(mock);
    assert!(report.contains("`payments.charge` with 7: the body is not a `Charge`"), "{report}");
}

#[tokio::test]
async fn an_expectation_without_an_answer_fails_the_test() {
    let mock = Mock::service("payments");
    mock.on("charge");
    let payments = loopback(&mock);
    let error = pay(&payments, 1).await.unwrap_err();
    assert_eq!(reason(&error), "mock-no-answer");
    assert!(error.message().contains("has no answer"), "{error}");
    assert!(dropped(mock).contains("has no answer"));
}

#[tokio::test]
async fn a_delay_that_no_answer_follows_fails_the_test() {
    let mock = Mock::service("payments");
    mock.on("charge").reply("paid").delay(Duration::from_secs(1));
    let error = pay(&loopback(&mock), 1).await.unwrap_err();
    assert_eq!(reason(&error), "mock-no-answer");
    assert!(dropped(mock).contains("delays no answer: write it before one"));
}

#[tokio::test]
async fn a_predicate_runs_once_for_each_request() {
    let mock = Mock::service("payments");
    let runs = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&runs);
    mock.on("charge").when_raw(move |_| seen.fetch_add(1, Ordering::Relaxed) > 0).reply("paid");
    let payments = loopback(&mock);
    pay(&payments, 1).await.unwrap_err();
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    assert_eq!(pay(&payments, 1).await.unwrap(), "paid");
    dropped(mock);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_simultaneous_calls_get_each_answer_as_often_as_it_says() {
    let mock = Mock::service("payments");
    mock.on("charge")
        .when(|charge: &Charge| charge.cents < 50)
        .fail_times(20, Code::Unavailable)
        .reply("one")
        .reply("all")
        .forever()
        .expect(50);
    mock.on("charge").reply("large").expect(50);
    let payments = Arc::new(loopback(&mock));
    let calls: Vec<_> = (0..100)
        .map(|cents| {
            let payments = Arc::clone(&payments);
            tokio::spawn(async move { pay(&payments, cents).await })
        })
        .collect();
    let mut counts = BTreeMap::<String, usize>::new();
    for call in calls {
        let outcome = call.await.unwrap().unwrap_or_else(|error| error.code().to_string());
        *counts.entry(outcome).or_default() += 1;
    }
    let expected = [("all", 29), ("large", 50), ("one", 1), ("unavailable", 20)];
    assert_eq!(
        counts.into_iter().collect::<Vec<_>>(),
        expected.map(|(name, n)| (name.to_owned(), n))
    );
    assert_eq!(mock.received().len(), 100);
}
