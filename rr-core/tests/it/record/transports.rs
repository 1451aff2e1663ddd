//! Calls over every transport are recorded at both ends, and replayed with the same outcomes.

use std::sync::Arc;
use std::time::Duration;

use rr_core::record::{Recorder, Replay};
use rr_core::{
    AppError, CallError, Client, Code, Context, Error, Headers, Request, Requester, RequesterExt,
    Response, Router, Service, Stack, recommended,
};
use serde::{Deserialize, Serialize};

use super::support::{Memory, Outcome, keyed, open, parts, request};
use crate::everywhere::everywhere;

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct OutOfStock {
    left: u32,
}

impl AppError for OutOfStock {
    const TYPE: &'static str = "stock.OutOfStock";

    fn code(&self) -> Code {
        Code::FailedPrecondition
    }
}

struct Stock;

impl Stock {
    async fn left(self: Arc<Self>, item: String) -> Result<u32, OutOfStock> {
        if item == "coffee" { Err(OutOfStock { left: 0 }) } else { Ok(3) }
    }

    async fn panic(self: Arc<Self>, _: ()) -> Result<u32, Error> {
        panic!("as asked")
    }

    async fn hang(self: Arc<Self>, _: ()) -> Result<u32, Error> {
        std::future::pending().await
    }
}

async fn bytes(_: Context, request: Request) -> Result<Response, Error> {
    let mut headers = Headers::new();
    headers.append_bin("x-raw-bin", request.body.clone())?;
    Ok(Response::new(request.body).with_headers(headers))
}

fn router() -> Router {
    let stock = Service::new("stock", Arc::new(Stock)).method("left", Stock::left);
    let stock = stock.method("panic", Stock::panic).method("hang", Stock::hang);
    Router::new().merge(stock).route("raw.bytes", bytes)
}

/// Calls in every way that ends differently.
async fn calls(client: &dyn Requester) -> Vec<Outcome> {
    let ctx = Context::background().with_request_id("r-17").unwrap();
    let soon = || ctx.with_timeout(Duration::from_millis(50));
    let mut outcomes = Vec::new();
    for (expires, request) in [
        (None, request("stock.left", "\"tea\"")),
        (None, request("stock.left", "\"coffee\"")),
        (None, request("stock.left", "{}")),
        (None, request("stock.panic", "null")),
        (None, request("stock.none", "null")),
        (Some(()), request("stock.hang", "null")),
        (None, request("raw.bytes", b"\xff\0".as_slice()).with_idempotency(keyed("k"))),
        (None, request("raw.bytes", "").with_idempotency(rr_core::Idempotency::Safe)),
    ] {
        let ctx = expires.map_or_else(|| ctx.clone(), |()| soon());
        outcomes.push(client.request(&ctx, request).await);
    }
    outcomes
}

async fn check(url: &str, client: impl Requester) {
    let file = Memory::default();
    let recorder = Recorder::new(file.clone(), open()).unwrap();
    let client = Stack::new(client).with(recorder.clone());
    let outcomes = calls(&client).await;
    let codes: Vec<_> =
        outcomes.iter().map(|outcome| outcome.as_ref().err().map(Error::code)).collect();
    use Code::{DeadlineExceeded, FailedPrecondition, Internal, InvalidArgument, Unimplemented};
    let expected = [
        None,
        Some(FailedPrecondition),
        Some(InvalidArgument),
        Some(Internal),
        Some(Unimplemented),
        Some(DeadlineExceeded),
        None,
        None,
    ];
    assert_eq!(codes, expected, "{url}");
    recorder.flush().await.unwrap();
    let replay = Replay::strict(&*file.bytes()).unwrap();
    let replayed = calls(&replay).await;
    for (outcome, replayed) in outcomes.iter().zip(&replayed) {
        assert_eq!(parts(replayed), parts(outcome), "{url}");
    }
    assert!(replay.remaining().is_empty());
}

#[tokio::test]
async fn what_a_client_recorded_is_replayed_with_equal_outcomes() {
    everywhere("record-client", router, async |url, client: Client| {
        check(url, client.clone()).await;
        // With retries inside, an error also has the records of its attempts.
        check(url, recommended(client)).await;
    })
    .await;
}

#[tokio::test]
async fn an_application_error_is_replayed_to_a_typed_call() {
    everywhere("record-app", router, async |url, client: Client| {
        let file = Memory::default();
        let recorder = Recorder::new(file.clone(), open()).unwrap();
        let client = Stack::new(client).with(recorder.clone());
        let ctx = Context::background();
        client.call::<u32>(&ctx, "stock.left", "coffee").await.unwrap_err();
        recorder.flush().await.unwrap();
        let replay = Replay::strict(&*file.bytes()).unwrap();
        let failed =
            replay.call::<u32>(&ctx, "stock.left", "coffee").app_error::<OutOfStock>().await;
        let Err(CallError::App(error)) = failed else { panic!("{url}: {failed:?}") };
        assert_eq!(error, OutOfStock { left: 0 }, "{url}");
    })
    .await;
}

#[tokio::test]
async fn a_router_records_what_it_answers_over_every_transport() {
    let file = Memory::default();
    let recorder = Recorder::new(file.clone(), open()).unwrap();
    let recorded = || router().with(recorder.clone());
    everywhere("record-router", recorded, async |url, client: Client| {
        let (before, ctx) = (file.text().len(), Context::background());
        client.request(&ctx, request("stock.left", "\"tea\"")).await.unwrap();
        client.request(&ctx, request("stock.none", "")).await.unwrap_err();
        let requests = || [request("stock.left", "\"coffee\""), request("stock.panic", "null")];
        let mut errors = Vec::new();
        for request in requests() {
            errors.push(client.request(&ctx, request).await.unwrap_err());
        }
        recorder.flush().await.unwrap();
        let text = file.text();
        let own = &text[before..];
        // A router records the requests that have a route.
        assert!(!own.contains("stock.none") && own.lines().count() == 3, "{url}: {own}");
        let replay = Replay::best_match(own.as_bytes()).unwrap();
        for (request, error) in requests().into_iter().zip(errors) {
            let replayed = replay.request(&ctx, request).await.unwrap_err();
            let head = |error: &Error| (error.code(), error.reason().cloned());
            assert_eq!(head(&replayed), head(&error), "{url}");
            assert_eq!(replayed.details(), error.details(), "{url}");
        }
        assert_eq!(replay.remaining().len(), 1);
    })
    .await;
}
