//! When a connection should be replaced while the server continues to serve.

use std::time::Duration;

use rr_spi::Entropy;

use super::stop::{Stop, Stopped};

/// Part of the maximum age by which the ages of connections differ: a tenth. Connections that were
/// opened simultaneously are then not replaced simultaneously.
const JITTER: u32 = 10;

/// Chooses the age at which a connection is replaced: 90 to 100 % of the maximum.
pub(super) fn age_limit(max: Duration, entropy: &dyn Entropy) -> Duration {
    let nanos = u64::try_from((max / JITTER).as_nanos()).unwrap_or(u64::MAX);
    let drawn = (u128::from(nanos) * u128::from(entropy.next_u64())) >> u64::BITS;
    max.saturating_sub(Duration::from_nanos(u64::try_from(drawn).unwrap_or(nanos)))
}

/// Retirement of one connection: because of its age, or because the server leaves soon.
///
/// A retired connection serves what it has received and what still comes. Its peer learns that it
/// should open another one: by `connection: close` in the next reply, or by GOAWAY.
#[derive(Clone, Copy)]
pub(super) struct Retirement {
    /// Whether the server was leaving when the connection was opened: replacing the connection
    /// would not bring its peer to another server.
    is_late: bool,
}

impl Retirement {
    pub(super) fn new(leaving: &Stop) -> Self {
        Self { is_late: leaving.is_stopped() }
    }

    /// Returns whether the server leaves, so that the next reply of HTTP/1.1 closes the connection.
    pub(super) fn is_due(self, leaving: &Stop) -> bool {
        !self.is_late && leaving.is_stopped()
    }

    /// Returns a future that ends when the server leaves; `None` if it was leaving before.
    pub(super) fn wait(self, leaving: &Stop) -> Option<Stopped<'_>> {
        (!self.is_late).then(|| leaving.wait())
    }
}

#[cfg(test)]
mod tests {
    use rr_spi::SeededEntropy;

    use super::*;

    #[test]
    fn the_age_limit_is_within_10_percent_of_the_maximum_and_differs() {
        let entropy = SeededEntropy::new(7);
        let max = Duration::from_secs(1000);
        let limits: Vec<_> = (0..1000).map(|_| age_limit(max, &entropy)).collect();
        let (least, most) = (*limits.iter().min().unwrap(), *limits.iter().max().unwrap());
        assert!(least >= Duration::from_secs(900) && least < Duration::from_secs(905), "{least:?}");
        assert!(most <= max && most > Duration::from_secs(995), "{most:?}");
        assert!(age_limit(Duration::MAX, &entropy) > Duration::MAX / 2);
        assert_eq!(age_limit(Duration::ZERO, &entropy), Duration::ZERO);
    }
}
