//! No path over NATS allocates more than its budget.

mod paths;

use paths::{bounded, check, router};
use rr_benches_peers::counting::{self, Counting};
use rr_core::{Context, Error, connect, serve};
use rr_testkit::NatsServer;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// One test on one thread, since the counters are the process's.
#[tokio::test]
async fn a_call_allocates_what_its_budget_says() -> Result<(), Error> {
    counting::start();
    let nats = NatsServer::start().await.expect("a nats-server starts");
    let server = serve(&nats.url(), router()).await?;
    let client = connect(server.url()).await?;
    client.ready(&Context::background()).await?;
    let unbounded = Context::background().unbounded();
    let complaints = [
        check("NATS, deadline", &client, &bounded()).await,
        check("NATS, unbounded", &client, &unbounded).await,
    ];
    let complaints: Vec<_> = complaints.into_iter().flatten().collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    Ok(())
}
