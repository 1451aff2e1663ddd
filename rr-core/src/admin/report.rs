//! Content of the page, as JSON.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rr_spi::{Code, Error, Response};
use serde::{Serialize, Serializer};
use tokio::time::Instant;

use super::State;
use super::failures::Failure;
use super::in_flight::InFlightReport;
use super::watched::{ClientReport, ServerReport, Watched};
use crate::observe::shown::millis;

/// Content of the page.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) version: &'static str,
    /// `serving`, `draining`, `drained` or `unknown`.
    pub(super) phase: &'static str,
    pub(super) uptime_ms: f64,
    pub(super) now_unix_ms: u64,
    pub(super) in_flight: InFlightReport,
    /// The number of all failures.
    pub(super) failures: u64,
    /// The last failures, newest first.
    pub(super) last_failures: Vec<PastFailure>,
    pub(super) servers: Vec<ServerReport>,
    pub(super) clients: Vec<ClientReport>,
}

/// Failure, with the time since.
#[derive(Debug, Serialize)]
pub(super) struct PastFailure {
    pub(super) ago_ms: f64,
    pub(super) at_unix_ms: u64,
    #[serde(flatten, serialize_with = "pointed_to")]
    pub(super) failure: Arc<Failure>,
}

fn pointed_to<S: Serializer>(failure: &Arc<Failure>, serializer: S) -> Result<S::Ok, S::Error> {
    (**failure).serialize(serializer)
}

impl State {
    pub(super) fn report(&self, watched: &Watched) -> Report {
        let (now, wall) = (Instant::now(), wall_clock());
        let (failures, last) = self.failures.last();
        let past = |failure: Arc<Failure>| {
            let ago = now.saturating_duration_since(failure.at);
            let at_unix_ms = unix_ms(wall.saturating_sub(ago));
            PastFailure { ago_ms: millis(ago), at_unix_ms, failure }
        };
        let servers = watched.servers();
        Report {
            version: env!("CARGO_PKG_VERSION"),
            phase: self.phase(watched.has_servers(), &servers),
            uptime_ms: millis(now.saturating_duration_since(self.began)),
            now_unix_ms: unix_ms(wall),
            in_flight: self.in_flight.report(),
            failures,
            last_failures: last.into_iter().map(past).collect(),
            servers,
            clients: watched.clients(),
        }
    }

    /// Returns what the servers do that are watched and not gone. Without a server to watch, the counts
    /// of drains tell of some servers and not of how many others run.
    fn phase(&self, has_watched: bool, servers: &[ServerReport]) -> &'static str {
        if servers.iter().any(|server| !server.is_draining) {
            return "serving";
        }
        let ended = self.drains_ended.load(Ordering::Relaxed);
        let started = self.drains_started.load(Ordering::Relaxed);
        if ended < started || servers.iter().any(|server| server.stats.in_flight > 0) {
            return "draining";
        }
        match started {
            _ if has_watched => "drained",
            0 => "serving",
            _ => "unknown",
        }
    }
}

impl Report {
    /// Returns the document.
    pub(super) fn response(&self) -> Result<Response, Error> {
        let body = serde_json::to_vec(self).map_err(|error| {
            Error::new(Code::Internal, "the report has no encoding").with_source(error)
        })?;
        let mut response = Response::new(body);
        response.headers.insert("content-type", "application/json")?;
        response.headers.insert("cache-control", "no-store")?;
        response.headers.insert("cross-origin-resource-policy", "same-origin")?;
        response.headers.insert("vary", "accept")?;
        response.headers.insert("x-content-type-options", "nosniff")?;
        Ok(response)
    }
}

/// Returns the time since the epoch, so that a reader finds a failure in a log. Nothing depends on it.
#[allow(clippy::disallowed_methods, reason = "shown to people, never used for a decision")]
fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn unix_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
