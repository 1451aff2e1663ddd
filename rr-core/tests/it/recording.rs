//! Where the time of a call went, in this process, in the handler and in the calls below it.

#![cfg(feature = "json")]

use std::time::Duration;

use rr_core::observe::{Spent, Stage, Timeline};
use rr_core::{CallError, Client, Code, Context, Error, Local, Reason, RequesterExt, Router};
use tokio::time::sleep;

use crate::everywhere::everywhere;

/// Time that the slow handler takes.
const SLOW: Duration = Duration::from_millis(120);

async fn slow(_: Context, (): ()) -> Result<(), Error> {
    sleep(SLOW).await;
    Ok(())
}

async fn fails(_: Context, (): ()) -> Result<(), Error> {
    sleep(SLOW).await;
    Err(Error::new(Code::Aborted, "after a while"))
}

/// Calls the slow handler two hops further down.
fn router() -> Router {
    let below = Local::new(Router::new().route("slow", slow));
    let middle = Local::new(Router::new().route("middle", {
        move |ctx: Context, (): ()| {
            let below = below.clone();
            async move { Ok::<(), Error>(below.call(&ctx, "slow", &()).await?) }
        }
    }));
    let hop = move |ctx: Context, (): ()| {
        let middle = middle.clone();
        async move { Ok::<(), Error>(middle.call(&ctx, "middle", &()).await?) }
    };
    Router::new().route("hop", hop).route("slow", slow).route("fails", fails)
}

async fn timeline(client: &Client, target: &str) -> Timeline {
    let (ctx, recording) = Context::background().recorded();
    let outcome: Result<(), CallError> = client.call(&ctx, target, &()).await;
    assert_eq!(outcome.is_ok(), target != "fails");
    let mut timelines = recording.timelines();
    assert_eq!(timelines.len(), 1);
    timelines.remove(0)
}

#[tokio::test]
async fn the_server_and_the_calls_below_it_state_their_times_on_every_transport() {
    everywhere("recording", router, async |url, client| {
        for target in ["slow", "fails"] {
            let times = timeline(&client, target).await;
            let server = times.server().expect(url);
            assert!(server.handler >= SLOW && server.below.is_empty(), "{url} {server:?}");
            assert!(times.spent(Stage::AwaitingReply) >= server.total(), "{url} {times:?}");
        }
        let times = timeline(&client, "hop").await;
        let server = times.server().expect(url);
        let [Spent { handler, below, .. }] = &server.below[..] else { panic!("{url} {server:?}") };
        assert!(*handler >= SLOW && server.handler >= *handler, "{url} {server:?}");
        assert!(below[0].handler >= SLOW && below[0].below.is_empty(), "{url} {server:?}");

        let plain = Context::background();
        for ctx in [plain.recorded().0, plain] {
            let reply = client.call_raw(&ctx, "slow", "").await.unwrap();
            assert!(!reply.headers.contains("rr-spent"), "{url}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_expired_call_says_for_what_it_waited() {
    let client = Local::new(Router::new().route("slow", slow));
    let ctx = Context::background().with_timeout(Duration::from_millis(50));
    let outcome: Result<(), CallError> = client.call(&ctx, "slow", &()).await;
    let CallError::Rr(error) = outcome.unwrap_err();
    assert_eq!(error.reason(), Some(&Reason::EXPIRED_AWAITING_REPLY));
    assert_eq!(error.account().to_string(), "50.00ms of 50.00ms waiting for the reply");
    let timeline = error.timeline().unwrap();
    assert_eq!(
        (timeline.last(), timeline.total()),
        (Stage::AwaitingReply, Duration::from_millis(50))
    );
}
