//! Which calls move to another endpoint, and the error of a call that found none.

use std::sync::Arc;

use rr_core::balance::{Balance, BalanceConfig, Endpoint};
use rr_core::retry::{Retry, RetryBudget, RetryBudgetConfig, RetryDecision};
use rr_core::{Code, Context, Delivery, Error, Reason, Requester, Stack};
use tokio::time::Instant;

use super::support::{
    Does, Host, balance, draining, full, ms, refused, request, unavailable, within,
};

fn calls(hosts: &[Arc<Host>]) -> usize {
    hosts.iter().map(|host| host.calls()).sum()
}

async fn failure_of(hosts: &[Arc<Host>], config: BalanceConfig) -> Error {
    balance(hosts, config).request(&within(1000), request()).await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_call_that_did_not_run_moves_until_an_endpoint_answers() {
    for error in [refused(), draining(), full()] {
        let hosts = [Host::failing(error.clone()), Host::failing(error), Host::fast()];
        let balance = balance(&hosts, BalanceConfig::default());
        for _ in 0..20 {
            balance.request(&within(1000), request()).await.unwrap();
        }
        assert_eq!(hosts[2].calls(), 20);
        // After the first refusal, the others are avoided.
        assert!(hosts[0].calls() + hosts[1].calls() <= 2, "{:?}", balance.endpoints());
    }
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_is_tried_once_and_the_error_lists_them_with_the_worst_delivery() {
    let hosts = [Host::failing(refused()), Host::failing(draining()), Host::failing(refused())];
    let error = failure_of(&hosts, BalanceConfig::default()).await;
    assert_eq!(hosts.each_ref().map(|host| host.calls()), [1, 1, 1]);
    assert_eq!(error.delivery(), Delivery::Rejected, "one of them was reached");
    let mut names: Vec<_> =
        error.attempts().iter().filter_map(|attempt| attempt.endpoint.as_deref()).collect();
    names.sort_unstable();
    assert_eq!(names, ["0", "1", "2"]);
    let decisions: Vec<_> = error.attempts().iter().filter_map(|one| one.decision).collect();
    let expected = [RetryDecision::Moved, RetryDecision::Moved, RetryDecision::AttemptsSpent];
    assert_eq!(decisions, expected);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_may_have_run_does_not_move() {
    let lost = unavailable(Delivery::Unknown, Reason::CONNECTION_LOST);
    let other = Error::failure(Code::Internal, Delivery::NotSent, None, "no");
    for error in [lost, Error::new(Code::Unavailable, "handled"), other] {
        let hosts = [1, 2, 3].map(|_| Host::failing(error.clone()));
        let outcome = failure_of(&hosts, BalanceConfig::default()).await;
        assert_eq!(calls(&hosts), 1, "{error}");
        assert_eq!(outcome.delivery(), error.delivery());
        assert!(outcome.attempts().is_empty());
    }
    // Moved once, and then it may have run.
    let hosts = [Host::failing(refused()), Host::fast()];
    let balance = balance(&hosts, BalanceConfig::default());
    let lost = unavailable(Delivery::Unknown, Reason::CONNECTION_LOST);
    hosts[1].now_does(Does::Fails(lost));
    loop {
        let error = balance.request(&within(1000), request()).await.unwrap_err();
        assert_eq!(error.delivery(), Delivery::Unknown);
        if error.attempts().len() == 2 {
            assert_eq!(error.attempts()[1].decision, Some(RetryDecision::Final));
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn moves_end_with_the_deadline_and_share_it() {
    let late = Error::failure(Code::DeadlineExceeded, Delivery::NotSent, None, "inner timeout");
    let hosts = [1, 2, 3, 4].map(|_| Host::new(Does::FailsLate(ms(400), late.clone())));
    let begin = Instant::now();
    let error = failure_of(&hosts, BalanceConfig::default()).await;
    assert_eq!(begin.elapsed(), ms(1000));
    assert_eq!(calls(&hosts), 3);
    assert_eq!(error.attempts().len(), 3);
    assert_eq!(error.attempts()[2].decision, Some(RetryDecision::CallEnded));
    // Without a deadline, the timeout of the balance holds for all endpoints together.
    let (begin, hosts) = (Instant::now(), [1, 2].map(|_| Host::new(Does::Swallows)));
    let balance = balance(&hosts, BalanceConfig::default().with_timeout(ms(300)));
    let error = balance.request(&Context::background(), request()).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::DeadlineExceeded, Delivery::NotSent));
    assert_eq!((begin.elapsed(), calls(&hosts)), (ms(300), 1));
}

#[tokio::test(start_paused = true)]
async fn a_budget_bounds_the_moves_and_may_be_shared_with_a_retry_layer() {
    let none = RetryBudgetConfig::default().with_percent(0).with_floor_per_second(0);
    let hosts = [1, 2].map(|_| Host::failing(refused()));
    let error = failure_of(&hosts, BalanceConfig::default().with_budget(none.clone())).await;
    assert_eq!(calls(&hosts), 1);
    assert_eq!(error.attempts()[0].decision, Some(RetryDecision::BudgetSpent));

    let budget = RetryBudget::with_config(&none.with_percent(100));
    let hosts = [1, 2, 3].map(|_| Host::failing(refused()));
    let shared = balance(&hosts, BalanceConfig::default()).with_budget(budget.clone());
    let client = Stack::new(shared).with(Retry::new().with_budget(budget));
    let error = client.request(&within(1000), request()).await.unwrap_err();
    assert_eq!(calls(&hosts), 2, "one call pays for one move: {}", error.report());
    assert_eq!(error.delivery(), Delivery::NotSent);
}

#[tokio::test(start_paused = true)]
async fn a_retry_layer_around_a_balance_sends_a_single_refusal_again_at_once() {
    let host = Host::failing(refused());
    let sole = Balance::new([Endpoint::new("only", Arc::clone(&host))]).unwrap();
    let client = Stack::new(sole).with(Retry::new());
    let error = client.request(&within(10), request()).await.unwrap_err();
    assert_eq!(error.attempts()[0].decision, Some(RetryDecision::Resend));
}

#[tokio::test(start_paused = true)]
async fn an_ended_context_starts_nothing_and_a_dropped_call_leaves_nothing_behind() {
    let hosts = [1, 2].map(|_| Host::new(Does::Hangs));
    let balance = balance(&hosts, BalanceConfig::default());
    let (ctx, handle) = Context::background().child();
    handle.cancel();
    let error = balance.request(&ctx, request()).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Canceled, Delivery::NotSent));
    assert_eq!(calls(&hosts), 0);

    let ctx = within(60_000);
    let call = balance.request(&ctx, request());
    assert!(tokio::time::timeout(ms(100), call).await.is_err());
    assert_eq!(calls(&hosts), 1);
    let in_flight: usize = balance.endpoints().iter().map(|one| one.in_flight).sum();
    assert_eq!(in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn bad_sets_of_endpoints_are_refused_with_a_hint() {
    let host = || Host::fast();
    let none = Balance::new([]).unwrap_err();
    let twice = Balance::new([Endpoint::new("a", host()), Endpoint::new("a", host())]).unwrap_err();
    let many = (0..1025).map(|at| Endpoint::new(at.to_string(), host()));
    for error in [none, twice, Balance::new(many).unwrap_err()] {
        assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::NotSent));
        assert!(!error.hint().is_empty());
    }
    let balance = balance(&[host(), host()], BalanceConfig::default());
    assert!(balance.set([Endpoint::new("a", host()), Endpoint::new("a", host())]).is_err());
    balance.request(&within(1000), request()).await.unwrap();
    balance.set([]).unwrap();
    let error = balance.request(&within(1000), request()).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::NotSent));
    assert_eq!(error.reason(), Some(&Reason::NO_RESPONDER));
    assert!(error.hint().contains("set at least one"));
}

#[tokio::test(start_paused = true)]
async fn endpoints_are_replaced_while_calls_run() {
    let (old, new) = (Host::new(Does::Answers(ms(500))), Host::fast());
    let balance = Arc::new(Balance::new([Endpoint::new("old", Arc::clone(&old))]).unwrap());
    let running = tokio::spawn({
        let balance = Arc::clone(&balance);
        async move { balance.request(&within(1000), request()).await }
    });
    tokio::time::sleep(ms(100)).await;
    balance.set([Endpoint::new("new", Arc::clone(&new))]).unwrap();
    balance.request(&within(1000), request()).await.unwrap();
    running.await.unwrap().unwrap();
    assert_eq!((old.calls(), new.calls()), (1, 1));
    let names: Vec<_> = balance.endpoints().into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["new".into()]);
}
