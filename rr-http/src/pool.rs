//! Connection pools of a requester: dialling, keeping and closing connections.

mod dialer;
mod h1;
mod h2;
mod negotiated;
mod runtimes;
mod tapped;
mod tunnel;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rr_spi::{Deadline, Entropy, OsEntropy, jittered};
use tokio::task::AbortHandle;
use tokio::time::Instant;

pub(crate) use dialer::Dialer;
pub(crate) use h1::{H1Connection, H1Pool, Message, Replied};
pub(crate) use h2::{H2Pool, Outgoing, OutgoingWatch};
#[cfg(feature = "tls")]
pub(crate) use negotiated::{BothPools, NegotiatedVersion, is_other_version};
pub(crate) use runtimes::Pools;
use runtimes::RuntimePool;

/// Task that is aborted when its pool is dropped.
#[derive(Debug, Default)]
struct Owned(Option<AbortHandle>);

impl Owned {
    fn is_running(&self) -> bool {
        self.0.as_ref().is_some_and(|task| !task.is_finished())
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Shortest pause between two checks, so that a tiny idle timeout does not spin.
const REAP_PAUSE_MIN: Duration = Duration::from_millis(10);

/// Longest pause between two checks, so that the time of the next check does not overflow.
const REAP_PAUSE_MAX: Duration = Duration::from_secs(60 * 60);

/// Returns the pause between two checks for expired connections.
fn pause(idle_timeout: Duration) -> Duration {
    (idle_timeout / 2).clamp(REAP_PAUSE_MIN, REAP_PAUSE_MAX)
}

/// Limit on the age of connections.
#[derive(Clone)]
struct AgeLimit {
    /// Zero for no limit.
    max: Duration,
    entropy: Arc<dyn Entropy>,
}

impl AgeLimit {
    fn new(max: Duration) -> Self {
        Self { max, entropy: Arc::new(OsEntropy::new()) }
    }

    /// Returns the instant from which a connection made now takes no more calls. The age is
    /// shortened by up to a tenth, so that connections made simultaneously are not replaced
    /// simultaneously.
    fn retires_at(&self) -> Option<Instant> {
        (!self.max.is_zero()).then(|| after(jittered(self.max, &*self.entropy)))
    }
}

impl fmt::Debug for AgeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgeLimit").field("max", &self.max).finish_non_exhaustive()
    }
}

/// Returns the instant `time` from now, or one 30 years away.
fn after(time: Duration) -> Instant {
    Deadline::after(time).instant()
}
