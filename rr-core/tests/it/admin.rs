//! The admin page: what it shows, what it never shows, and who may see it.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

mod access;
mod bounds;
mod content;
mod secrets;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use rr_core::admin::Admin;
use rr_core::config::ClientConfig;
use rr_core::{
    Code, Context, Error, Local, Request, Requester, RequesterExt as _, Response, Router, Stack,
    connect_with, recommended_with,
};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Routes of which `t.hang` adds a permit when it is entered.
fn router(hanging: &Arc<Semaphore>) -> Router {
    let hanging = Arc::clone(hanging);
    let hang = move |_: Context, _: Request| {
        hanging.add_permits(1);
        pending::<Result<Response, Error>>()
    };
    let busy = |_: Context, _: Request| async {
        Err::<Response, _>(Error::new(Code::Unavailable, "busy"))
    };
    Router::new().route("t.hang", hang).route("t.busy", busy).route("t.echo", echo)
}

async fn echo(_: Context, request: Request) -> Result<Response, Error> {
    Ok(Response::new(request.body))
}

fn context() -> Context {
    Context::background().with_timeout(Duration::from_secs(20))
}

/// Connects with the observer of the page, at the level of calls too.
async fn connected(admin: &Admin, url: &str) -> Stack<impl Requester + use<>> {
    let config = ClientConfig::default().with_observers(admin.observers());
    recommended_with(connect_with(url, config).await.unwrap(), admin.observers())
}

/// Returns the content of the page, read in this process.
async fn page(admin: &Admin) -> Value {
    let local = Local::new(admin.router());
    let reply = local.call_raw(&context(), "rr.debug", "").await.unwrap();
    assert_eq!(reply.headers.get("content-type"), Some("application/json"));
    serde_json::from_slice(&reply.body).unwrap()
}

/// Returns the page as HTML, read in this process.
async fn html(admin: &Admin) -> String {
    let local = Local::new(admin.router());
    let ctx = context();
    let call = local.call_raw(&ctx, "rr.debug", "").header("accept", "text/html");
    let reply = call.await.unwrap();
    assert_eq!(reply.headers.get("content-type"), Some("text/html; charset=utf-8"));
    String::from_utf8(reply.body.to_vec()).unwrap()
}

/// Waits until the page is as it must be, and returns it.
async fn until(admin: &Admin, is_right: impl Fn(&Value) -> bool) -> Value {
    let waited = timeout(Duration::from_secs(20), async {
        loop {
            let page = page(admin).await;
            if is_right(&page) {
                return page;
            }
            sleep(Duration::from_millis(1)).await;
        }
    });
    match waited.await {
        Ok(page) => page,
        Err(_) => panic!("{:#}", page(admin).await),
    }
}

/// Returns the operations in flight, or the failures, of one kind.
fn of_kind<'a>(list: &'a Value, kind: &str) -> Vec<&'a Value> {
    list.as_array().unwrap().iter().filter(|entry| entry["kind"] == kind).collect()
}
