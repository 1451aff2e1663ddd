//! No path allocates more than its budget: in process, in memory, over HTTP.

mod paths;

use std::sync::Arc;

use paths::{bounded, check, router};
use rr_benches_peers::counting::{self, Counting};
use rr_core::{Context, Error, Local, Requester, Stack, connect, recommended, serve};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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
    let stacked: Arc<dyn Requester> = Arc::new(recommended(local));
    complaints.extend(check("Local, recommended", &*stacked, &bounded).await);
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
