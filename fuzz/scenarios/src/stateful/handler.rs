//! The handler, steered by the body of the request, and how often it ran for each call.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rr_core::{Code, Context, Delivery, Error, HandlerExt as _, Reason, Request, Response, Router};
use tokio::time::sleep;

use crate::world::ON_PURPOSE;

/// Number of behaviours of the handler.
pub(super) const BEHAVIOURS: u8 = 9;

/// Unit of the length of long replies.
const LONG_REPLY: usize = 4096;

/// Length of the head of a body: call, behaviour, argument.
const HEAD: usize = 4;

/// How often the handler was entered, by call.
#[derive(Clone, Default)]
pub(super) struct Runs(Arc<Mutex<Vec<u32>>>);

impl Runs {
    /// Registers the next call.
    pub(super) fn next(&self) -> u16 {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.push(0);
        (runs.len() - 1) as u16
    }

    pub(super) fn of(&self, call: u16) -> u32 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[usize::from(call)]
    }

    /// Asserts that the handler ran at most once for each call.
    pub(super) fn check(&self) {
        let runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(runs.iter().all(|&runs| runs <= 1), "a call ran twice: {runs:?}");
    }

    fn enter(&self, call: u16) {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runs) = runs.get_mut(usize::from(call)) {
            *runs += 1;
        }
    }
}

/// Writes the body of a request.
pub(super) fn body(call: u16, behaviour: u8, argument: u8, padding: usize) -> Vec<u8> {
    let [high, low] = call.to_be_bytes();
    let mut body = vec![high, low, behaviour, argument];
    body.resize(HEAD + padding, low);
    body
}

/// Returns the body of the reply to a request.
pub(super) fn reply(body: &[u8]) -> Vec<u8> {
    match body {
        [_, low, 5, argument, ..] => vec![*low; usize::from(*argument) * LONG_REPLY],
        _ => body.to_vec(),
    }
}

/// Returns the routes: a target for calls that may be repeated and one for the others.
pub(super) fn router(runs: &Runs) -> Router {
    let runs = runs.clone();
    let handler = move |ctx: Context, request: Request| respond(runs.clone(), ctx, request);
    Router::new().route("s.safe", handler.clone().safe()).route("s.any", handler)
}

async fn respond(runs: Runs, ctx: Context, request: Request) -> Result<Response, Error> {
    let [high, low, behaviour, argument, ..] = request.body[..] else {
        return Err(Error::new(Code::InvalidArgument, "a body too short"));
    };
    runs.enter(u16::from_be_bytes([high, low]));
    let time = Duration::from_millis(u64::from(argument));
    match behaviour {
        1 => sleep(time).await,
        2 => return Err(Error::new(Code::FailedPrecondition, "refused by the handler")),
        3 => std::panic::panic_any(ON_PURPOSE.to_owned()),
        4 => std::future::pending().await,
        6 => ctx.shield(sleep(time)).await,
        // A failure of a call further down, passed on.
        7 => return Err(downstream(Delivery::NotSent)),
        8 => return Err(downstream(Delivery::Rejected)),
        _ => {}
    }
    Ok(Response::new(reply(&request.body)))
}

fn downstream(delivery: Delivery) -> Error {
    Error::failure(Code::Unavailable, delivery, Reason::DRAINING, "a call further down failed")
}
