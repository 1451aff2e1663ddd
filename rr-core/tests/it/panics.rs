//! A panic of a router points to the line that named the route.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;

use rr_core::{Context, Error, Request, Response, Router};

async fn echo(_: Context, request: Request) -> Result<Response, Error> {
    Ok(Response::new(request.body))
}

static FILE: Mutex<String> = Mutex::new(String::new());

#[test]
fn a_router_that_refuses_a_route_panics_where_it_was_named() {
    let this = thread::current().id();
    crate::on_panic(move |info| {
        if thread::current().id() == this {
            let file = info.location().map(|at| at.file().to_owned());
            *FILE.lock().unwrap() = file.unwrap_or_default();
        }
    });
    let refused: [fn() -> Router; 6] = [
        || Router::new().route("a b", echo),
        || Router::new().route("a", echo).route("a", echo),
        || Router::new().service("", echo),
        || Router::new().service("a", echo).close("a"),
        || Router::new().fallback(echo).fallback(echo),
        || Router::new().route("a", echo).merge(Router::new().route("a", echo)),
    ];
    for (at, refused) in refused.into_iter().enumerate() {
        let outcome = catch_unwind(AssertUnwindSafe(refused));
        assert!(outcome.is_err(), "{at}");
        let file = std::mem::take(&mut *FILE.lock().unwrap());
        assert!(file.ends_with("panics.rs"), "{at}: {file}");
    }
}
