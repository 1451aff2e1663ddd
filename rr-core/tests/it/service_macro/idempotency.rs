//! What a method declares reaches the request and the transport.

use std::collections::BTreeSet;
use std::sync::Arc;

use rr_core::transport::{Declared, Route, Routes};
use rr_core::{CallOptions, Idempotency, IdempotencyKey, Local, Router, dedup};

use super::shop::{Orders, OrdersClient, OrdersServer, Shop, book};
use super::support::{Recorder, ctx, rigs};

fn key_of(recorder: &Recorder) -> String {
    match recorder.latest().idempotency {
        Idempotency::Keyed(key) => key.as_str().to_owned(),
        other => panic!("{other:?} is no key"),
    }
}

#[test]
fn the_routes_declare_what_the_methods_declare_also_under_an_alias() {
    let routes = Routes::from(OrdersServer::new(Shop::default()));
    let declared: Vec<_> = routes.iter().collect();
    let target = |name: &str| Route::Target(format!("orders.v1.{name}"));
    assert_eq!(
        declared,
        [
            (target("List"), Declared::Unspecified),
            (target("count"), Declared::Unspecified),
            (target("fetch"), Declared::Safe),
            (target("find"), Declared::Safe),
            (target("get"), Declared::Safe),
            (target("move_to"), Declared::Idempotent),
            (target("place"), Declared::Keyed),
            (target("read"), Declared::Safe),
        ]
    );
    assert_eq!(routes.closed_services().collect::<Vec<_>>(), ["orders.v1"]);
}

#[tokio::test]
async fn each_call_of_a_keyed_method_has_a_fresh_key() {
    let recorder = Recorder::default();
    let router = || Router::new().with(recorder.clone()).merge(OrdersServer::new(Shop::default()));
    let mut keys = BTreeSet::new();
    let mut calls = 0;
    for rig in rigs("service-keys", router).await {
        let clients = [
            OrdersClient::new(Arc::clone(&rig.requester)),
            OrdersClient::new(Arc::clone(&rig.requester)),
        ];
        for client in clients.iter().chain([&clients[0].clone()]) {
            client.place(&ctx(), book(1)).await.unwrap();
            calls += 1;
            assert!(keys.insert(key_of(&recorder)), "{} repeats a key", rig.name);
        }
    }
    assert_eq!((keys.len(), recorder.count()), (calls, calls));
}

#[tokio::test]
async fn a_key_of_the_options_is_sent_as_it_is_and_only_where_a_key_helps() {
    let recorder = Recorder::default();
    let router = Router::new().with(recorder.clone()).merge(OrdersServer::new(Shop::default()));
    let key = IdempotencyKey::new("order-17").unwrap();
    let plain = OrdersClient::new(Local::new(router));
    let client = plain.with(CallOptions::new().keyed(key));
    client.place(&ctx(), book(1)).await.unwrap();
    assert_eq!(key_of(&recorder), "order-17");
    client.list(&ctx()).await.unwrap();
    assert_eq!(key_of(&recorder), "order-17");
    client.find(&ctx(), 1).await.unwrap();
    assert_eq!(recorder.latest().idempotency, Idempotency::Safe);
    client.move_to(&ctx(), 1, String::new()).await.unwrap();
    assert_eq!(recorder.latest().idempotency, Idempotency::Idempotent);
    plain.list(&ctx()).await.unwrap();
    assert_eq!(recorder.latest().idempotency, Idempotency::Unspecified);
}

#[tokio::test]
async fn a_repeated_key_runs_the_method_once_behind_duplicate_suppression() {
    let router = Router::new()
        .with(dedup::Deduplicate::new(dedup::MemoryStore::new(dedup::MemoryStoreConfig::default())))
        .merge(OrdersServer::new(Shop::default()));
    let client = OrdersClient::new(Local::new(router));
    let again = client.with(CallOptions::new().keyed(IdempotencyKey::new("k").unwrap()));
    let first = again.place(&ctx(), book(1)).await.unwrap();
    assert_eq!(again.place(&ctx(), book(1)).await.unwrap(), first);
    assert_eq!(client.count(&ctx()).await.unwrap(), 1);
    client.place(&ctx(), book(1)).await.unwrap();
    assert_eq!(client.count(&ctx()).await.unwrap(), 2);
}
