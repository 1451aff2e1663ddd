//! One cell: one peer under one load, in a process of its own.

use std::fmt;
use std::time::Duration;

use rr_benches_peers::drive::Load;
use rr_benches_peers::{Family, Peer};
use serde::{Deserialize, Serialize};

/// What all peers of a group are put under.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Place {
    pub(crate) body_bytes: usize,
    pub(crate) concurrency: usize,
    /// Whether the server is a process of its own.
    pub(crate) split: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.split { "split" } else { "same process" };
        let body = match self.body_bytes {
            kib if kib % 1024 == 0 => format!("{} KiB", kib / 1024),
            bytes => format!("{bytes} B"),
        };
        write!(f, "{body}, c {}, {place}", self.concurrency)
    }
}

/// What a child is told, as JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Task {
    /// A peer under a load; answers with `Driven`.
    Load(Cell),
    /// Layers around a requester; answers with `Layers`.
    Layers { calls: u64, rounds: usize },
    /// Calls that wait for their handler; answers with bytes held by each.
    Held { url: String, calls: usize },
    /// Connections that do nothing; answers with `Idle`.
    Idle { peer: String, broker: String, connections: usize },
    /// Calls that wait, and what others cost meanwhile; answers with `Parked`.
    Parked { url: String, calls: usize },
    /// Calls that all start simultaneously; answers with `Burst`.
    Burst { url: String, calls: usize },
    /// What the counting allocator adds while it does not count; answers with nanoseconds.
    AllocatorCost,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Cell {
    pub(crate) peer: String,
    pub(crate) place: Place,
    pub(crate) warm_up: Duration,
    pub(crate) span: Duration,
    /// Whether allocations are counted, which costs time.
    pub(crate) counts: bool,
    /// The broker's URL and process, where there is one.
    pub(crate) broker: Option<(String, u32)>,
}

impl Cell {
    pub(crate) fn load(&self, peer: &Peer, server: Option<u32>) -> Load {
        Load {
            body_bytes: self.place.body_bytes,
            concurrency: self.place.concurrency,
            warm_up: self.warm_up,
            span: self.span,
            stride: if peer.family == Family::Memory { 16 } else { 1 },
            server,
            broker: self.broker.as_ref().map(|(_, process)| *process),
        }
    }

    pub(crate) fn broker_url(&self) -> String {
        self.broker.as_ref().map(|(url, _)| url.clone()).unwrap_or_default()
    }
}
