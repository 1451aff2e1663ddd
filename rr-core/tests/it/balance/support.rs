//! Hosts that behave as they are told.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_core::balance::{Balance, BalanceConfig, Endpoint};
use rr_core::transport::{Attempt, SeededEntropy};
use rr_core::{
    Code, Context, Delivery, Error, Reason, Request, Requester, Response, async_trait, defaults,
};
use tokio::time::sleep;

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What a host does with a call.
#[derive(Clone, Debug)]
pub(crate) enum Does {
    Answers(Duration),
    Fails(Error),
    /// Fails after a time.
    FailsLate(Duration, Error),
    /// Never answers a request that has left.
    Hangs,
    /// Packets are swallowed: connecting never completes.
    Swallows,
}

/// A host, and how often it was called.
pub(crate) struct Host {
    does: Mutex<Does>,
    calls: AtomicUsize,
}

impl Host {
    pub(crate) fn new(does: Does) -> Arc<Self> {
        Arc::new(Self { does: Mutex::new(does), calls: AtomicUsize::new(0) })
    }

    pub(crate) fn fast() -> Arc<Self> {
        Self::new(Does::Answers(ms(5)))
    }

    pub(crate) fn failing(error: Error) -> Arc<Self> {
        Self::new(Does::Fails(error))
    }

    pub(crate) fn now_does(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Requester for Host {
    async fn request(&self, ctx: &Context, _: Request) -> Result<Response, Error> {
        let attempt = Attempt::start(ctx, defaults::CLIENT_TIMEOUT)?;
        self.calls.fetch_add(1, Ordering::Relaxed);
        let does = self.does.lock().unwrap().clone();
        if !matches!(does, Does::Swallows) {
            attempt.sent();
        }
        let outcome = attempt.run(async {
            match does {
                Does::Answers(after) => {
                    sleep(after).await;
                    Ok(Response::new("done"))
                }
                Does::Fails(error) => Err(error),
                Does::FailsLate(after, error) => {
                    sleep(after).await;
                    Err(error)
                }
                Does::Hangs | Does::Swallows => pending().await,
            }
        });
        outcome.await
    }
}

/// Makes a balance over hosts that are called `0`, `1`, `2` and so on.
pub(crate) fn balance(hosts: &[Arc<Host>], config: BalanceConfig) -> Balance {
    let named = hosts.iter().enumerate();
    let endpoints = named.map(|(at, host)| Endpoint::new(at.to_string(), Arc::clone(host)));
    Balance::with_config(endpoints, config).unwrap().with_entropy(SeededEntropy::new(1))
}

pub(crate) fn request() -> Request {
    Request::new("orders.place".try_into().unwrap(), "body")
}

pub(crate) fn within(millis: u64) -> Context {
    Context::background().with_timeout(ms(millis))
}

pub(crate) fn refused() -> Error {
    unavailable(Delivery::NotSent, Reason::CONNECT_FAILED)
}

pub(crate) fn draining() -> Error {
    unavailable(Delivery::Rejected, Reason::DRAINING)
}

pub(crate) fn unavailable(delivery: Delivery, reason: Reason) -> Error {
    Error::failure(Code::Unavailable, delivery, reason, "as told")
}

pub(crate) fn full() -> Error {
    let reason = Reason::OVERLOADED;
    Error::failure(Code::ResourceExhausted, Delivery::Rejected, reason, "full")
}
