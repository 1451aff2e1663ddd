//! Operations in flight.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rr_spi::observe::{Kind, Start};
use rr_spi::{Context, Peer, Progress, Target, excerpt};
use serde::Serialize;
use tokio::time::Instant;

use super::{TARGET_CHARS_MAX, kind_name, target_name};
use crate::observe::shown::{millis, request_id, retries};

/// Number of parts of the register. Threads that are less than this many do not share a lock.
const SHARDS: usize = 16;

/// Largest number of operations that are shown: more than a person reads.
pub(super) const SHOWN_MAX: usize = 200;

/// Operation in flight.
pub(super) struct Operation {
    pub(super) kind: Kind,
    target: Option<Target>,
    /// The route, unless it is the target.
    route: Option<Box<str>>,
    context: Context,
    peer: Option<SocketAddr>,
    began: Instant,
    /// The stage of a call or an attempt.
    progress: Option<Progress>,
    /// Whether the handler of a request was entered.
    is_entered: AtomicBool,
}

impl Operation {
    pub(super) fn new(start: &Start<'_>) -> Self {
        let route = start.route.filter(|route| start.target.map(Target::as_str) != Some(*route));
        Self {
            kind: start.kind,
            target: start.target.cloned(),
            route: route.map(Box::from),
            context: start.context.clone(),
            peer: start.peer.and_then(Peer::address),
            began: Instant::now(),
            progress: start.progress.cloned(),
            is_entered: AtomicBool::new(false),
        }
    }

    /// Records that the operation is polled: the handler of a request was entered.
    pub(super) fn enter(&self) {
        self.is_entered.store(true, Ordering::Relaxed);
    }

    fn stage(&self) -> &'static str {
        match &self.progress {
            Some(progress) => progress.stage().describe(),
            None if self.is_entered.load(Ordering::Relaxed) => "in the handler",
            None => "before the handler",
        }
    }

    fn shown(&self) -> Shown {
        let context = &self.context;
        Shown {
            kind: kind_name(self.kind),
            target: target_name(self.target.as_ref()),
            route: self.route.as_deref().map(|route| excerpt(route, TARGET_CHARS_MAX)),
            stage: self.stage(),
            age_ms: millis(self.began.elapsed()),
            deadline_in_ms: context.remaining().map(millis),
            retries: retries(self.kind, context),
            request_id: request_id(context),
            peer: self.peer.map(|peer| peer.to_string()),
        }
    }
}

/// Operation as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    pub(super) kind: &'static str,
    pub(super) target: String,
    pub(super) route: Option<String>,
    pub(super) stage: &'static str,
    pub(super) age_ms: f64,
    pub(super) deadline_in_ms: Option<f64>,
    pub(super) retries: u32,
    pub(super) request_id: Option<String>,
    pub(super) peer: Option<String>,
}

/// Operations in flight as they are shown, oldest first.
#[derive(Debug, Serialize)]
pub(super) struct InFlightReport {
    pub(super) requests: usize,
    pub(super) calls: usize,
    pub(super) attempts: usize,
    /// The number of operations that are not in the list.
    pub(super) left_out: usize,
    pub(super) operations: Vec<Shown>,
}

/// Register of the operations in flight.
#[derive(Default)]
pub(super) struct InFlight {
    shards: [Shard; SHARDS],
}

/// Aligned, so that no two locks share a cache line.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    /// The key of the next operation: keys ascend with the time of the start.
    next: u64,
    operations: BTreeMap<u64, Arc<Operation>>,
    counts: Counts,
}

/// Numbers of operations in flight, of each kind.
#[derive(Clone, Copy, Default)]
struct Counts {
    requests: usize,
    calls: usize,
    attempts: usize,
}

impl Counts {
    fn of(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::ServerRequest => &mut self.requests,
            Kind::ClientCall => &mut self.calls,
            _ => &mut self.attempts,
        }
    }
}

/// Place of an operation in the register.
#[derive(Clone, Copy)]
pub(super) struct Place {
    shard: usize,
    key: u64,
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InFlight {
    pub(super) fn add(&self, operation: &Arc<Operation>) -> Place {
        let shard = shard_of_thread();
        let mut entries = self.shards[shard].lock();
        let key = entries.next;
        entries.next += 1;
        *entries.counts.of(operation.kind) += 1;
        // What tracks the operation keeps it until its end, so that an entry costs a pointer.
        entries.operations.insert(key, Arc::clone(operation));
        Place { shard, key }
    }

    pub(super) fn remove(&self, kind: Kind, Place { shard, key }: Place) {
        let mut entries = self.shards[shard].lock();
        *entries.counts.of(kind) -= 1;
        let removed = entries.operations.remove(&key);
        // The context of the operation is dropped without the lock.
        drop(entries);
        drop(removed);
    }

    /// Returns the counts and the oldest operations.
    pub(super) fn report(&self) -> InFlightReport {
        let (mut counts, mut oldest) = (Counts::default(), Vec::new());
        for shard in &self.shards {
            let entries = shard.lock();
            counts.requests += entries.counts.requests;
            counts.calls += entries.counts.calls;
            counts.attempts += entries.counts.attempts;
            oldest.extend(entries.operations.values().take(SHOWN_MAX).cloned());
        }
        oldest.sort_by_key(|operation| operation.began);
        oldest.truncate(SHOWN_MAX);
        let Counts { requests, calls, attempts } = counts;
        InFlightReport {
            requests,
            calls,
            attempts,
            left_out: (requests + calls + attempts).saturating_sub(oldest.len()),
            operations: oldest.iter().map(|operation| operation.shown()).collect(),
        }
    }
}

/// Returns the part of the register that this thread uses.
fn shard_of_thread() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: usize = THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    SHARD.with(|shard| *shard)
}
