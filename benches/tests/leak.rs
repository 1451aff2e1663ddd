//! Calls by the thousand, a third timed out and a third dropped, leave nothing behind.

mod live;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use live::grown;
use rr_benches_peers::counting::{self, Counting, live_bytes};
use rr_core::{
    Context, Error, Request, Requester, RequesterExt, Response, Router, Server, connect, serve,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Calls of a batch.
const BATCH: usize = 1_500;

/// Batches after the first one, which warms up.
const BATCHES: usize = 9;

/// Calls under way at once.
const CONCURRENCY: usize = 50;

/// Most growth from the first third of the batches to the last, in bytes; eight bytes that every third call
/// leaves behind are more.
const GROWTH_MAX: i64 = 16 * 1024;

/// Answers at once when asked to, and never otherwise.
async fn answer(_: Context, request: Request) -> Result<Response, Error> {
    if request.body == "answer" {
        return Ok(Response::new(request.body));
    }
    std::future::pending().await
}

async fn one(client: &dyn Requester, call: usize) {
    let ctx = Context::background();
    match call % 3 {
        0 => {
            let answered = client.call_raw(&ctx, "t", "answer").await;
            assert_eq!(answered.expect("it is answered").body, "answer");
        }
        1 => {
            let ctx = ctx.with_timeout(Duration::from_millis(5));
            client.call_raw(&ctx, "t", "hang").await.expect_err("it times out");
        }
        _ => {
            let hanging = client.call_raw(&ctx, "t", "hang").into_future();
            let _ = tokio::time::timeout(Duration::from_millis(3), hanging).await;
        }
    }
}

async fn batch(client: &Arc<dyn Requester>, calls: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..CONCURRENCY)
        .map(|_| {
            let (client, next) = (Arc::clone(client), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let call = next.fetch_add(1, Ordering::Relaxed);
                    if call >= calls {
                        return;
                    }
                    one(&*client, call).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("no call panics");
    }
}

/// Waits until every call and every connection has been let go of: what never is fails the test.
async fn settled(server: &Server, tasks_at_rest: usize) {
    for _ in 0..500 {
        if server.in_flight() == 0 && tasks() <= tasks_at_rest {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (calls, tasks) = (server.in_flight(), tasks() - tasks_at_rest);
    panic!("{calls} calls and {tasks} tasks are left");
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// `query` lets a pooled connection go soon after its last call.
async fn leaves_nothing(url: &str, query: &str) {
    let before = tasks();
    let server = serve(url, Router::new().route("t", answer)).await.unwrap();
    let url = format!("{}{query}", server.url());
    let client: Arc<dyn Requester> = Arc::new(connect(&url).await.unwrap());
    let at_rest = tasks();
    batch(&client, BATCH).await;
    let mut live = Vec::new();
    for _ in 0..BATCHES {
        batch(&client, BATCH).await;
        settled(&server, at_rest).await;
        live.push(live_bytes());
    }
    let grown = grown(&live);
    println!("{url}: grown by {grown} bytes; live after each batch: {live:?}");
    assert!(grown <= GROWTH_MAX, "{url}: the live heap grew by {grown} bytes");
    drop(client);
    server.shutdown(Duration::from_secs(5)).await;
    drop(server);
    for _ in 0..500 {
        if tasks() <= before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{url}: {} tasks are left", tasks() - before);
}

// One test, since the heap is the process's.
#[tokio::test]
async fn mixed_calls_leave_nothing_behind_on_any_transport() {
    counting::start();
    leaves_nothing("memory://leak", "").await;
    leaves_nothing("http://127.0.0.1:0", "?idle_timeout=50ms").await;
    leaves_nothing("http://127.0.0.1:0?version=h2c", "&idle_timeout=50ms").await;
}
