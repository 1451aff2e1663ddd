//! Closed loops: each worker makes its next call when its last one was answered.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::{Histogram, counting, process};

/// One side of an echo. Cloned for each worker.
pub trait Client: Clone + Send + Sync + 'static {
    /// Sends these bytes and waits until as many came back; panics when they do not.
    fn call(&self, body: Bytes) -> impl Future<Output = ()> + Send;
}

/// How hard, how long.
#[derive(Clone, Debug)]
pub struct Load {
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Calls in flight at any time.
    pub concurrency: usize,
    /// What comes before and is not counted: pools fill, tables grow.
    pub warm_up: Duration,
    /// What is counted.
    pub span: Duration,
    /// One call of so many reads the clock. Where a call takes less than a microsecond, reading
    /// it twice a call would be a good part of what is measured.
    pub stride: u32,
    /// The process that serves, where it is another.
    pub server: Option<u32>,
    /// The broker's process.
    pub broker: Option<u32>,
}

/// How it went.
#[derive(Clone, Debug, Default, serde::Deserialize, serde::Serialize)]
pub struct Driven {
    /// Calls answered within the span.
    pub calls: u64,
    /// Seconds that it took in fact.
    pub seconds: f64,
    /// Nanoseconds within which half of the calls were answered.
    pub p50: f64,
    /// Nanoseconds within which 99 of 100 were.
    pub p99: f64,
    /// Nanoseconds within which 999 of 1000 were.
    pub p999: f64,
    /// Nanoseconds of CPU of the client and the server.
    pub cpu: u64,
    /// Nanoseconds of CPU of the broker.
    pub broker_cpu: u64,
    /// Allocations of this process, where it counts them.
    pub allocations: u64,
    /// Bytes allocated.
    pub allocated: u64,
    /// Bytes that this process and the server have had at most, together.
    pub peak: u64,
}

/// What one worker has done so far, on a cache line of its own.
#[derive(Default)]
#[repr(align(128))]
struct Lane(AtomicU64);

/// Puts the load on a client, and tells how it went.
///
/// # Panics
///
/// When a call is not answered.
pub async fn drive(client: impl Client, load: &Load) -> Driven {
    let body = Bytes::from(vec![7; load.body_bytes]);
    let start = Instant::now() + load.warm_up;
    let end = start + load.span;
    let mut workers = Vec::new();
    let mut lanes = Vec::new();
    for _ in 0..load.concurrency {
        let lane = Arc::new(Lane::default());
        lanes.push(Arc::clone(&lane));
        workers.push(tokio::spawn(work(
            client.clone(),
            body.clone(),
            load.stride,
            lane,
            start,
            end,
        )));
    }
    let (before, after) = sample(lanes, load.clone(), start, end).await;
    let mut latencies = Histogram::default();
    for worker in workers {
        latencies.add(&worker.await.expect("every call is answered"));
    }
    Driven {
        calls: after.calls - before.calls,
        seconds: (after.at - before.at).as_secs_f64(),
        p50: latencies.quantile(0.5),
        p99: latencies.quantile(0.99),
        p999: latencies.quantile(0.999),
        cpu: after.cpu - before.cpu,
        broker_cpu: after.broker_cpu - before.broker_cpu,
        allocations: after.allocations - before.allocations,
        allocated: after.allocated - before.allocated,
        peak: process::peak_bytes(std::process::id()) + load.server.map_or(0, process::peak_bytes),
    }
}

/// Looks at the counters at two moments, from a thread of its own: workers that never wait leave
/// the runtime no time for its timers.
async fn sample(
    lanes: Vec<Arc<Lane>>,
    load: Load,
    start: Instant,
    end: Instant,
) -> (Sample, Sample) {
    let until = |moment: Instant| {
        while let Some(left) = moment.checked_duration_since(Instant::now()) {
            if left.is_zero() {
                break;
            }
            std::thread::park_timeout(left);
        }
    };
    let sampling = tokio::task::spawn_blocking(move || {
        until(start);
        let before = Sample::take(&lanes, &load);
        until(end);
        (before, Sample::take(&lanes, &load))
    });
    sampling.await.expect("counters can be read")
}

async fn work(
    client: impl Client,
    body: Bytes,
    stride: u32,
    lane: Arc<Lane>,
    start: Instant,
    end: Instant,
) -> Histogram {
    let mut latencies = Histogram::default();
    let mut calls = 0;
    let mut now = Instant::now();
    while now < end {
        // Timed: its end is the beginning of the next where every call is.
        let began = if stride == 1 { now } else { Instant::now() };
        client.call(body.clone()).await;
        now = Instant::now();
        if now >= start {
            latencies.record((now - began).as_nanos() as u64);
        }
        for _ in 1..stride {
            client.call(body.clone()).await;
        }
        calls += u64::from(stride);
        // Nobody else writes it.
        lane.0.store(calls, Ordering::Relaxed);
    }
    latencies
}

/// The counters at one moment.
struct Sample {
    at: Instant,
    calls: u64,
    cpu: u64,
    broker_cpu: u64,
    allocations: u64,
    allocated: u64,
}

impl Sample {
    fn take(lanes: &[Arc<Lane>], load: &Load) -> Self {
        Self {
            at: Instant::now(),
            calls: lanes.iter().map(|lane| lane.0.load(Ordering::Relaxed)).sum(),
            cpu: process::own_cpu_nanos() + load.server.map_or(0, process::cpu_nanos),
            broker_cpu: load.broker.map_or(0, process::cpu_nanos),
            allocations: counting::allocations(),
            allocated: counting::allocated_bytes(),
        }
    }
}
