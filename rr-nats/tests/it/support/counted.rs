//! Calls that are counted where they run, so that what callers are told can be checked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rr_nats::NatsRequester;
use rr_spi::{Delivery, Requester as _, Response, Routes};
use tokio::task::JoinSet;

use super::{request, route, within};

/// Runs of each call, by the number in its body.
#[derive(Clone, Default)]
pub struct Counted(Arc<Mutex<HashMap<String, u32>>>);

/// What a caller was told of one call.
type Told = (String, Result<(), Delivery>);

/// How many calls ended in which way.
#[derive(Debug, Default)]
pub struct Tally {
    pub answered: u32,
    pub unknown: u32,
    pub unexecuted: u32,
}

impl Counted {
    /// Routes `svc.count`, which counts and answers.
    pub fn routes(&self) -> Routes {
        let counted = self.0.clone();
        route("svc.count", move |_, request| {
            let call = String::from_utf8(request.body[..8].to_vec()).unwrap();
            *counted.lock().unwrap().entry(call).or_default() += 1;
            async move { Ok(Response::new(request.body)) }
        })
    }

    /// Starts 16 workers of so many calls each; one call in eight is long.
    pub fn drive(&self, client: &NatsRequester, calls: u32) -> JoinSet<Vec<Told>> {
        let mut workers = JoinSet::new();
        for worker in 0..16 {
            let client = client.clone();
            workers.spawn(async move {
                let mut outcomes = Vec::new();
                for call in 0..calls {
                    outcomes.push(one(&client, worker, call).await);
                }
                outcomes
            });
        }
        workers
    }

    /// Returns how many calls have run so far.
    pub fn ran(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Checks what was told against what ran.
    pub fn check(&self, outcomes: Vec<Vec<Told>>) -> Tally {
        let runs = self.0.lock().unwrap();
        let mut tally = Tally::default();
        for (call, outcome) in outcomes.into_iter().flatten() {
            let ran = runs.get(&call).copied().unwrap_or(0);
            assert!(ran <= 1, "{call} ran {ran} times");
            match outcome {
                Ok(()) | Err(Delivery::Processed) => assert_eq!(ran, 1, "{call} did not run"),
                Err(Delivery::NotSent | Delivery::Rejected) => assert_eq!(ran, 0, "{call}: a lie"),
                Err(_) => {}
            }
            match outcome {
                Ok(()) => tally.answered += 1,
                Err(Delivery::Unknown) => tally.unknown += 1,
                Err(_) => tally.unexecuted += 1,
            }
        }
        println!("{tally:?}");
        tally
    }
}

async fn one(client: &NatsRequester, worker: u32, call: u32) -> Told {
    let mut body = format!("{worker:03}-{call:04}").into_bytes();
    if call.is_multiple_of(8) {
        body.resize(100_000, b'x');
    }
    let key = String::from_utf8(body[..8].to_vec()).unwrap();
    let outcome = client.request(&within(20_000), request("svc.count", body)).await;
    let outcome = outcome.map(drop).map_err(|error| error.delivery());
    if outcome == Err(Delivery::NotSent) {
        let _ = client.ready(&within(20_000)).await;
    }
    (key, outcome)
}
