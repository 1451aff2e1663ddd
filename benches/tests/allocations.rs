//! No path allocates more than its budget: in process, in memory, over HTTP.

mod paths;

use std::sync::Arc;

use paths::{bounded, check, check_calls, router};
use rr_benches_peers::counting::{self, Counting};
use rr_core::balance::{Balance, Endpoint};
use rr_core::{
    Context, Error, Local, Requester, RequesterExt as _, Router, Stack, async_trait, connect,
    recommended, serve, service,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[service("doubling")]
trait Doubling {
    async fn double(&self, ctx: &Context, n: u64) -> Result<u64, Error>;
}

struct Doubles;

#[async_trait]
impl Doubling for Doubles {
    async fn double(&self, _: &Context, n: u64) -> Result<u64, Error> {
        Ok(n * 2)
    }
}

/// Counts typed calls: plain ones, and those through the client and the server of a trait.
async fn typed(ctx: &Context) -> Vec<String> {
    let plain = |n: u64| async move { Ok::<_, Error>(n * 2) };
    let plain = Local::new(Router::new().route(DoublingClient::DOUBLE, plain));
    let served = DoublingClient::new(Local::new(DoublingServer::new(Doubles)));
    let called = DoublingClient::new(plain.clone());
    let outcomes = [
        check_calls("Local, typed", async || {
            let four = plain.call::<u64>(ctx, DoublingClient::DOUBLE, &2).await;
            assert_eq!(four.expect("the call is answered"), 4);
        })
        .await,
        check_calls("Local, typed by a trait's client", async || {
            assert_eq!(called.double(ctx, 2).await.expect("the call is answered"), 4);
        })
        .await,
        check_calls("Local, typed by a trait's client and server", async || {
            assert_eq!(served.double(ctx, 2).await.expect("the call is answered"), 4);
        })
        .await,
    ];
    outcomes.into_iter().flatten().collect()
}

// One test on one thread, since the counters are the process's.
#[tokio::test]
async fn a_call_allocates_what_its_budget_says() -> Result<(), Error> {
    counting::start();
    let bounded = bounded();
    let mut complaints = Vec::new();
    let local: Arc<dyn Requester> = Arc::new(Local::new(router()));
    complaints.extend(check("Local", &*local, &bounded).await);
    complaints.extend(check("Local, default deadline", &*local, &Context::background()).await);
    let stacked: Arc<dyn Requester> = Arc::new(Stack::new(Arc::clone(&local)));
    complaints.extend(check("Local, empty stack", &*stacked, &bounded).await);
    for (path, count) in [("Local, balance over one", 1), ("Local, balance over three", 3)] {
        let named = (0..count).map(|at| Endpoint::new(at.to_string(), Arc::clone(&local)));
        complaints.extend(check(path, &Balance::new(named)?, &bounded).await);
    }
    let stacked: Arc<dyn Requester> = Arc::new(recommended(local));
    complaints.extend(check("Local, recommended", &*stacked, &bounded).await);
    complaints.extend(typed(&bounded).await);
    let server = serve("memory://allocations", router()).await?;
    let memory = connect(server.url()).await?;
    complaints.extend(check("memory", &memory, &bounded).await);
    complaints.extend(check("memory, recommended", &recommended(memory), &bounded).await);
    let urls = [("HTTP/1.1", "http://127.0.0.1:0"), ("HTTP/2", "http://127.0.0.1:0?version=h2c")];
    for (path, url) in urls {
        let server = serve(url, router()).await?;
        let client = connect(server.url()).await?;
        complaints.extend(check(path, &client, &bounded).await);
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    Ok(())
}
