//! Calls at a given rate, whether or not earlier calls were answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rr_core::balance::{Balance, Endpoint};
use rr_core::hedge::Hedge;
use rr_core::retry::Retry;
use rr_core::throttle::Throttle;
use rr_core::transport::{Entropy as _, SeededEntropy};
use rr_core::{
    Context, Error, Idempotency, Middleware, Next, Request, Requester, Response, Stack,
    async_trait, connect,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::measured::{Call, Measured};
use crate::{FIND, SLOWER, exponential};

/// Mean time between two calls, which come by chance: 300 per second.
const BETWEEN: Duration = Duration::from_nanos(1_000_000_000 / 300);

/// Time of one call.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);

/// Calls before the measurement, which connect and fill the layers' statistics.
const WARM_UP: Duration = Duration::from_secs(2);

/// Instants at which a run changes.
#[derive(Clone, Copy)]
pub(crate) struct Phases {
    /// Calls count from here on.
    pub(crate) begin: Instant,
    pub(crate) trouble: Instant,
    pub(crate) after: Instant,
    end: Instant,
}

impl Phases {
    /// Two thirds of the time of the trouble before it, and a third after it.
    pub(crate) fn new(trouble: Duration) -> Self {
        let begin = Instant::now() + WARM_UP;
        let (before, after) = (begin + trouble * 2 / 3, begin + trouble * 5 / 3);
        Self { begin, trouble: before, after, end: after + trouble / 3 }
    }
}

/// Calls three replicas, of which the last misbehaves for a while; prints and judges what was measured.
pub(crate) async fn load(
    name: &str,
    trouble: &str,
    seconds: &str,
    urls: &[&str],
) -> Result<(), String> {
    let slower = match trouble {
        "slow-replica" => "20",
        "black-hole" => "0",
        _ => return Err(format!("no trouble: {trouble}")),
    };
    let seconds = seconds.parse().map_err(|_| format!("no number of seconds: {seconds}"))?;
    let last = *urls.last().ok_or("no URL of a replica")?;
    let replica = connect(last).await.map_err(|error| error.to_string())?;
    let requests = Arc::new(AtomicU64::new(0));
    let client = client(urls, Arc::clone(&requests)).await.map_err(|error| error.to_string())?;
    let phases = Phases::new(Duration::from_secs(seconds));
    let sent = tokio::spawn(async move {
        sleep_until(phases.trouble).await;
        set(&replica, slower).await?;
        sleep_until(phases.after).await;
        let sent = requests.load(Ordering::Relaxed);
        set(&replica, "1").await?;
        Ok::<_, Error>(sent)
    });
    let calls = calls(&client, phases).await;
    let requests = sent.await.map_err(|error| error.to_string())?;
    let requests = requests.map_err(|error: Error| error.to_string())?;
    let measured = Measured::new(calls, requests, phases);
    let row = measured.row(name, trouble);
    println!("{row}");
    measured.judge(trouble).map_err(|complaint| format!("{complaint}\n{row}"))
}

/// Tells a replica how many times longer its calls take.
async fn set(replica: &impl Requester, times: &'static str) -> Result<Response, Error> {
    let request = Request::new(SLOWER.try_into()?, times);
    replica.request(&Context::background().with_timeout(TIMEOUT), request).await
}

/// Puts the layers of a client around the replicas.
async fn client(urls: &[&str], requests: Arc<AtomicU64>) -> Result<Arc<dyn Requester>, Error> {
    let mut replicas = Vec::new();
    for url in urls {
        replicas.push(Endpoint::new(*url, connect(url).await?));
    }
    let retry = Retry::new();
    let hedge = Hedge::new().with_budget(retry.budget().clone());
    let stack = Stack::new(Balance::new(replicas)?).with(Throttle::new()).with(retry);
    Ok(Arc::new(stack.with(hedge).with(Count(requests))))
}

/// Counts the requests behind the layers that send more than the caller.
struct Count(Arc<AtomicU64>);

#[async_trait]
impl Middleware for Count {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        next.run(ctx, request).await
    }
}

/// Makes calls until the run ends, and waits for them.
async fn calls(client: &Arc<dyn Requester>, phases: Phases) -> Vec<Call> {
    let (entropy, mut calls) = (SeededEntropy::new(1), JoinSet::new());
    let mut due = phases.begin - WARM_UP;
    while due < phases.end {
        sleep_until(due).await;
        let client = Arc::clone(client);
        calls.spawn(async move { call(&*client, due).await });
        due += exponential(BETWEEN, entropy.next_u64());
    }
    calls.join_all().await
}

/// Makes a call. Its time counts from the instant at which it was due, so that a late start is part of it.
async fn call(client: &dyn Requester, due: Instant) -> Call {
    let request = Request::new(FIND.try_into().expect("a valid target"), "")
        .with_idempotency(Idempotency::Safe);
    let outcome = client.request(&Context::background().with_timeout(TIMEOUT), request).await;
    Call { due, took: due.elapsed(), error: outcome.err() }
}
