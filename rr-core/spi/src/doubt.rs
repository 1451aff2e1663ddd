//! Decides when a multiplexed connection that has gone silent is taken out of use.

use std::sync::atomic::{AtomicU64, Ordering};

/// Doubt about one multiplexed connection: whether its peer still answers.
///
/// A connection comes into doubt when a call expires and nothing was received since the call was
/// sent. A transport then sends a probe (an HTTP/2 `PING`, a NATS `PING`) and uses another
/// connection for new calls. Any reception ends the doubt: the reply to the probe or a late reply.
///
/// The decision needs no clock: it counts receptions.
///
/// # Examples
///
/// ```
/// use rr_spi::Doubt;
///
/// let doubt = Doubt::default();
/// let sent = doubt.received_so_far();
/// assert!(doubt.expired(sent), "the caller sends the probe");
/// assert!(doubt.is_doubted());
/// doubt.received();
/// assert!(!doubt.is_doubted());
/// ```
#[derive(Debug, Default)]
pub struct Doubt {
    received: AtomicU64,
    /// One more than the count of receptions at which the doubt arose; zero without a doubt.
    doubted_at: AtomicU64,
}

impl Doubt {
    /// Records that bytes or a message arrived on the connection.
    pub fn received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the count of receptions. A call takes it when its request is handed over and passes
    /// it to [`Doubt::expired`] if it expires.
    #[must_use]
    pub fn received_so_far(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Records that a call expired. Returns `true` when this call put the connection in doubt; the
    /// transport then sends one probe.
    #[must_use]
    pub fn expired(&self, received_at_send: u64) -> bool {
        let doubted_at = received_at_send.wrapping_add(1);
        self.received_so_far() == received_at_send
            && self.doubted_at.swap(doubted_at, Ordering::Relaxed) != doubted_at
    }

    /// Returns whether the connection is in doubt: new calls use another one.
    #[must_use]
    pub fn is_doubted(&self) -> bool {
        self.doubted_at.load(Ordering::Relaxed) == self.received_so_far().wrapping_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_since_the_send_puts_in_doubt_and_one_caller_probes() {
        let doubt = Doubt::default();
        assert!(!doubt.is_doubted());
        let (first, second) = (doubt.received_so_far(), doubt.received_so_far());
        assert!(doubt.expired(first));
        assert!(!doubt.expired(second), "the probe is under way");
        assert!(doubt.is_doubted());
    }

    #[test]
    fn a_reception_since_the_send_prevents_the_doubt() {
        let doubt = Doubt::default();
        let sent = doubt.received_so_far();
        doubt.received();
        assert!(!doubt.expired(sent));
        assert!(!doubt.is_doubted());
    }

    #[test]
    fn a_reception_ends_the_doubt_and_silence_renews_it() {
        let doubt = Doubt::default();
        assert!(doubt.expired(doubt.received_so_far()));
        doubt.received();
        assert!(!doubt.is_doubted());
        assert!(doubt.expired(doubt.received_so_far()), "another probe");
        assert!(doubt.is_doubted());
    }
}
