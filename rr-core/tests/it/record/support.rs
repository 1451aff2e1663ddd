//! A file in memory, prepared outcomes, and their comparison.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use rr_core::record::{Recorder, RecorderConfig, Redaction};
use rr_core::{
    Context, Error, Idempotency, IdempotencyKey, Request, Requester, Response, Stack, async_trait,
};

pub(super) type Outcome = Result<Response, Error>;

/// File in memory.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Requester that returns prepared outcomes in turn.
pub(super) struct Prepared(Mutex<VecDeque<Outcome>>);

impl Prepared {
    pub(super) fn new(outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        Self(Mutex::new(outcomes.into_iter().collect()))
    }
}

#[async_trait]
impl Requester for Prepared {
    async fn request(&self, _: &Context, _: Request) -> Outcome {
        self.0.lock().unwrap().pop_front().unwrap()
    }
}

/// Requester that answers with the body of the request.
pub(super) struct Echo;

#[async_trait]
impl Requester for Echo {
    async fn request(&self, _: &Context, request: Request) -> Outcome {
        Ok(Response::new(request.body))
    }
}

/// Configuration that hides nothing.
pub(super) fn open() -> RecorderConfig {
    RecorderConfig::default().with_redaction(Redaction::default().with_every_header())
}

/// Records calls with prepared outcomes.
pub(super) async fn record(
    config: RecorderConfig,
    calls: impl IntoIterator<Item = (Request, Outcome)>,
) -> Memory {
    let file = Memory::default();
    let recorder = Recorder::new(file.clone(), config).unwrap();
    let (requests, outcomes): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
    let client = Stack::new(Prepared::new(outcomes)).with(recorder.clone());
    for request in requests {
        let _ = client.request(&Context::background(), request).await;
    }
    recorder.flush().await.unwrap();
    file
}

pub(super) fn request(target: &str, body: impl Into<rr_core::Bytes>) -> Request {
    Request::new(target.try_into().unwrap(), body)
}

pub(super) fn keyed(key: &str) -> Idempotency {
    Idempotency::Keyed(IdempotencyKey::new(key).unwrap())
}

/// Returns every part of an outcome.
pub(super) fn parts(outcome: &Outcome) -> String {
    match outcome {
        Ok(response) => format!("{:?} {:?}", response, response.dedup()),
        Err(error) => format!(
            "{:?}",
            (
                (error.code(), error.reason(), error.delivery(), error.origin()),
                (error.message(), error.hint(), error.retry(), error.dedup()),
                (error.details(), error.headers(), error.attempts(), error.timeline()),
                error.account().to_string(),
            )
        ),
    }
}
