//! What is asked of us: ratios within one run, and budgets.

/// Ours over a peer's, in answered calls per second.
pub(crate) struct Ratio {
    pub(crate) ours: &'static str,
    pub(crate) theirs: &'static str,
    pub(crate) gate: f64,
    pub(crate) goal: f64,
}

impl Ratio {
    pub(crate) fn label(&self) -> String {
        format!("{} ÷ {}", self.ours, self.theirs)
    }
}

const fn ratio(ours: &'static str, theirs: &'static str, gate: f64, goal: f64) -> Ratio {
    Ratio { ours, theirs, gate, goal }
}

pub(crate) const RATIOS: [Ratio; 16] = [
    ratio("rr-http h1", "reqwest + axum h1", 1.3, 1.6),
    ratio("rr-http h1", "raw hyper h1", 0.90, 0.97),
    ratio("rr-http h1", "hyper-util + hyper h1", 1.0, 1.15),
    ratio("rr-http h2", "tonic", 1.3, 1.6),
    ratio("rr-http h1 in axum", "rr-http h1", 0.90, 1.0),
    ratio("rr-http h2 in axum", "rr-http h2", 0.90, 1.0),
    ratio("rr-http h1 in axum", "axum h1, called by rr", 0.90, 1.0),
    ratio("rr-http h2 in axum", "axum h2, called by rr", 0.90, 1.0),
    ratio("rr-http https h1", "reqwest + axum https", 1.3, 1.5),
    ratio("rr-http https h2", "tonic https", 1.3, 1.5),
    ratio("rr-nats deadline", "async-nats headers", 1.0, 1.15),
    ratio("rr-nats unbounded", "async-nats", 0.85, 0.95),
    ratio("rr-nats unbounded", "async-nats service", 1.0, 1.1),
    ratio("rr-nats deadline", "nats.go", 1.3, 1.6),
    ratio("rr memory", "mpsc + oneshot", 0.5, 0.75),
    ratio("rr memory", "tarpc channel", 4.0, 8.0),
];

/// Calls in flight where ratios are judged.
pub(crate) const CONCURRENCY: usize = 64;

/// Bytes of a body where ratios are judged.
pub(crate) const BODIES: [usize; 2] = [16, 64 * 1024];

/// What a budget is about.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Subject {
    /// Allocations per call of this peer.
    Allocations(&'static str),
    RecommendedNanos,
    OneMoreNanos,
    OneMoreAllocations,
    DeadlineNanos,
    DeadlineAllocations,
    /// Bytes held per call in flight over this URL, so many at once: what the defaults let through.
    Held(&'static str, usize),
}

/// At most this much.
pub(crate) struct Budget {
    pub(crate) label: &'static str,
    pub(crate) subject: Subject,
    pub(crate) gate: f64,
    pub(crate) goal: f64,
}

const fn budget(label: &'static str, subject: Subject, gate: f64, goal: f64) -> Budget {
    Budget { label, subject, gate, goal }
}

/// The URL of the broker, which is known when it runs.
pub(crate) const BROKER: &str = "nats";

const KIB: f64 = 1024.0;

pub(crate) const BUDGETS: [Budget; 13] = [
    budget("rr-http h1, allocations", Subject::Allocations("rr-http h1"), 28.0, 20.0),
    budget("rr-http h2, allocations", Subject::Allocations("rr-http h2"), 34.0, 28.0),
    budget("rr-nats, allocations", Subject::Allocations("rr-nats deadline"), 14.0, 11.0),
    budget("rr Local, allocations", Subject::Allocations("rr Local, empty stack"), 3.0, 2.0),
    budget("recommended stack, ns CPU", Subject::RecommendedNanos, 400.0, 250.0),
    budget("one more middleware, ns CPU", Subject::OneMoreNanos, 60.0, 35.0),
    budget("one more middleware, allocations", Subject::OneMoreAllocations, 1.0, 1.0),
    budget("deadline on a pending call, ns CPU", Subject::DeadlineNanos, 250.0, 180.0),
    budget("deadline on a pending call, allocations", Subject::DeadlineAllocations, 0.0, 0.0),
    budget("held per call, memory, B", Subject::Held("memory://held", 1000), 2.0 * KIB, 1.2 * KIB),
    budget("held per call, rr-nats, B", Subject::Held(BROKER, 1000), 6.0 * KIB, 4.5 * KIB),
    budget(
        "held per call, rr-http h2, B",
        Subject::Held("http://127.0.0.1:0?version=h2c", 750),
        14.0 * KIB,
        11.0 * KIB,
    ),
    budget(
        "held per call, rr-http h1, B",
        Subject::Held("http://127.0.0.1:0", 250),
        70.0 * KIB,
        60.0 * KIB,
    ),
];
