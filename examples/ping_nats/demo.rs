//! A few more methods, for peers in other languages to call.

use std::time::Duration;

use rr_core::{Code, Context, Error, Headers, Request, Response, Router};
use serde::Deserialize;

#[derive(Deserialize)]
struct Nap {
    millis: u64,
}

async fn echo(_: Context, request: Request) -> Result<Response, Error> {
    Ok(Response::new(request.body))
}

async fn fail(_: Context, _: Request) -> Result<Response, Error> {
    let mut headers = Headers::new();
    headers.insert("x-detail", "7")?;
    Err(Error::new(Code::NotFound, "no such thing").with_headers(headers))
}

async fn sleep(nap: Nap) -> Result<(), Error> {
    tokio::time::sleep(Duration::from_millis(nap.millis)).await;
    Ok(())
}

async fn panic(_: Context, _: Request) -> Result<Response, Error> {
    panic!("this text stays in the server's log")
}

/// Routes the methods.
pub(crate) fn router() -> Router {
    Router::new()
        .route("service.echo", echo)
        .route("service.fail", fail)
        .route("service.sleep", sleep)
        .route("service.panic", panic)
}
