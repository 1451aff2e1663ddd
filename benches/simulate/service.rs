//! Replicas of a service: workers, a queue before them, and conditions that change.

use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_core::transport::{Entropy as _, SeededEntropy};
use rr_core::{Code, Context, Error, Request, Responder, Response, async_trait};
use tokio::sync::Semaphore;
use tokio::time::sleep;

/// Workers of a replica.
pub(crate) const WORKERS: usize = 32;

/// Time of the work of one call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Work {
    /// 50 ms in the mean, exponentially distributed: 640 calls per second.
    Exponential,
    /// The same, after 50 ms in the mean that need no worker.
    Behind,
    /// 5 ms for 90 % of the calls, and 200 ms for the others.
    Mixed,
}

impl Work {
    /// Returns the mean time of a worker.
    pub(crate) const fn mean(self) -> Duration {
        match self {
            Self::Exponential | Self::Behind => Duration::from_millis(50),
            Self::Mixed => Duration::from_micros(24_500),
        }
    }

    /// Draws the time of a worker.
    fn draw(self, entropy: &SeededEntropy) -> Duration {
        match self {
            Self::Exponential | Self::Behind => exponential(entropy, self.mean()),
            Self::Mixed if entropy.next_u64().is_multiple_of(10) => Duration::from_millis(200),
            Self::Mixed => Duration::from_millis(5),
        }
    }
}

/// Condition of a replica.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Condition {
    Healthy,
    /// Each piece of work takes so many times longer.
    Slow(f64),
    /// Requests are never answered.
    BlackHole,
    /// Every request fails.
    Dead,
}

/// Replica with a number of workers. A request waits for a worker; the work itself does not stop
/// when its caller goes away, as that of a database does not.
#[derive(Clone)]
pub(crate) struct Replica(Arc<Inner>);

struct Inner {
    workers: Arc<Semaphore>,
    work: Work,
    condition: Mutex<Condition>,
    runs: AtomicU64,
    entropy: SeededEntropy,
}

impl Replica {
    pub(crate) fn new(seed: u64, work: Work) -> Self {
        Self(Arc::new(Inner {
            workers: Arc::new(Semaphore::new(WORKERS)),
            work,
            condition: Mutex::new(Condition::Healthy),
            runs: AtomicU64::new(0),
            entropy: SeededEntropy::new(seed),
        }))
    }

    pub(crate) fn set(&self, condition: Condition) {
        *self.0.condition.lock().expect("no panic while it is held") = condition;
    }

    /// Returns the number of requests that have reached the handler.
    pub(crate) fn runs(&self) -> u64 {
        self.0.runs.load(Ordering::Relaxed)
    }

    fn condition(&self) -> Condition {
        *self.0.condition.lock().expect("no panic while it is held")
    }
}

/// Draws an exponentially distributed time.
pub(crate) fn exponential(entropy: &SeededEntropy, mean: Duration) -> Duration {
    let uniform = (entropy.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    mean.mul_f64(-(1.0 - uniform).ln())
}

#[async_trait]
impl Responder for Replica {
    async fn respond(&self, _: &Context, _: Request) -> Result<Response, Error> {
        self.0.runs.fetch_add(1, Ordering::Relaxed);
        let factor = match self.condition() {
            Condition::Healthy => 1.0,
            Condition::Slow(factor) => factor,
            Condition::BlackHole => pending().await,
            Condition::Dead => return Err(Error::new(Code::Unavailable, "out of order")),
        };
        if self.0.work == Work::Behind {
            sleep(exponential(&self.0.entropy, self.0.work.mean())).await;
        }
        let worker = Arc::clone(&self.0.workers).acquire_owned().await;
        let took = self.0.work.draw(&self.0.entropy).mul_f64(factor);
        let work = tokio::spawn(async move {
            sleep(took).await;
            drop(worker);
        });
        let _ = work.await;
        Ok(Response::new(""))
    }
}
