//! Stores that take their time, fail, or know of other processes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rr_core::dedup::{
    Claim, Deduplicate, Fingerprint, MemoryStore, MemoryStoreConfig, ScopedKey, Settlement, Store,
    Ticket,
};
use rr_core::transport::{Dedup, Inbound};
use rr_core::{Code, Context, Delivery, Error, Local, Reason, Requester as _, async_trait};

use super::support::{Bench, Gate, keyed, long, ms, served};

/// A store of several processes: what is claimed through one is known to all, after a while.
#[derive(Clone)]
struct Shared {
    inner: Arc<MemoryStore>,
    claims: Gate,
    settles: Gate,
    settled: Arc<Mutex<HashMap<String, Settlement>>>,
}

impl Default for Shared {
    fn default() -> Self {
        let inner = Arc::new(MemoryStore::new(MemoryStoreConfig::default()));
        let (claims, settles) = (Gate::default(), Gate::default());
        Self { inner, claims, settles, settled: Arc::default() }
    }
}

impl Shared {
    /// One that takes no longer than it must to be asynchronous.
    fn quick() -> Self {
        let shared = Self::default();
        shared.claims.open();
        shared.settles.open();
        shared
    }

    fn settled(&self, key: &str) -> Option<Settlement> {
        self.settled.lock().unwrap().get(key).cloned()
    }

    async fn until_settled(&self, key: &str) -> Settlement {
        loop {
            if let Some(settlement) = self.settled(key) {
                return settlement;
            }
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl Store for Shared {
    async fn claim(&self, key: &ScopedKey, fingerprint: Fingerprint) -> Result<Claim, Error> {
        tokio::task::yield_now().await;
        self.claims.opened().await;
        self.inner.claim(key, fingerprint).await
    }

    async fn settle(
        &self,
        key: &ScopedKey,
        ticket: Ticket,
        settlement: Settlement,
    ) -> Result<(), Error> {
        tokio::task::yield_now().await;
        self.settles.opened().await;
        self.settled.lock().unwrap().insert(key.key.as_str().to_owned(), settlement.clone());
        self.inner.settle(key, ticket, settlement).await
    }
}

struct Broken;

#[async_trait]
impl Store for Broken {
    async fn claim(&self, _: &ScopedKey, _: Fingerprint) -> Result<Claim, Error> {
        Err(Error::failure(Code::Unavailable, Delivery::NotSent, None, "secret-host is down"))
    }

    async fn settle(&self, _: &ScopedKey, _: Ticket, _: Settlement) -> Result<(), Error> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_tell_refuses_and_claims_nothing_of_the_handler() {
    let bench = Bench::default();
    let client = served(bench.router().with(Deduplicate::new(Broken)));
    let error = client.call(keyed("count", "k", "")).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::Unknown));
    assert!(!error.message().contains("secret"), "{error}");
    assert_eq!(bench.runs(), 0);
}

/// Has kept an answer that says of itself that nothing ran.
struct Forged;

#[async_trait]
impl Store for Forged {
    async fn claim(&self, _: &ScopedKey, _: Fingerprint) -> Result<Claim, Error> {
        let (code, delivery) = (Code::Unavailable, Delivery::Rejected);
        Ok(Claim::Kept(Err(Error::failure(code, delivery, None, "nothing ran"))))
    }

    async fn settle(&self, _: &ScopedKey, _: Ticket, _: Settlement) -> Result<(), Error> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_store_has_kept_ran_whatever_it_says() {
    let client = served(Bench::default().router().with(Deduplicate::new(Forged)));
    let error = client.call(keyed("count", "k", "")).await.unwrap_err();
    assert_eq!((error.delivery(), error.dedup()), (Delivery::Processed, Some(Dedup::Replayed)));
}

#[tokio::test(start_paused = true)]
async fn processes_that_share_a_store_run_a_key_once() {
    let bench = Bench::default();
    let store = Shared::quick();
    let [one, other] =
        [(); 2].map(|()| served(bench.router().with(Deduplicate::new(store.clone()))));
    let first = one.spawn(&long(), keyed("gated", "k", ""));
    bench.entered(1).await;
    let error = other.call(keyed("gated", "k", "")).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Aborted, Delivery::Unknown));
    assert_eq!(error.reason(), Some(&Reason::DUPLICATE_IN_FLIGHT));
    bench.open();
    assert_eq!(first.await.unwrap().unwrap().dedup(), Some(Dedup::On));
    store.until_settled("k").await;
    let answer = other.call(keyed("gated", "k", "")).await.unwrap();
    assert_eq!((&*answer.body, answer.dedup()), (&b"1"[..], Some(Dedup::Replayed)));
    let error = other.call(keyed("gated", "k", "other")).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::Rejected));
    assert_eq!(bench.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_a_claim_waits_the_call_can_only_say_unknown() {
    let bench = Bench::default();
    let store = Shared::default();
    let local = Local::new(bench.router().with(Deduplicate::new(store.clone())));
    // In one future with the dispatch, and so its word is heard and not that of a requester.
    let one = || async {
        let (ctx, _handle) = local.intake().context(Inbound::new(Some(ms(50))));
        local.intake().handle(&ctx, keyed("count", "k", "")).await.unwrap_err()
    };
    let (first, duplicate) = tokio::join!(one(), one());
    for error in [first, duplicate] {
        assert_eq!((error.code(), error.delivery()), (Code::DeadlineExceeded, Delivery::Unknown));
    }
    store.claims.open();
    assert_eq!(local.request(&long(), keyed("count", "k", "")).await.unwrap().body, "1");
}

#[tokio::test(start_paused = true)]
async fn what_became_of_a_run_is_recorded_though_its_call_is_over() {
    let bench = Bench::default();
    let store = Shared::default();
    store.claims.open();
    let client = served(bench.router().with(Deduplicate::new(store.clone())));
    let ctx = Context::background().with_timeout(ms(50));
    let cut = client.spawn(&ctx, keyed("hang", "cut", ""));
    assert_eq!(cut.await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
    client.call(keyed("count", "answered", "")).await.unwrap();
    assert!(store.settled("answered").is_none(), "nobody waits for the store");
    let duplicate = client.spawn(&long(), keyed("count", "answered", ""));
    store.settles.open();
    assert!(matches!(store.until_settled("cut").await, Settlement::Lost));
    assert!(matches!(store.until_settled("answered").await, Settlement::Kept(Ok(_))));
    assert_eq!(duplicate.await.unwrap().unwrap().dedup(), Some(Dedup::Replayed));
    client.in_flight(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_settles_is_given_up_and_its_key_stays_taken() {
    let bench = Bench::default();
    let store = Shared::default();
    store.claims.open();
    let client = served(bench.router().with(Deduplicate::new(store.clone())));
    client.call(keyed("count", "k", "")).await.unwrap();
    // The record is on the server's account until then: a drain waits for it.
    let report = client.server.shutdown(ms(10_000)).await;
    assert_eq!((report.aborted, client.server.in_flight()), (0, 0));
    assert_eq!(bench.runs(), 1);
}
