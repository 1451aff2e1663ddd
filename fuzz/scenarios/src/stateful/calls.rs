//! Calls under way.

use std::sync::Arc;
use std::time::Duration;

use rr_core::{
    Context, Error, Idempotency, IdempotencyKey, Request, Requester, Response, Target,
    context::CancelHandle,
};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::handler::{BEHAVIOURS, body, reply};
use crate::input::Input;

/// Time of calls that have none of their own: the default of every transport.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// A call under way.
pub(super) struct Made {
    pub(super) task: JoinHandle<Ended>,
    handle: Option<CancelHandle>,
}

impl Made {
    pub(super) fn cancel(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.cancel();
        }
    }
}

/// A call that ended.
pub(super) struct Ended {
    pub(super) id: u16,
    pub(super) timeout: Duration,
    pub(super) took: Duration,
    pub(super) outcome: Result<Response, Error>,
    /// Body of the reply, if the handler answers.
    pub(super) expected: Vec<u8>,
}

/// Starts a call.
pub(super) fn make(input: &mut Input<'_>, requester: Arc<dyn Requester>, id: u16) -> Made {
    let behaviour = input.below(BEHAVIOURS);
    let padding = input.pick(&[0, 1, 200, 20_000, 100_000]);
    let body = body(id, behaviour, input.byte(), padding);
    let idempotency = match input.below(4) {
        0 | 1 => Idempotency::Unspecified,
        2 => Idempotency::Safe,
        _ => {
            let key = IdempotencyKey::new(&format!("key-{id}")).expect("a valid key");
            Idempotency::Keyed(key)
        }
    };
    let target = if idempotency == Idempotency::Safe { "s.safe" } else { "s.any" };
    let timeout = match input.below(4) {
        0 => None,
        _ => Some(input.millis()),
    };
    let (ctx, handle) = Context::background().child();
    let ctx = ctx.with_timeout(timeout.unwrap_or(TIMEOUT_DEFAULT));
    let target = Target::try_from(target).expect("a valid target");
    let expected = reply(&body);
    let request = Request::new(target, body).with_idempotency(idempotency);
    let task = tokio::spawn(async move {
        let begin = Instant::now();
        let outcome = requester.request(&ctx, request).await;
        let timeout = timeout.unwrap_or(TIMEOUT_DEFAULT);
        Ended { id, timeout, took: begin.elapsed(), outcome, expected }
    });
    Made { task, handle: Some(handle) }
}
