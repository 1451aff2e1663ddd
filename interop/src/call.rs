//! A client that compares what its errors claim with what the servers ran.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rr_core::{Context, Delivery, Requester, RequesterExt as _, connect, recommended};

use crate::TARGET;

/// Calls in flight.
const CONCURRENCY: usize = 16;

/// Time of one call. Longer than a restart takes, shorter than a person's patience.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after a failure, so that an outage does not use up all calls.
const PAUSE: Duration = Duration::from_millis(20);

/// Makes the calls and prints their outcomes.
pub(crate) async fn call(
    url: &str,
    calls: &str,
    kind: &str,
    stack: &str,
    logs: &[&str],
) -> Result<(), String> {
    let calls: usize = calls.parse().map_err(|_| format!("no number of calls: {calls}"))?;
    let client = connect(url).await.map_err(|error| error.to_string())?;
    let client: Arc<dyn Requester> = match stack {
        "recommended" => Arc::new(recommended(client)),
        _ => Arc::new(client),
    };
    let is_safe = kind == "safe";
    let next = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..CONCURRENCY)
        .map(|_| tokio::spawn(caller(Arc::clone(&client), Arc::clone(&next), calls, is_safe)))
        .collect();
    let mut outcomes = Vec::with_capacity(calls);
    for caller in callers {
        outcomes.extend(caller.await.map_err(|error| error.to_string())?);
    }
    let runs = runs(logs)?;
    println!("{}", judge(&outcomes, &runs, is_safe));
    Ok(())
}

/// Calls until all calls are made; returns each id and how its call failed, if it did.
async fn caller(
    client: Arc<dyn Requester>,
    next: Arc<AtomicUsize>,
    calls: usize,
    is_safe: bool,
) -> Vec<(String, Option<Delivery>)> {
    let mut outcomes = Vec::new();
    loop {
        let id = next.fetch_add(1, Ordering::Relaxed);
        if id >= calls {
            return outcomes;
        }
        let id = format!("call-{id}");
        let ctx = Context::background().with_timeout(TIMEOUT);
        let call = client.call_raw(&ctx, TARGET, id.clone());
        let outcome = if is_safe { call.safe().await } else { call.await };
        let failed = outcome.err().map(|error| error.delivery());
        if failed.is_some() {
            tokio::time::sleep(PAUSE).await;
        }
        outcomes.push((id, failed));
    }
}

/// How often each call ran, by its id.
fn runs(logs: &[&str]) -> Result<HashMap<String, usize>, String> {
    let mut runs = HashMap::new();
    for log in logs {
        let text = std::fs::read_to_string(log).map_err(|error| format!("{log}: {error}"))?;
        for id in text.lines() {
            *runs.entry(id.to_owned()).or_default() += 1;
        }
    }
    Ok(runs)
}

/// One line of numbers. A lie is an error that says the handler did not run although it did.
fn judge(
    outcomes: &[(String, Option<Delivery>)],
    runs: &HashMap<String, usize>,
    is_safe: bool,
) -> String {
    let (mut answered, mut lies, mut twice, mut unseen) = (0, 0, 0, 0);
    let mut failed = [0; 4];
    for (id, delivery) in outcomes {
        let ran = runs.get(id).copied().unwrap_or_default();
        twice += usize::from(ran > 1 && !is_safe);
        let place = match delivery {
            None => {
                answered += 1;
                // The log is what everything here rests on.
                unseen += usize::from(ran == 0);
                continue;
            }
            Some(Delivery::NotSent) => 0,
            Some(Delivery::Rejected) => 1,
            Some(Delivery::Processed) => 2,
            Some(_) => 3,
        };
        failed[place] += 1;
        lies += usize::from(place < 2 && ran > 0);
    }
    let [not_sent, rejected, processed, unknown] = failed;
    format!(
        "lies={lies} twice={twice} unseen={unseen} answered={answered} not_sent={not_sent} \
         rejected={rejected} processed={processed} unknown={unknown}"
    )
}
