//! Handlers that compute for long, beside others on the same subscription.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::{Arc, Condvar, Mutex};

use crate::support::*;
use rr_nats::{NatsServerConfig, serve_with};
use rr_spi::{Declared, Requester as _, Response, Route, Routes};
use tokio::task::JoinSet;

/// A door that a handler waits at without yielding, as code does that computes for long.
#[derive(Clone, Default)]
struct Door(Arc<(Mutex<bool>, Condvar)>);

impl Door {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn block(&self) {
        // The thread's other tasks go on elsewhere: that of the connection is one of them.
        tokio::task::block_in_place(|| {
            let open = self.0.0.lock().unwrap();
            drop(self.0.1.wait_while(open, |open| !*open).unwrap());
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn handlers_that_compute_delay_a_light_one_once_and_not_each_time() {
    let nats = nats().await;
    let (doors, entered) = ([Door::default(), Door::default()], Count::new());
    let (inside, at) = (entered.clone(), doors.clone());
    let handler = Do(move |_, request: rr_spi::Request| {
        if request.target.method() == "heavy" {
            inside.up();
            at[usize::from(&*request.body == b"later")].block();
        }
        async { Ok(Response::new("")) }
    });
    let mut routes = Routes::new();
    let service = Route::Service("svc".to_owned());
    routes.insert(service, Declared::Unspecified, Arc::new(handler)).unwrap();
    let _server = serve_with(&nats.url(), routes, NatsServerConfig::default()).await.unwrap();
    let client = client(&nats.url()).await;
    let mut calls = JoinSet::new();
    let mut heavy = |body: &'static str| {
        let client = client.clone();
        calls.spawn(async move {
            client.request(&within(30_000), request("svc.heavy", body)).await.unwrap();
        });
    };
    heavy("first");
    entered.reaches(1).await;
    // Longer than a poll that counts as a short one.
    within(50).cancelled().await;
    doors[0].open();
    for _ in 0..7 {
        heavy("later");
    }
    // In one loop, the first of them would keep the others and the light one out.
    entered.reaches(1 + 4).await;
    call(&client, &within(5000), "svc.light").await.unwrap();
    doors[1].open();
    while let Some(outcome) = calls.join_next().await {
        outcome.unwrap();
    }
}
