//! Layers of tower as middleware, and the reverse.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

mod calls;
mod reverse;
mod routes;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_core::tower::CallRequest;
use rr_core::{
    Code, Context, Delivery, Error, Reason, Request, Requester, Responder, Response, async_trait,
};
use tokio::sync::Semaphore;
use tower::retry::Policy;

/// Requester and responder that counts its runs, and does what its script says.
#[derive(Clone, Default)]
struct Probe(Arc<Seen>);

#[derive(Default)]
struct Seen {
    runs: AtomicUsize,
    ended: AtomicUsize,
    /// Outcomes of the next runs; afterwards every run echoes.
    script: Mutex<VecDeque<Error>>,
    /// Permits to end for runs whose body is `hang`.
    released: Option<Semaphore>,
    headers: Mutex<Option<String>>,
}

struct Ended<'a>(&'a Seen);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

impl Probe {
    /// Makes a probe whose first runs fail.
    fn failing(errors: impl Into<VecDeque<Error>>) -> Self {
        Self(Arc::new(Seen { script: Mutex::new(errors.into()), ..Seen::default() }))
    }

    /// Makes a probe whose runs of `hang` wait until they are released.
    fn holding() -> Self {
        Self(Arc::new(Seen { released: Some(Semaphore::new(0)), ..Seen::default() }))
    }

    fn release(&self, runs: usize) {
        self.0.released.as_ref().unwrap().add_permits(runs);
    }

    fn runs(&self) -> usize {
        self.0.runs.load(Ordering::SeqCst)
    }

    fn ended(&self) -> usize {
        self.0.ended.load(Ordering::SeqCst)
    }

    async fn run(&self, request: Request) -> Result<Response, Error> {
        self.0.runs.fetch_add(1, Ordering::SeqCst);
        let _ended = Ended(&self.0);
        *self.0.headers.lock().unwrap() = request.headers.get("x-tag").map(str::to_owned);
        let scripted = self.0.script.lock().unwrap().pop_front();
        if let Some(error) = scripted {
            return Err(error);
        }
        if request.body == "hang" {
            match &self.0.released {
                Some(released) => released.acquire().await.unwrap().forget(),
                None => std::future::pending().await,
            }
        }
        Ok(Response::new(request.body))
    }
}

#[async_trait]
impl Requester for Probe {
    async fn request(&self, _: &Context, request: Request) -> Result<Response, Error> {
        self.run(request).await
    }
}

#[async_trait]
impl Responder for Probe {
    async fn respond(&self, _: &Context, request: Request) -> Result<Response, Error> {
        self.run(request).await
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn within(millis: u64) -> Context {
    Context::background().with_timeout(ms(millis))
}

fn request(body: &'static str) -> Request {
    Request::new("probe.run".try_into().unwrap(), body)
}

fn unavailable(delivery: Delivery) -> Error {
    Error::failure(Code::Unavailable, delivery, Reason::CONNECTION_LOST, "scripted").into_failure()
}

/// Code of the errors of tower's own layers.
fn code(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Code {
    match error {
        error if error.is::<tower::timeout::error::Elapsed>() => Code::DeadlineExceeded,
        error if error.is::<tower::load_shed::error::Overloaded>() => Code::ResourceExhausted,
        _ => Code::Unavailable,
    }
}

/// Returns code and delivery, which every error must have right.
fn told(error: &Error) -> (Code, Delivery) {
    (error.code(), error.delivery())
}

/// Lets other tasks run until they all wait.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Tries a call of rr again while it is unavailable, this many times.
#[derive(Clone)]
struct Again(usize);

impl<E> Policy<CallRequest, Response, E> for Again
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Future = std::future::Ready<()>;

    fn retry(
        &mut self,
        _: &mut CallRequest,
        outcome: &mut Result<Response, E>,
    ) -> Option<Self::Future> {
        if outcome.is_ok() || self.0 == 0 {
            return None;
        }
        self.0 -= 1;
        Some(std::future::ready(()))
    }

    fn clone_request(&mut self, request: &CallRequest) -> Option<CallRequest> {
        Some(request.clone())
    }
}
