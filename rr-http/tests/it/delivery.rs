//! What an error says of the handler agrees with what the handler says of itself.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rr_http::HttpRequester;
use rr_spi::{
    Context, Declared, Delivery, Entropy, Error, Request, Requester, Responder, Response, Route,
    Routes, SeededEntropy, Target, async_trait,
};
use rr_testkit::TcpProxy;

/// Calls in all; each has a counter of its own.
const CALLS: usize = 10_000;

/// Calls under way at once.
const CONCURRENCY: usize = 32;

const SEED: u64 = 0x5eed;

/// Counts the runs of each call, and takes from no time to two milliseconds for it.
struct Counter {
    runs: Arc<Vec<AtomicU32>>,
}

#[async_trait]
impl Responder for Counter {
    async fn respond(&self, _: &Context, request: Request) -> Result<Response, Error> {
        let call: usize = std::str::from_utf8(&request.body[..8]).unwrap().trim().parse().unwrap();
        self.runs[call].fetch_add(1, Ordering::SeqCst);
        if call % 3 > 0 {
            tokio::time::sleep(Duration::from_millis(call as u64 % 3)).await;
        }
        Ok(Response::new(request.body))
    }
}

/// One in eight bodies is long, so that cuts fall into the middle of messages.
fn body(call: usize) -> Vec<u8> {
    let mut body = format!("{call:>8}").into_bytes();
    if call % 8 == 0 {
        body.resize(200_000, b'x');
    }
    body
}

async fn calls_under_cuts(query: &str) -> Tally {
    let runs: Arc<Vec<AtomicU32>> = Arc::new((0..CALLS).map(|_| AtomicU32::new(0)).collect());
    let mut routes = Routes::new();
    let counter = Arc::new(Counter { runs: Arc::clone(&runs) });
    routes.insert(Route::Target("t".into()), Declared::Unspecified, counter).unwrap();
    // Fewer places than calls under way, so that some are refused.
    let config = rr_spi::IntakeConfig::default().with_in_flight_max(CONCURRENCY / 4).into();
    let server = rr_http::serve_with("http://127.0.0.1:0", routes, config).await.unwrap();
    let upstream: SocketAddr = server.url().strip_prefix("http://").unwrap().parse().unwrap();
    let proxy = Arc::new(TcpProxy::start(upstream).await.unwrap());
    let url = format!("http://{}{query}", proxy.address());
    let client = HttpRequester::connect(&url).await.unwrap();

    let entropy = SeededEntropy::new(SEED);
    let cutting = Arc::clone(&proxy);
    let cuts = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(1 + entropy.next_u64() % 60)).await;
            cutting.cut();
        }
    });
    let outcomes = call_all(&client).await;
    cuts.abort();
    let tally = Tally::of(&outcomes, &runs);
    println!("seed {SEED:#x}: {tally:?}");
    tally
}

async fn call_all(client: &HttpRequester) -> Vec<Result<(), Delivery>> {
    let next = Arc::new(AtomicU32::new(0));
    let workers: Vec<_> = (0..CONCURRENCY)
        .map(|_| {
            let (client, next) = (client.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let ctx = Context::background();
                let target = Target::try_from("t").unwrap();
                let mut outcomes = Vec::new();
                loop {
                    let call = next.fetch_add(1, Ordering::SeqCst) as usize;
                    if call >= CALLS {
                        return outcomes;
                    }
                    let request = Request::new(target.clone(), body(call));
                    let outcome = client.request(&ctx, request).await;
                    outcomes.push((call, outcome.map(drop).map_err(|error| error.delivery())));
                }
            })
        })
        .collect();
    let mut all = vec![Ok(()); CALLS];
    for worker in workers {
        for (call, outcome) in worker.await.unwrap() {
            all[call] = outcome;
        }
    }
    all
}

#[derive(Debug, Default)]
struct Tally {
    answered: u32,
    unknown: u32,
    unexecuted: u32,
    lies: Vec<usize>,
    run_twice: Vec<usize>,
}

impl Tally {
    fn of(outcomes: &[Result<(), Delivery>], runs: &[AtomicU32]) -> Self {
        let mut tally = Self::default();
        for (call, outcome) in outcomes.iter().enumerate() {
            let ran = runs[call].load(Ordering::SeqCst);
            if ran > 1 {
                tally.run_twice.push(call);
            }
            let truthful = match outcome {
                Ok(()) => ran == 1,
                Err(Delivery::Processed) => ran == 1,
                Err(delivery) if delivery.is_unexecuted() => ran == 0,
                Err(_) => true,
            };
            if !truthful {
                tally.lies.push(call);
            }
            match outcome {
                Ok(()) => tally.answered += 1,
                Err(delivery) if delivery.is_unexecuted() => tally.unexecuted += 1,
                Err(_) => tally.unknown += 1,
            }
        }
        tally
    }

    fn assert(&self) {
        assert!(self.lies.is_empty(), "calls whose delivery is a lie: {:?}", self.lies);
        assert!(self.run_twice.is_empty(), "calls that ran twice: {:?}", self.run_twice);
        // A run in which nothing was cut, or refused, or got through, proves nothing.
        let least = self.answered.min(self.unknown).min(self.unexecuted);
        assert!(least > 50, "{self:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_agree_with_the_counter_under_cuts_on_h1() {
    calls_under_cuts("").await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_agree_with_the_counter_under_cuts_on_h2() {
    calls_under_cuts("?version=h2c").await.assert();
}
