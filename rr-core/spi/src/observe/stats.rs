//! Counts of one end, for the application to read.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::error::Code;

/// Counts of one end since it was made: a requester, which counts its attempts, or a server, which
/// counts its requests.
///
/// All transports count the same. `started` is the sum of `in_flight`, `succeeded` and `failed`. The
/// counts are read one after the other, so an operation that ends meanwhile may be in some of them
/// only.
///
/// # Examples
///
/// ```
/// # mod rr_core { pub use rr_spi::*; }
/// use rr_core::Code;
/// use rr_core::observe::Stats;
///
/// fn line(stats: &Stats) -> String {
///     let expired = stats.failed_with(Code::DeadlineExceeded);
///     format!("{} in flight, {} of {} expired", stats.in_flight, expired, stats.started)
/// }
/// # assert_eq!(line(&Stats::default()), "0 in flight, 0 of 0 expired");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Operations that have started and not ended.
    pub in_flight: u64,
    /// Operations that have started.
    pub started: u64,
    /// Operations that ended with a response.
    pub succeeded: u64,
    /// Operations that ended with an error; [`Stats::failures`] has them by code. An operation whose
    /// caller went away failed with [`Code::Canceled`].
    pub failed: u64,
    /// Failed operations whose error states that no handler ran: not sent, or rejected.
    pub not_run: u64,
    /// Attempts that followed a failed one of the same call; 0 at a server.
    pub retries: u64,
    /// Replies that arrived after their call had ended; 0 at a server.
    pub late_replies: u64,
    /// Lasting connections that were lost, such as those to a NATS server.
    pub disconnects: u64,
    /// Lasting connections that are back.
    pub reconnects: u64,
    /// Connections that were refused during their handshake; 0 at a requester.
    pub handshakes_refused: u64,
    /// Failed operations by code, in the order of [`Code::ALL`].
    #[serde(rename = "failures", serialize_with = "by_code")]
    pub(super) failed_by_code: [u64; Code::ALL.len()],
    /// The transport's own figures by name, such as the number of open connections.
    #[serde(serialize_with = "by_name")]
    pub transport: Vec<(&'static str, u64)>,
}

impl Stats {
    /// Returns the number of failed operations with this code.
    #[must_use]
    pub fn failed_with(&self, code: Code) -> u64 {
        self.failures().find(|(of, _)| *of == code).map_or(0, |(_, count)| count)
    }

    /// Returns the codes with which operations failed, and how many did.
    pub fn failures(&self) -> impl Iterator<Item = (Code, u64)> + '_ {
        Code::ALL.into_iter().zip(self.failed_by_code).filter(|(_, count)| *count > 0)
    }

    /// Returns the counts that are not zero, by name, apart from those of all operations: `not_run` to
    /// `handshakes_refused`, then the figures of the transport.
    pub fn others(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = [
            ("not_run", self.not_run),
            ("retries", self.retries),
            ("late_replies", self.late_replies),
            ("disconnects", self.disconnects),
            ("reconnects", self.reconnects),
            ("handshakes_refused", self.handshakes_refused),
        ];
        counts.into_iter().chain(self.transport.iter().copied()).filter(|(_, count)| *count > 0)
    }

    /// Returns a figure of the transport; `None` if this transport does not have it.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<u64> {
        self.transport.iter().find(|(of, _)| *of == name).map(|(_, value)| *value)
    }

    /// Adds a figure of the transport; figures of the same name are summed. For transports.
    #[must_use]
    pub fn with_figure(mut self, name: &'static str, value: u64) -> Self {
        self.add_figure(name, value);
        self
    }

    /// Adds the counts of another end, such as those of several hosts behind one URL.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        self.in_flight += other.in_flight;
        self.started += other.started;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.not_run += other.not_run;
        self.retries += other.retries;
        self.late_replies += other.late_replies;
        self.disconnects += other.disconnects;
        self.reconnects += other.reconnects;
        self.handshakes_refused += other.handshakes_refused;
        for (sum, count) in self.failed_by_code.iter_mut().zip(other.failed_by_code) {
            *sum += count;
        }
        for (name, value) in &other.transport {
            self.add_figure(name, *value);
        }
        self
    }

    fn add_figure(&mut self, name: &'static str, value: u64) {
        match self.transport.iter_mut().find(|(of, _)| *of == name) {
            Some((_, sum)) => *sum += value,
            None => self.transport.push((name, value)),
        }
    }
}

/// Writes the counts in a line, without those that are zero.
impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} started, {} in flight", self.started, self.in_flight)?;
        write!(f, ", {} succeeded, {} failed", self.succeeded, self.failed)?;
        let mut separator = " (";
        for (code, count) in self.failures() {
            write!(f, "{separator}{count} {}", code.as_str())?;
            separator = ", ";
        }
        if self.failed > 0 {
            f.write_str(")")?;
        }
        for (name, count) in self.others() {
            write!(f, ", {count} {}", name.replace('_', " "))?;
        }
        Ok(())
    }
}

fn by_code<S: Serializer>(counts: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
    let failures = Code::ALL.into_iter().zip(counts).filter(|(_, count)| **count > 0);
    serializer.collect_map(failures.map(|(code, count)| (code.as_str(), count)))
}

fn by_name<S: Serializer>(figures: &[(&str, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(figures.iter().copied())
}
