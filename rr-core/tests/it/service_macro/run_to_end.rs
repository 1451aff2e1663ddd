//! A method that runs to its end does so although its caller leaves.

use std::sync::Arc;
use std::time::Duration;

use rr_core::{Context, Error, Router, async_trait, service};
use tokio::sync::Notify;

use super::support::{ctx, rigs};

#[service("payments")]
trait Payments {
    #[rr(run_to_end)]
    async fn charge(&self, ctx: &Context, amount: u64, from: String) -> Result<u64, Error>;

    async fn quote(&self, ctx: &Context, amount: u64) -> Result<u64, Error>;
}

/// What a payment waits for, and what it tells.
#[derive(Default)]
struct Steps {
    entered: Notify,
    proceed: Notify,
    done: Notify,
    dropped: Notify,
}

#[derive(Clone, Default)]
struct Till(Arc<Steps>);

/// Tells that its method ended without its last line.
struct OnDrop<'a>(&'a Steps);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.dropped.notify_one();
    }
}

impl Till {
    async fn work(&self, ctx: &Context, amount: u64) -> Result<u64, Error> {
        let steps = &*self.0;
        let dropped = OnDrop(steps);
        steps.entered.notify_one();
        steps.proceed.notified().await;
        std::mem::forget(dropped);
        assert!(ctx.remaining().is_some_and(|left| left <= Duration::from_secs(20)));
        assert_eq!(ctx.cause(), None, "the context is not that of the call");
        steps.done.notify_one();
        Ok(amount)
    }
}

#[async_trait]
impl Payments for Till {
    async fn charge(&self, ctx: &Context, amount: u64, _from: String) -> Result<u64, Error> {
        self.work(ctx, amount).await
    }

    async fn quote(&self, ctx: &Context, amount: u64) -> Result<u64, Error> {
        self.work(ctx, amount).await
    }
}

/// Waits for an event, for a bounded time.
async fn within(event: &Notify) {
    tokio::time::timeout(Duration::from_secs(20), event.notified()).await.unwrap();
}

#[tokio::test]
async fn a_method_that_runs_to_its_end_survives_a_caller_that_leaves() {
    let till = Till::default();
    let router = || Router::new().merge(PaymentsServer::new(till.clone()));
    for rig in rigs("service-run-to-end", router).await {
        println!("{}", rig.name);
        let client = PaymentsClient::new(Arc::clone(&rig.requester));
        let call = tokio::spawn(async move { client.charge(&ctx(), 7, String::new()).await });
        within(&till.0.entered).await;
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        till.0.proceed.notify_one();
        within(&till.0.done).await;
    }
}

#[tokio::test]
async fn any_other_method_is_dropped_with_its_caller() {
    let till = Till::default();
    let router = || Router::new().merge(PaymentsServer::new(till.clone()));
    for rig in rigs("service-dropped", router).await {
        println!("{}", rig.name);
        let client = PaymentsClient::new(Arc::clone(&rig.requester));
        let call = tokio::spawn(async move { client.quote(&ctx(), 7).await });
        within(&till.0.entered).await;
        call.abort();
        within(&till.0.dropped).await;
    }
}

#[tokio::test]
async fn a_caller_that_stays_gets_the_result_of_a_method_that_runs_to_its_end() {
    let till = Till::default();
    let router = || Router::new().merge(PaymentsServer::new(till.clone()));
    for rig in rigs("service-stays", router).await {
        let client = PaymentsClient::new(Arc::clone(&rig.requester));
        till.0.proceed.notify_one();
        assert_eq!(client.charge(&ctx(), 7, String::new()).await.unwrap(), 7, "{}", rig.name);
    }
}
