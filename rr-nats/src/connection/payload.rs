//! Longest message that the server accepts from this user or account, if that is less than it
//! announces.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_spi::{Context, Entropy};
use tokio::time::Instant;

use super::channel::Route;
use super::info::ServerLimits;
use super::{backoff, info};
use crate::config::NatsConnectionConfig;

use crate::sync::lock;

/// Time after which a learned limit expires unless the server confirms it. Without expiry, longer
/// messages would be refused forever after the limit was raised: none would be sent to test it.
const LIMIT_TTL: Duration = Duration::from_secs(5 * 60);

/// Longest pause between two questions for the limit: a server does not announce changes.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// Learned limit of a message, in bytes with its headers.
///
/// A server announces the limit of a user or an account in a second `INFO` line, which async-nats
/// drops, and ends the connection on a longer message. Once that has happened, rr-nats asks for the
/// limit over a separate, short connection.
#[derive(Debug)]
pub(crate) struct Payload {
    /// The limit, readable without the lock; `usize::MAX` if there is none.
    bytes_max: AtomicUsize,
    known: Mutex<Known>,
}

/// State of the learned limit: pure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    /// The limit, and the time at which it expires.
    limit: Option<(usize, Instant)>,
    asks: Asks,
}

/// Servers that are asked for the limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Asks {
    /// No server: no message was ever too long.
    #[default]
    Never,
    /// The server of this id: it may have ended a connection because of a long message. Its error
    /// line is lost if the client library is still writing the message.
    Server(String),
    /// All servers.
    Always,
}

impl Default for Payload {
    fn default() -> Self {
        Self { bytes_max: AtomicUsize::new(usize::MAX), known: Mutex::default() }
    }
}

impl Payload {
    /// Returns the limit if a message of so many bytes exceeds it; `None` otherwise, or if no limit
    /// is known. Checks whether the limit has expired only for a message above it.
    pub(super) fn limit_if_exceeded(&self, bytes: usize) -> Option<usize> {
        if bytes <= self.bytes_max.load(Ordering::Relaxed) {
            return None;
        }
        Some(self.change(|known| known.expire(Instant::now()))).filter(|limit| bytes > *limit)
    }

    /// Records that a server ended a connection because a message was too long. `longest` is the
    /// length of the longest message that may have been sent on that connection.
    pub(super) fn record_exceeded(&self, longest: usize) {
        self.change(|known| known.record_exceeded(longest, Instant::now()));
    }

    /// Records that a connection was lost for no known reason.
    pub(super) fn suspect(&self, server_id: String) {
        self.change(|known| known.suspect(server_id));
    }

    /// Asks a server for the limit, if [`Asks`] includes the server.
    pub(super) async fn ask(&self, server: &Route, server_id: &str, config: &NatsConnectionConfig) {
        if !lock(&self.known).asks(server_id) {
            return;
        }
        if let Some(limits) = info::server_limits(server, server_id, config).await {
            self.change(|known| known.update(limits, Instant::now()));
        }
    }

    /// Asks the server of a connection for its limit periodically until the connection ends, if a
    /// message was ever too long.
    pub(super) async fn watch(
        self: Arc<Self>,
        (server, server_id): (Route, String),
        config: NatsConnectionConfig,
        alive: Context,
        entropy: Arc<dyn Entropy>,
    ) {
        if lock(&self.known).asks != Asks::Always || !server.channel.can_ask() {
            return;
        }
        let pause = match config.members_interval {
            Duration::ZERO => ASK_AGAIN,
            interval => interval.clamp(info::INTERVAL_MIN, ASK_AGAIN),
        };
        let ask = async {
            loop {
                // Half of the pause is random, so that clients do not ask simultaneously.
                tokio::time::sleep(pause / 2 + backoff::spread(pause / 2, &*entropy)).await;
                self.ask(&server, &server_id, &config).await;
            }
        };
        let _: Result<(), _> = alive.race(ask).await;
    }

    fn change(&self, change: impl FnOnce(&mut Known)) -> usize {
        let mut known = lock(&self.known);
        change(&mut known);
        let bytes_max = known.limit.map_or(usize::MAX, |(bytes_max, _)| bytes_max);
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
        bytes_max
    }
}

impl Known {
    /// Lowers the limit below `longest`. It is unknown which message was too long, but the longest
    /// was no shorter, and so is too long as well.
    fn record_exceeded(&mut self, longest: usize, now: Instant) {
        self.expire(now);
        self.asks = Asks::Always;
        // An empty message is never too long: the length of the one that was is not recorded.
        let Some(fits) = longest.checked_sub(1) else { return };
        let known = self.limit.map_or(usize::MAX, |(bytes_max, _)| bytes_max);
        self.limit = Some((fits.min(known), now + LIMIT_TTL));
    }

    fn suspect(&mut self, server_id: String) {
        if self.asks != Asks::Always {
            self.asks = Asks::Server(server_id);
        }
    }

    fn asks(&self, server_id: &str) -> bool {
        match &self.asks {
            Asks::Never => false,
            Asks::Server(suspected) => suspected == server_id,
            Asks::Always => true,
        }
    }

    fn update(&mut self, limits: ServerLimits, now: Instant) {
        let is_less = limits.bytes_max < limits.announced;
        self.limit = is_less.then(|| (limits.bytes_max, now + LIMIT_TTL));
        if is_less {
            self.asks = Asks::Always;
        } else if self.asks != Asks::Always {
            self.asks = Asks::Never;
        }
    }

    fn expire(&mut self, now: Instant) {
        self.limit = self.limit.filter(|(_, until)| now < *until);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANNOUNCED: usize = 1 << 20;

    fn limits(bytes_max: usize) -> ServerLimits {
        ServerLimits { announced: ANNOUNCED, bytes_max }
    }

    fn limit(known: &Known) -> Option<usize> {
        known.limit.map(|(bytes_max, _)| bytes_max)
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_connections_lowers_the_limit_and_what_the_server_tells_replaces_it() {
        let (mut known, now) = (Known::default(), Instant::now());
        known.record_exceeded(20_000, now);
        assert_eq!(limit(&known), Some(19_999));
        known.record_exceeded(900_000, now);
        assert_eq!(limit(&known), Some(19_999), "a longer one teaches nothing new");
        known.record_exceeded(10_000, now);
        assert_eq!(limit(&known), Some(9_999));
        known.update(limits(8192), now);
        assert_eq!(limit(&known), Some(8192));
        known.record_exceeded(0, now);
        assert_eq!(limit(&known), Some(8192));
        known.update(limits(65_536), now);
        assert_eq!(limit(&known), Some(65_536), "it was raised");
        known.update(limits(ANNOUNCED), now);
        assert_eq!(limit(&known), None);
        assert!(known.asks("any"), "it may be lowered again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_is_asked_after_a_loss_without_a_word_and_always_once_its_limit_is_known() {
        let (mut known, now) = (Known::default(), Instant::now());
        assert!(!known.asks("a"));
        known.suspect("a".to_owned());
        assert!(known.asks("a") && !known.asks("b"));
        known.update(limits(ANNOUNCED), now);
        assert_eq!((known.asks("a"), limit(&known)), (false, None));
        known.suspect("a".to_owned());
        known.update(limits(8192), now);
        known.suspect("a".to_owned());
        assert!(known.asks("b"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_no_server_confirms_is_forgotten_after_a_while() {
        let payload = Payload::default();
        assert_eq!(payload.limit_if_exceeded(usize::MAX - 1), None);
        payload.record_exceeded(20_000);
        assert_eq!(
            (payload.limit_if_exceeded(19_999), payload.limit_if_exceeded(20_000)),
            (None, Some(19_999))
        );
        tokio::time::sleep(LIMIT_TTL - ASK_AGAIN).await;
        payload.change(|known| known.update(limits(8192), Instant::now()));
        tokio::time::sleep(LIMIT_TTL - Duration::from_millis(1)).await;
        assert_eq!(payload.limit_if_exceeded(8193), Some(8192));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(payload.limit_if_exceeded(8193), None);
        assert!(lock(&payload.known).asks("any"), "the next connection asks");
        // A forgotten limit has no effect.
        payload.record_exceeded(500_000);
        assert_eq!(payload.limit_if_exceeded(500_000), Some(499_999));
    }

    proptest! {
        /// Connections on which messages of these lengths were sent, in order, to a server that
        /// accepts fewer bytes.
        #[test]
        fn no_message_that_the_server_takes_is_refused(
            limit in 1usize..2000,
            connections in prop::collection::vec(prop::collection::vec(0usize..4000, 1..20), 1..20),
        ) {
            let now = Instant::now();
            let mut known = Known::default();
            let mut losses = Vec::new();
            for lengths in connections {
                let mut longest = 0;
                for bytes in lengths {
                    if known.limit.is_some_and(|(bytes_max, _)| bytes > bytes_max) {
                        prop_assert!(bytes > limit, "{bytes} fits into {limit}");
                        continue;
                    }
                    longest = longest.max(bytes);
                    if bytes > limit {
                        known.record_exceeded(longest, now);
                        losses.push(bytes);
                        break;
                    }
                }
            }
            // No message length ends two connections.
            prop_assert!(losses.is_sorted_by(|one, next| one > next), "{losses:?}");
        }
    }
}
