//! What was measured.

use rr_benches_peers::drive::Driven;
use rr_benches_peers::statistics::median;
use serde::Serialize;

use crate::cell::Place;
use crate::layers::Layers;
use crate::machine::Machine;

/// One peer under one load, round by round; `None` is a round that failed.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) peer: &'static str,
    pub(crate) rounds: Vec<Option<Driven>>,
}

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) family: &'static str,
    pub(crate) place: Place,
    pub(crate) rows: Vec<Row>,
}

/// Allocations of one peer.
#[derive(Debug, Serialize)]
pub(crate) struct Count {
    pub(crate) peer: &'static str,
    pub(crate) place: Place,
    pub(crate) allocations: f64,
    pub(crate) bytes: f64,
}

#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) seconds: f64,
    pub(crate) groups: Vec<Group>,
    pub(crate) counts: Vec<Count>,
    pub(crate) layers: Option<Layers>,
    /// Bytes held per call in flight, by URL.
    pub(crate) held: Vec<(&'static str, f64)>,
    /// An allocation and its release: not counted, counted, with the system's allocator.
    pub(crate) allocator_nanos: Option<[f64; 3]>,
    /// What could not be measured, and why.
    pub(crate) complaints: Vec<String>,
}

/// The middle of all rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) calls_per_second: f64,
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
    pub(crate) p999_micros: f64,
    /// Seconds of CPU per million calls, client and server.
    pub(crate) cpu: f64,
    /// The same of the broker.
    pub(crate) broker_cpu: f64,
    pub(crate) peak_mib: f64,
}

impl Row {
    pub(crate) fn summary(&self) -> Summary {
        let middle = |pick: fn(&Driven) -> f64| {
            median(&self.rounds.iter().flatten().map(pick).collect::<Vec<_>>())
        };
        Summary {
            calls_per_second: middle(rate),
            p50_micros: middle(|driven| driven.p50 / 1e3),
            p99_micros: middle(|driven| driven.p99 / 1e3),
            p999_micros: middle(|driven| driven.p999 / 1e3),
            cpu: middle(cpu),
            broker_cpu: middle(|driven| driven.broker_cpu as f64 / driven.calls as f64 / 1e3),
            peak_mib: middle(|driven| driven.peak as f64 / f64::from(1 << 20)),
        }
    }
}

/// Answered calls per second.
pub(crate) fn rate(driven: &Driven) -> f64 {
    driven.calls as f64 / driven.seconds
}

/// Seconds of CPU per million calls, client and server.
pub(crate) fn cpu(driven: &Driven) -> f64 {
    driven.cpu as f64 / driven.calls as f64 / 1e3
}
