//! Each attempt over memory is reported once.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;
use std::time::Duration;

use rr_spi::{
    CallConfig, Code, Context, Declared, Error, IntakeConfig, Request, Requester, Responder,
    Response, Route, Routes, async_trait,
};
use rr_testkit::{Loopback, MemoryFault, MemoryFaults, Reports, loopback_with};
use tokio::time::{sleep, timeout};

struct Handler;

#[async_trait]
impl Responder for Handler {
    async fn respond(&self, _: &Context, request: Request) -> Result<Response, Error> {
        match request.target.method() {
            "fail" => Err(Error::new(Code::NotFound, "no such order")),
            "slow" => {
                sleep(Duration::from_millis(100)).await;
                Ok(Response::new("done"))
            }
            _ => Ok(Response::new("done")),
        }
    }
}

fn served() -> (Loopback, Reports) {
    let (mut routes, reports) = (Routes::new(), Reports::default());
    routes.insert(Route::Service("svc".into()), Declared::Safe, Arc::new(Handler)).unwrap();
    let calls = CallConfig::default().with_observers(reports.observers());
    (loopback_with(routes, IntakeConfig::default(), calls), reports)
}

async fn call(client: &Loopback, target: &str, ms: u64) -> Result<Response, Error> {
    let ctx = Context::background().with_timeout(Duration::from_millis(ms));
    client.request(&ctx, Request::new(target.try_into().unwrap(), "")).await
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_reported_once_whatever_became_of_it() {
    let (client, reports) = served();
    call(&client, "svc.echo", 1000).await.unwrap();
    assert_eq!(reports.take_lines(), ["ClientAttempt svc.echo: ok"]);
    call(&client, "svc.slow", 1000).await.unwrap();
    assert_eq!(reports.take_lines(), ["ClientAttempt svc.slow: ok"]);
    call(&client, "svc.fail", 1000).await.unwrap_err();
    assert_eq!(reports.take_lines(), ["ClientAttempt svc.fail: not_found (processed)"]);

    let expired = call(&client, "svc.slow", 50).await.unwrap_err();
    let line = "ClientAttempt svc.slow: deadline_exceeded/expired-awaiting-reply (unknown)";
    assert_eq!(reports.take_lines(), [line]);
    assert_eq!(expired.account().to_string(), "50.00ms of 50.00ms waiting for the reply");

    let dropped = timeout(Duration::from_millis(5), call(&client, "svc.slow", 1000)).await;
    assert!(dropped.is_err());
    assert_eq!(reports.take_lines(), ["ClientAttempt svc.slow: canceled (unknown)"]);

    client.link().cut();
    call(&client, "svc.echo", 1000).await.unwrap_err();
    assert_eq!(
        reports.take_lines(),
        ["ClientAttempt svc.echo: unavailable/not-connected (not_sent)"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_attempt_with_a_fault_is_reported_once() {
    let (client, reports) = served();
    client.link().set_faults(MemoryFaults::script([Some(MemoryFault::FailAfter)]));
    call(&client, "svc.slow", 1000).await.unwrap_err();
    assert_eq!(
        reports.take_lines(),
        ["ClientAttempt svc.slow: unavailable/connection-lost (unknown)"]
    );
}
