//! Request that waits for the answer of the test.

use std::fmt;

use rr_spi::{Context, Error, Request, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::failure::{MockFailure, Refusal};
use super::{json, report};

pub(super) type Outcome = Result<Response, Error>;

/// Request that waits for the answer of the test; see [`Mock::by_hand`](super::Mock::by_hand).
///
/// Dropped without an answer, it fails with the reason `mock-no-answer`. An answer to a caller that
/// has left is discarded.
pub struct MockRequest {
    request: Request,
    ctx: Context,
    /// `None` once there is an answer.
    caller: Option<oneshot::Sender<Outcome>>,
}

impl MockRequest {
    pub(super) fn new(request: Request, ctx: Context) -> (Self, oneshot::Receiver<Outcome>) {
        let (caller, outcome) = oneshot::channel();
        (Self { request, ctx, caller: Some(caller) }, outcome)
    }

    /// Returns the request.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Returns the context of the request: its deadline and metadata.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.ctx
    }

    /// Decodes the input.
    ///
    /// # Panics
    ///
    /// When the body cannot be decoded. [`Self::request`] has its bytes.
    #[track_caller]
    #[must_use]
    pub fn input<T: DeserializeOwned>(&self) -> T {
        json::input(&self.request)
    }

    /// Answers with a value, which is encoded as JSON.
    ///
    /// # Panics
    ///
    /// When the value cannot be encoded as JSON.
    #[track_caller]
    pub fn reply(mut self, value: impl Serialize) {
        match json::encode(&value) {
            Ok(response) => {
                let response = json::typed(response, &self.request);
                self.answer(Ok(response));
            }
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// Answers with a response: headers, and a body as bytes.
    pub fn reply_raw(mut self, response: Response) {
        self.answer(Ok(response));
    }

    /// Answers with an error, given as an [`Error`] or a [`Code`](rr_spi::Code). Its delivery is
    /// `Processed`.
    pub fn fail(mut self, error: impl MockFailure) {
        self.answer(Err(error.into_error()));
    }

    /// Waits until the caller of the request has left: it was cancelled, or its deadline passed.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    pub async fn caller_left(&mut self) {
        if let Some(caller) = &mut self.caller {
            caller.closed().await;
        }
    }

    fn answer(&mut self, outcome: Outcome) {
        if let Some(caller) = self.caller.take() {
            // Sending fails when the caller has left.
            let _ = caller.send(outcome);
        }
    }
}

impl Drop for MockRequest {
    fn drop(&mut self) {
        let text =
            || format!("the test dropped {} without an answer", report::shown(&self.request));
        if self.caller.is_some() {
            let error = Refusal::NoAnswer.error(text());
            self.answer(Err(error));
        }
    }
}

impl fmt::Debug for MockRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MockRequest({})", report::shown(&self.request))
    }
}
