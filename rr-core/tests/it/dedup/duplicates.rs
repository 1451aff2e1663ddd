//! What duplicates are told, over the in-memory transport.

use rr_core::dedup::{Deduplicate, MemoryStore, MemoryStoreConfig};
use rr_core::transport::Dedup;
use rr_core::{
    Code, Context, Delivery, Error, Forward, Idempotency, Local, Middleware, Next, Reason, Request,
    Requester as _, Response, Router, async_trait,
    config::{IntakeConfig, Limits},
    context::Cause,
};
use rr_testkit::{MemoryFault, MemoryFaults};

use super::support::{Bench, Gate, Refuse, keyed, long, ms, served, served_with};

#[tokio::test(start_paused = true)]
async fn a_finished_run_is_replayed_with_its_headers_and_is_announced() {
    let bench = Bench::default();
    let client = served(bench.router().with(Deduplicate::in_process()));
    let first = client.call(keyed("count", "k", "b")).await.unwrap();
    assert_eq!((&*first.body, first.dedup()), (&b"1"[..], Some(Dedup::On)));
    let again = client.call(keyed("count", "k", "b")).await.unwrap();
    assert_eq!((&*again.body, again.dedup()), (&b"1"[..], Some(Dedup::Replayed)));
    assert_eq!((again.headers.get("x-run"), bench.runs()), (Some("1"), 1));
    let other = client.call(keyed("count", "other", "b")).await.unwrap();
    assert_eq!((&*other.body, other.dedup()), (&b"2"[..], Some(Dedup::On)));
}

#[tokio::test(start_paused = true)]
async fn the_handlers_own_error_is_replayed_as_processed() {
    let bench = Bench::default();
    let client = served(bench.router().with(Deduplicate::in_process()));
    for dedup in [Dedup::On, Dedup::Replayed] {
        let error = client.call(keyed("fail", "k", "")).await.unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::NotFound, Delivery::Processed));
        assert_eq!((error.message(), error.dedup()), ("run 1", Some(dedup)));
    }
    assert_eq!(bench.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_without_a_key_run_each_time_and_nothing_is_announced() {
    let bench = Bench::default();
    let client = served(bench.router().with(Deduplicate::in_process()));
    for run in 1..=2 {
        let request = keyed("count", "k", "").with_idempotency(Idempotency::Idempotent);
        let response = client.call(request).await.unwrap();
        assert_eq!((response.dedup(), bench.runs()), (None, run));
    }
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_waits_and_gets_the_same_answer() {
    let bench = Bench::default();
    let client = served(bench.router().with(Deduplicate::in_process()));
    let first = client.spawn(&long(), keyed("gated", "k", ""));
    bench.entered(1).await;
    let duplicates = [(); 3].map(|()| client.spawn(&long(), keyed("gated", "k", "")));
    client.in_flight(4).await;
    bench.open();
    assert_eq!(first.await.unwrap().unwrap().dedup(), Some(Dedup::On));
    for duplicate in duplicates {
        let answer = duplicate.await.unwrap().unwrap();
        assert_eq!((&*answer.body, answer.dedup()), (&b"1"[..], Some(Dedup::Replayed)));
    }
    assert_eq!(bench.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_waits_no_longer_than_its_own_deadline_and_then_says_unknown() {
    let bench = Bench::default();
    // By value and in one future: the context shows the outcome of the duplicate itself.
    let local = Local::new(bench.router().with(Deduplicate::in_process()));
    let calling = local.clone();
    let first =
        tokio::spawn(async move { calling.request(&long(), keyed("gated", "k", "")).await });
    bench.entered(1).await;
    let (ctx, _handle) = local.intake().context(rr_core::transport::Inbound::new(Some(ms(50))));
    let error = local.intake().handle(&ctx, keyed("gated", "k", "")).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::DeadlineExceeded, Delivery::Unknown));
    bench.open();
    first.await.unwrap().unwrap();
    assert_eq!(bench.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_that_goes_leaves_the_others_and_the_run_alone() {
    let bench = Bench::default();
    let client = served(bench.router().with(Deduplicate::in_process()));
    let first = client.spawn(&long(), keyed("gated", "k", ""));
    bench.entered(1).await;
    let (ctx, handle) = long().child();
    let gone = client.spawn(&ctx, keyed("gated", "k", ""));
    let stays = client.spawn(&long(), keyed("gated", "k", ""));
    client.in_flight(3).await;
    handle.cancel_with(Cause::Cancelled);
    let error = gone.await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Canceled, Delivery::Unknown));
    bench.open();
    assert_eq!(first.await.unwrap().unwrap().body, stays.await.unwrap().unwrap().body);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_cut_off_is_not_repeated_and_those_that_wait_hear_so_at_once() {
    let bench = Bench::default();
    let client = served(bench.router().with(Deduplicate::in_process()));
    let (ctx, handle) = long().child();
    let first = client.spawn(&ctx, keyed("gated", "k", ""));
    bench.entered(1).await;
    let duplicate = client.spawn(&long(), keyed("gated", "k", ""));
    client.in_flight(2).await;
    handle.cancel();
    assert_eq!(first.await.unwrap().unwrap_err().code(), Code::Canceled);
    let later = client.call(keyed("gated", "k", ""));
    for error in [duplicate.await.unwrap().unwrap_err(), later.await.unwrap_err()] {
        assert_eq!((error.code(), error.delivery()), (Code::Aborted, Delivery::Unknown));
        assert_eq!(error.reason(), Some(&Reason::OUTCOME_LOST));
        assert_eq!(error.dedup(), Some(Dedup::On));
    }
    assert_eq!(bench.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_panicked_is_not_repeated() {
    let bench = Bench::default();
    let client = served(bench.router().with(Deduplicate::in_process()));
    let error = client.call(keyed("panic", "k", "")).await.unwrap_err();
    assert_eq!((error.reason(), error.delivery()), (Some(&Reason::PANIC), Delivery::Processed));
    let error = client.call(keyed("panic", "k", "")).await.unwrap_err();
    assert_eq!(error.reason(), Some(&Reason::OUTCOME_LOST));
    assert_eq!(bench.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_before_the_handler_is_not_kept() {
    let bench = Bench::default();
    // An error that does not say itself that nothing ran: it is the mark that counts.
    let gate = Refuse::by(Error::new(Code::PermissionDenied, "not you"));
    let router = bench.router().with(Deduplicate::in_process()).with(gate.clone());
    let client = served(router);
    let error = client.call(keyed("count", "k", "")).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::PermissionDenied, Delivery::Rejected));
    assert_eq!(error.dedup(), Some(Dedup::On));
    gate.let_pass();
    assert_eq!(client.call(keyed("count", "k", "")).await.unwrap().body, "1");
}

/// Says that nothing ran, when it did.
struct Denies;

#[async_trait]
impl Middleware for Denies {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        let _ = next.run(ctx, request).await;
        Err(Error::failure(Code::Unavailable, Delivery::Rejected, None, "nothing ran"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_denied_further_in_is_told_to_every_duplicate_as_processed() {
    let bench = Bench::default();
    let client = served(bench.router().with(Deduplicate::in_process()).with(Denies));
    let first = client.spawn(&long(), keyed("gated", "k", ""));
    bench.entered(1).await;
    let duplicate = client.spawn(&long(), keyed("gated", "k", ""));
    client.in_flight(2).await;
    bench.open();
    let (first, duplicate) = (first.await.unwrap(), duplicate.await.unwrap());
    for outcome in [first, duplicate, client.call(keyed("gated", "k", "")).await] {
        assert_eq!(outcome.unwrap_err().delivery(), Delivery::Processed);
    }
    assert_eq!(bench.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_errors_that_the_server_itself_makes_say_that_duplicates_are_suppressed() {
    let bench = Bench::default();
    let config = IntakeConfig::default().with_timeout_max(ms(50));
    let client = served_with(bench.router().with(Deduplicate::in_process()), config);
    let panicked = client.call(keyed("panic", "k", "")).await.unwrap_err();
    let expired = client.call(keyed("hang", "l", "")).await.unwrap_err();
    let codes = [&panicked, &expired].map(Error::code);
    assert_eq!(codes, [Code::Internal, Code::DeadlineExceeded]);
    for error in [panicked, expired] {
        assert_eq!((error.delivery(), error.dedup()), (Delivery::Processed, Some(Dedup::On)));
    }
    let plain = keyed("panic", "k", "").with_idempotency(Idempotency::Idempotent);
    assert_eq!(client.call(plain).await.unwrap_err().dedup(), None);
}

#[cfg(feature = "json")]
#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_decoded_is_not_kept() {
    let double = |n: u32| async move { Ok::<_, Error>(n * 2) };
    let router = Router::new().route("double", double).with(Deduplicate::in_process());
    let client = served(router);
    for _ in 0..2 {
        let error = client.call(keyed("double", "k", "x")).await.unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::Rejected));
        assert_eq!((error.reason(), error.dedup()), (Some(&Reason::DECODE), Some(Dedup::On)));
    }
    let answers = [Dedup::On, Dedup::Replayed].map(|dedup| ("4", dedup));
    for (body, dedup) in answers {
        let answer = client.call(keyed("double", "other", "2")).await.unwrap();
        assert_eq!((&*answer.body, answer.dedup()), (body.as_bytes(), Some(dedup)));
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_first_goes_before_the_handler_a_duplicate_runs_in_its_place() {
    let bench = Bench::default();
    let gate = Gate::default();
    let router = bench.router().with(Deduplicate::in_process()).with(gate.clone());
    let client = served(router);
    let (ctx, handle) = long().child();
    let first = client.spawn(&ctx, keyed("count", "k", ""));
    client.in_flight(1).await;
    let duplicates = [(); 2].map(|()| client.spawn(&long(), keyed("count", "k", "")));
    client.in_flight(3).await;
    handle.cancel();
    first.await.unwrap().unwrap_err();
    gate.open();
    let [one, other] = duplicates;
    let (one, other) = (one.await.unwrap().unwrap(), other.await.unwrap().unwrap());
    assert_eq!((&*one.body, one.dedup()), (&b"1"[..], Some(Dedup::On)));
    assert_eq!((&*other.body, other.dedup()), (&b"1"[..], Some(Dedup::Replayed)));
    assert_eq!(bench.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_that_takes_over_and_is_refused_too_says_so() {
    let bench = Bench::default();
    let (gate, text) = (Gate::default(), "not now");
    let refused = Error::failure(Code::Unavailable, Delivery::Rejected, None, text);
    let router = bench.router().with(Deduplicate::in_process());
    let client = served(router.with(gate.clone()).with(Refuse::by(refused)));
    let calls = [(); 3].map(|()| client.spawn(&long(), keyed("count", "k", "")));
    client.in_flight(3).await;
    gate.open();
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::Rejected));
    }
    assert_eq!(bench.runs(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_bridge_does_not_know_is_lost_and_what_never_left_it_is_free() {
    let bench = Bench::default();
    let back = served(bench.router());
    let bridge = Router::new().fallback(Forward(back.requester.clone()));
    let front = served(bridge.with(Deduplicate::in_process()));
    let faults = [MemoryFault::FailBefore, MemoryFault::FailAfter].map(Some);
    back.requester.link().set_faults(MemoryFaults::script(faults));
    for (code, delivery, runs) in [
        (Code::Unavailable, Delivery::Rejected, 0),
        (Code::Unavailable, Delivery::Unknown, 1),
        (Code::Aborted, Delivery::Unknown, 1),
    ] {
        let error = front.call(keyed("count", "k", "")).await.unwrap_err();
        assert_eq!((error.code(), error.delivery(), bench.runs()), (code, delivery, runs));
        assert_eq!(error.dedup(), Some(Dedup::On));
    }
    assert_eq!(front.call(keyed("count", "other", "")).await.unwrap().body, "2");
}

#[tokio::test(start_paused = true)]
async fn duplicates_that_take_over_and_go_too_leave_the_key_free() {
    let bench = Bench::default();
    let gate = Gate::default();
    let router = bench.router().with(Deduplicate::in_process()).with(gate.clone());
    let client = served(router);
    for _ in 0..2 {
        let ctx = Context::background().with_timeout(ms(20));
        let first = client.spawn(&ctx, keyed("count", "k", ""));
        client.in_flight(1).await;
        let later = ctx.with_timeout(ms(40));
        let duplicate = client.spawn(&later, keyed("count", "k", ""));
        client.in_flight(2).await;
        first.await.unwrap().unwrap_err();
        duplicate.await.unwrap().unwrap_err();
        client.in_flight(0).await;
    }
    gate.open();
    assert_eq!(client.call(keyed("count", "k", "")).await.unwrap().body, "1");
}

#[tokio::test(start_paused = true)]
async fn a_key_with_another_body_or_target_is_refused_whether_the_first_runs_or_has_ended() {
    let bench = Bench::default();
    let client = served(bench.router().with(Deduplicate::in_process()));
    let first = client.spawn(&long(), keyed("gated", "k", "body"));
    bench.entered(1).await;
    for round in 0..2 {
        for other in [keyed("gated", "k", "other"), keyed("count", "k", "body")] {
            let error = client.call(other).await.unwrap_err();
            assert_eq!(error.reason(), Some(&Reason::IDEMPOTENCY_KEY_REUSE), "{round}");
            let told = (error.code(), error.delivery(), error.dedup());
            assert_eq!(told, (Code::InvalidArgument, Delivery::Rejected, Some(Dedup::On)));
        }
        bench.open();
        client.in_flight(0).await;
    }
    first.await.unwrap().unwrap();
    assert_eq!(bench.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn callers_of_different_scopes_have_keys_of_their_own() {
    let bench = Bench::default();
    let dedup = Deduplicate::in_process()
        .with_scope(|_, request| request.headers.get("x-user").map(str::to_owned));
    let client = served(bench.router().with(dedup));
    let of = |user: &'static str| {
        let mut request = keyed("count", "k", "");
        request.headers.insert("x-user", user).unwrap();
        request
    };
    assert_eq!(client.call(of("ann")).await.unwrap().body, "1");
    assert_eq!(client.call(of("bob")).await.unwrap().body, "2");
    assert_eq!(client.call(of("ann")).await.unwrap().body, "1");
    assert_eq!(client.call(keyed("count", "k", "")).await.unwrap().body, "3");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_kept_is_lost_and_a_store_without_room_refuses() {
    let bench = Bench::default();
    let config = MemoryStoreConfig::default().with_bytes_max(0);
    let client = served(bench.router().with(Deduplicate::new(MemoryStore::new(config))));
    client.call(keyed("count", "k", "")).await.unwrap();
    let error = client.call(keyed("count", "k", "")).await.unwrap_err();
    assert_eq!(error.reason(), Some(&Reason::OUTCOME_LOST));
    let config = MemoryStoreConfig::default().with_entries_max(0);
    let client = served(bench.router().with(Deduplicate::new(MemoryStore::new(config))));
    let error = client.call(keyed("count", "k", "")).await.unwrap_err();
    let told = (error.code(), error.delivery(), error.reason());
    let overloaded = Some(&Reason::OVERLOADED);
    assert_eq!(told, (Code::ResourceExhausted, Delivery::Rejected, overloaded));
    assert_eq!(bench.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_received_says_nothing_of_its_own_duplicates() {
    let bench = Bench::default();
    let back = served(bench.router().with(Deduplicate::in_process()));
    let onward = back.requester.clone();
    let proxy = move |ctx: Context, request: Request| {
        let onward = onward.clone();
        async move { onward.request(&ctx, request).await }
    };
    let router = Router::new().route("count", proxy.clone()).route("fail", proxy);
    let front = served(router.fallback(Forward(back.requester.clone())));
    assert_eq!(front.call(keyed("count", "k", "")).await.unwrap().dedup(), None);
    assert_eq!(front.call(keyed("fail", "l", "")).await.unwrap_err().dedup(), None);
    // A bridge passes on what the destination says, as it passes on the key.
    let other = front.call(keyed("count.other", "m", "")).await.unwrap();
    assert_eq!(other.dedup(), Some(Dedup::On));
}

#[tokio::test(start_paused = true)]
async fn an_answer_over_the_limit_still_says_that_duplicates_are_suppressed() {
    let bench = Bench::default();
    let limits = Limits::default().with_response_bytes_max(0);
    let router = bench.router().with(Deduplicate::in_process());
    let client = served_with(router, IntakeConfig::default().with_limits(limits));
    let error = client.call(keyed("count", "k", "")).await.unwrap_err();
    assert_eq!(error.reason(), Some(&Reason::RESPONSE_TOO_LARGE));
    assert_eq!((error.delivery(), error.dedup()), (Delivery::Processed, Some(Dedup::On)));
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_duplicates_and_for_the_run_that_they_wait_on() {
    let bench = Bench::default();
    let client = served(bench.router().with(Deduplicate::in_process()));
    let first = client.spawn(&long(), keyed("gated", "k", ""));
    bench.entered(1).await;
    let duplicate = client.spawn(&long(), keyed("gated", "k", ""));
    client.in_flight(2).await;
    let (report, ()) = tokio::join!(client.server.shutdown(ms(500)), async { bench.open() });
    assert_eq!((report.completed, report.aborted), (2, 0));
    let (first, duplicate) = (first.await.unwrap().unwrap(), duplicate.await.unwrap().unwrap());
    assert_eq!(first.body, duplicate.body);
}
