//! A request to several endpoints of a balance, in virtual time.

use std::collections::BTreeMap;
use std::sync::Arc;

use rr_core::balance::{Balance, BalanceConfig};
use rr_core::many::{ManyConfig, ManyEnd, Replies, request_many};
use rr_core::{Code, Delivery, Error, Reason, Response};
use tokio::time::Instant;

use super::support::*;
use crate::balance::support::{Does, Host, balance, draining, refused};

/// Reads all replies, by the name of their endpoint.
async fn by_endpoint(replies: &mut Replies<'_>) -> BTreeMap<String, Result<Response, Error>> {
    let mut items = BTreeMap::new();
    while let Some(item) = replies.next().await {
        let endpoint = replies.endpoint().unwrap().to_owned();
        assert!(items.insert(endpoint, item).is_none(), "each endpoint answers once");
    }
    items
}

fn over(hosts: &[Arc<Host>]) -> Balance {
    balance(hosts, BalanceConfig::default())
}

fn calls(hosts: &[Arc<Host>]) -> Vec<usize> {
    hosts.iter().map(|host| host.calls()).collect()
}

fn answering(millis: u64) -> Arc<Host> {
    Host::new(Does::Answers(ms(millis)))
}

fn in_flight(balance: &Balance) -> usize {
    balance.endpoints().iter().map(|one| one.in_flight).sum()
}

#[tokio::test(start_paused = true)]
async fn all_endpoints_are_asked_at_the_same_time() {
    let hosts: Vec<_> = [30, 10, 20].map(answering).into();
    let (balance, ctx, begin) = (over(&hosts), within(1000), Instant::now());
    let mut replies = request_many(&balance, &ctx, request(), ManyConfig::default());
    let mut order = Vec::new();
    while let Some(reply) = replies.next().await {
        assert_eq!(reply.unwrap().body, "done");
        order.push(replies.endpoint().unwrap().to_owned());
    }
    assert_eq!(order, ["1", "2", "0"]);
    assert_eq!((replies.end(), replies.count()), (Some(ManyEnd::AllAnswered), 3));
    assert_eq!((begin.elapsed(), in_flight(&balance)), (ms(30), 0));
}

#[tokio::test(start_paused = true)]
async fn the_error_of_a_dead_endpoint_and_of_a_slow_one_are_items() {
    let hosts = [Host::fast(), Host::failing(refused()), Host::new(Does::Hangs)];
    let (balance, ctx) = (over(&hosts), within(1000));
    let mut replies = request_many(&balance, &ctx, request(), ManyConfig::default());
    let items = by_endpoint(&mut replies).await;
    assert_eq!(replies.end(), Some(ManyEnd::AllAnswered));
    assert!(items["0"].is_ok());
    let dead = items["1"].as_ref().unwrap_err();
    // The other endpoints may have run the request. The record has the delivery at this one.
    assert_eq!((dead.code(), dead.delivery()), (Code::Unavailable, Delivery::Unknown));
    let [record] = dead.attempts() else { panic!("one record: {dead:?}") };
    assert_eq!((record.delivery, record.endpoint.as_deref()), (Delivery::NotSent, Some("1")));
    let slow = items["2"].as_ref().unwrap_err();
    assert_eq!((slow.code(), slow.delivery()), (Code::DeadlineExceeded, Delivery::Unknown));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hangs_holds_up_no_collection_with_a_stall() {
    let hosts = [Host::fast(), Host::new(Does::Hangs), Host::fast()];
    let (balance, ctx, begin) = (over(&hosts), within(1000), Instant::now());
    let config = ManyConfig::default().with_stall(ms(50));
    let mut replies = request_many(&balance, &ctx, request(), config);
    assert_eq!(by_endpoint(&mut replies).await.len(), 2);
    assert_eq!((replies.end(), begin.elapsed()), (Some(ManyEnd::Stalled), ms(55)));
    assert_eq!(in_flight(&balance), 0);
}

#[tokio::test(start_paused = true)]
async fn the_first_replies_ask_no_more_endpoints_than_needed() {
    let hosts: Vec<_> = (0..5).map(|_| Host::fast()).collect();
    let (balance, ctx) = (over(&hosts), within(1000));
    let config = ManyConfig::default().with_replies_max(2);
    let mut replies = request_many(&balance, &ctx, request(), config);
    assert_eq!(by_endpoint(&mut replies).await.len(), 2);
    assert_eq!(replies.end(), Some(ManyEnd::Count));
    assert_eq!(calls(&hosts).iter().sum::<usize>(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_is_replaced_by_another_until_there_are_enough_replies() {
    let hosts = [
        Host::failing(draining()),
        Host::failing(refused()),
        Host::failing(Error::new(Code::Internal, "broken")),
        Host::fast(),
        Host::fast(),
    ];
    let (balance, ctx) = (over(&hosts), within(1000));
    let config = ManyConfig::default().with_replies_max(2);
    for _ in 0..20 {
        let mut replies = request_many(&balance, &ctx, request(), config);
        let items = by_endpoint(&mut replies).await;
        assert_eq!((replies.count(), replies.end()), (2, Some(ManyEnd::Count)));
        for error in items.values().filter_map(|item| item.as_ref().err()) {
            assert!(!error.delivery().is_unexecuted(), "{error:?}");
        }
    }
    // Those that failed are preferred no longer.
    assert!(calls(&hosts)[0] < 20, "{:?}", calls(&hosts));
}

#[tokio::test(start_paused = true)]
async fn too_few_replies_end_when_every_endpoint_was_asked_once() {
    let hosts = [Host::failing(refused()), Host::fast(), Host::failing(refused())];
    let (balance, ctx) = (over(&hosts), within(1000));
    let config = ManyConfig::default().with_replies_max(2);
    let mut replies = request_many(&balance, &ctx, request(), config);
    assert_eq!(by_endpoint(&mut replies).await.len(), 3);
    assert_eq!((replies.end(), replies.count()), (Some(ManyEnd::AllAnswered), 1));
    assert_eq!(calls(&hosts), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn no_more_endpoints_are_asked_simultaneously_than_allowed() {
    let hosts: Vec<_> = (0..7).map(|_| answering(10)).collect();
    let (balance, ctx, begin) = (over(&hosts), within(1000), Instant::now());
    let config = ManyConfig::default().with_parallel_max(3);
    let mut replies = request_many(&balance, &ctx, request(), config);
    let mut most = 0;
    while let Some(reply) = replies.next().await {
        reply.unwrap();
        most = most.max(in_flight(&balance));
    }
    assert_eq!((replies.count(), begin.elapsed()), (7, ms(30)));
    assert!(most <= 3, "{most}");
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_the_deadline_left_unasked_are_a_deadline() {
    let hosts: Vec<_> = (0..3).map(|_| Host::new(Does::Hangs)).collect();
    let (balance, ctx) = (over(&hosts), within(50));
    let config = ManyConfig::default().with_parallel_max(1);
    let mut replies = request_many(&balance, &ctx, request(), config);
    let items = by_endpoint(&mut replies).await;
    assert_eq!((items.len(), replies.end()), (1, Some(ManyEnd::Deadline)));
    assert_eq!(calls(&hosts).iter().sum::<usize>(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_balance_over_no_endpoints_says_that_nothing_was_sent() {
    let (balance, ctx) = (over(&[Host::fast()]), within(1000));
    balance.set([]).unwrap();
    let mut replies = request_many(&balance, &ctx, request(), ManyConfig::default());
    let error = replies.next().await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::NotSent));
    assert_eq!(error.reason(), Some(&Reason::NO_RESPONDER));
    assert_eq!(replies.end(), Some(ManyEnd::Failed));
}

#[tokio::test(start_paused = true)]
async fn a_sole_endpoint_states_its_own_delivery() {
    let (balance, ctx) = (over(&[Host::failing(refused())]), within(1000));
    let mut replies = request_many(&balance, &ctx, request(), ManyConfig::default());
    let error = replies.next().await.unwrap().unwrap_err();
    assert_eq!((error.delivery(), replies.endpoint()), (Delivery::NotSent, Some("0")));
    assert!(replies.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn dropped_replies_drop_the_calls_of_all_endpoints() {
    let hosts = [Host::fast(), Host::new(Does::Hangs), Host::new(Does::Hangs)];
    let (balance, ctx) = (over(&hosts), within(1000));
    let mut replies = request_many(&balance, &ctx, request(), ManyConfig::default());
    replies.next().await.unwrap().unwrap();
    assert_eq!(in_flight(&balance), 2);
    drop(replies);
    assert_eq!(in_flight(&balance), 0);
}

#[tokio::test(start_paused = true)]
async fn outcomes_count_towards_the_ejection_and_end_it() {
    let hosts = [Host::fast(), Host::failing(refused())];
    let (balance, ctx) = (over(&hosts), within(60_000));
    let is_ejected = || balance.endpoints()[1].ejected_for.is_some();
    let ask = async || {
        let mut replies = request_many(&balance, &ctx, request(), ManyConfig::default());
        by_endpoint(&mut replies).await
    };
    for _ in 0..5 {
        assert!(!is_ejected());
        ask().await;
    }
    assert!(is_ejected());
    // All means all: an ejected endpoint is asked too, last.
    assert_eq!(ask().await.len(), 2);
    hosts[1].now_does(Does::Answers(ms(1)));
    tokio::time::sleep(ms(30_000)).await;
    assert!(ask().await["1"].is_ok());
    assert!(!is_ejected());
}
