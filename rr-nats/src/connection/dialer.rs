//! Connects to the first server that accepts, and decides how long to pause between rounds.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_spi::dial::{ATTEMPT_DELAY, DialProgress, interleaved, staggered};
use rr_spi::observe::Monitor;
use rr_spi::{Context, Entropy, Error, Stage};
use tokio::time::Instant;

use super::backoff;
use super::link::Link;
use super::members::{Host, Members};
use super::options::LinkSetup;
use crate::error;
use crate::sync::{First, first, lock};

/// Lifetime from which a connection counts as working: after its loss the next attempt is
/// immediate. After a shorter one, attempts pause as after a failure, so that a server that cuts
/// each connection is not dialled in a hot loop.
const WORKED: Duration = Duration::from_millis(250);

/// Dials all known addresses, each [`ATTEMPT_DELAY`] after the previous one; the first connection
/// made wins.
pub(crate) struct Dialer {
    setup: LinkSetup,
    entropy: Arc<dyn Entropy>,
    members: Arc<Members>,
    /// Number of failed rounds and short-lived connections in a row.
    failures: u32,
    /// Time at which the last connection was made, until its lifetime is known.
    opened: Option<Instant>,
    /// Whether a server refused in the last round, and no other accepted.
    refused: bool,
    round: Arc<Round>,
}

/// The round over the addresses that is in progress, if one is.
#[derive(Debug, Default)]
pub(super) struct Round(Mutex<Option<Arc<DialProgress>>>);

impl Round {
    /// Returns the progress of the round.
    pub(super) fn progress(&self) -> Option<Arc<DialProgress>> {
        lock(&self.0).clone()
    }

    fn begin(self: &Arc<Self>) -> (Arc<DialProgress>, RoundEnd) {
        let progress = Arc::new(DialProgress::new());
        *lock(&self.0) = Some(Arc::clone(&progress));
        (progress, RoundEnd(Arc::clone(self)))
    }
}

/// Ends a round when it is dropped.
struct RoundEnd(Arc<Round>);

impl Drop for RoundEnd {
    fn drop(&mut self) {
        *lock(&self.0.0) = None;
    }
}

impl Dialer {
    pub(crate) fn new(setup: LinkSetup, members: Arc<Members>, entropy: Arc<dyn Entropy>) -> Self {
        let round = Arc::default();
        Self { setup, entropy, members, failures: 0, opened: None, refused: false, round }
    }

    pub(super) fn monitor(&self) -> Monitor {
        self.setup.monitor.clone()
    }

    /// Returns the round in progress, for the calls that wait for it.
    pub(super) fn round(&self) -> Arc<Round> {
        Arc::clone(&self.round)
    }

    /// Makes one round over the addresses, with `avoid` last.
    ///
    /// # Errors
    ///
    /// A refusal, which an operator can resolve, or else the first error, with the times of the
    /// stages of the round.
    pub(crate) async fn dial(&mut self, avoid: Option<&str>) -> Result<Link, Error> {
        self.classify_last_connection();
        let hosts = self.members.in_order(avoid);
        let this = &*self;
        let (progress, _end) = self.round.begin();
        let progress = &progress;
        let attempt = |host| async move { this.open(&host, progress).await };
        let opened = staggered(hosts, ATTEMPT_DELAY, attempt).await;
        match opened {
            Ok(link) => {
                self.opened = Some(Instant::now());
                self.refused = false;
                self.learn_from(&link);
                Ok(link)
            }
            Err(errors) => {
                self.failures = self.failures.saturating_add(1);
                let error = error_of_round(errors);
                self.refused = error::is_refusal(&error);
                Err(progress.failed(error))
            }
        }
    }

    /// Connects to one host, whose name may have several addresses (RFC 8305).
    async fn open(&self, host: &Host, progress: &Arc<DialProgress>) -> Result<Link, Error> {
        let timeout = self.setup.config.connect_timeout;
        if timeout.is_zero() {
            return Err(error::no_time(&host.address));
        }
        let limit = Context::background().with_timeout(timeout);
        // An IP address needs no look-up, so that it resolves within any timeout.
        let found = match first(host.lookup.addresses(), limit.cancelled()).await {
            First::One(found) => found,
            First::Other(_) => return Err(error::resolves_slowly(&host.address, timeout)),
        };
        let found = found.map_err(|source| error::unresolved(&host.address, Some(source)))?;
        progress.stage(Stage::Connect);
        let attempt = |socket| {
            let unique = self.entropy.next_u64();
            Link::open(&self.setup, host, socket, unique, Arc::clone(progress))
        };
        let mut found = interleaved(found);
        if !self.setup.channel.dials_addresses() {
            found.truncate(1);
        }
        let opened = staggered(found, ATTEMPT_DELAY, attempt).await;
        opened.map_err(|errors| match errors.is_empty() {
            true => error::unresolved(&host.address, None),
            false => error_of_round(errors),
        })
    }

    /// Learns addresses and the message limit from a connection, now and until it ends.
    fn learn_from(&self, link: &Link) {
        self.members.worked(link.address());
        self.members.learn(&link.announced(), &link.route().name);
        let (alive, interval) = (link.alive().clone(), self.setup.config.members_interval);
        let entropy = Arc::clone(&self.entropy);
        tokio::spawn(Arc::clone(&self.members).watch(
            link.route().clone(),
            alive,
            interval,
            entropy,
        ));
        let (alive, entropy) = (link.alive().clone(), Arc::clone(&self.entropy));
        let (payload, config) =
            (Arc::clone(&self.setup.learned.payload), self.setup.config.clone());
        let server = (link.route().clone(), link.server_id());
        tokio::spawn(payload.watch(server, config, alive, entropy));
    }

    /// Classifies the last connection by its lifetime, as a success or a failure.
    fn classify_last_connection(&mut self) {
        if let Some(opened) = self.opened.take() {
            let worked = opened.elapsed() >= WORKED;
            self.failures = if worked { 0 } else { self.failures.saturating_add(1) };
        }
    }

    /// Pauses before the next round; there is no pause after a working connection.
    pub(crate) async fn pause(&mut self) {
        let pause = self.next_pause();
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }

    fn next_pause(&mut self) -> Duration {
        self.classify_last_connection();
        let max = self.setup.config.reconnect_delay_max;
        if self.refused {
            return backoff::longest(max, &*self.entropy);
        }
        backoff::pause(self.failures, max, &*self.entropy)
    }

    /// Returns the pause before leaving a server that announced its end: a random part of the
    /// longest pause, so that its clients do not connect to the next server simultaneously.
    pub(crate) fn spread(&self) -> Duration {
        backoff::spread(self.setup.config.reconnect_delay_max, &*self.entropy)
    }
}

/// Returns the error to report for a round: a refusal, or else the first error.
fn error_of_round(mut errors: Vec<Error>) -> Error {
    match errors.iter().position(error::is_refusal) {
        Some(at) => errors.swap_remove(at),
        None => errors.into_iter().next().unwrap_or_else(error::not_connected),
    }
}

#[cfg(test)]
mod tests {
    use rr_spi::SeededEntropy;
    use rr_spi::dial::Lookup;

    use super::*;
    use crate::config::NatsConnectionConfig;
    use crate::connection::channel::Channel;
    use crate::scheme::Scheme;

    fn dialer() -> Dialer {
        let config = NatsConnectionConfig::default();
        let setup = LinkSetup {
            config,
            channel: Channel::plain(),
            prefix: String::new(),
            incoming_max: 1,
            cancels_max: 1,
            learned: Arc::default(),
            needs_inbox: true,
            monitor: Monitor::default(),
        };
        let members = Arc::new(Members::new(vec!["a:1".to_owned()], Scheme::Nats, false));
        Dialer::new(setup, members, Arc::new(SeededEntropy::new(7)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_has_worked_is_made_again_immediately_each_time() {
        let mut dialer = dialer();
        for _ in 0..100 {
            dialer.opened = Some(Instant::now());
            tokio::time::sleep(WORKED).await;
            assert_eq!(dialer.next_pause(), Duration::ZERO);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_work_for_no_time_are_made_with_growing_pauses() {
        let mut dialer = dialer();
        let mut paused = Duration::ZERO;
        for _ in 0..20 {
            dialer.opened = Some(Instant::now());
            paused += dialer.next_pause();
        }
        assert!(paused > Duration::from_secs(5), "{paused:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_refusal_every_pause_is_a_long_one() {
        let mut dialer = dialer();
        dialer.refused = true;
        for _ in 0..50 {
            let pause = dialer.next_pause();
            let max = NatsConnectionConfig::default().reconnect_delay_max;
            assert!(pause >= max * 3 / 4 && pause <= max, "{pause:?}");
        }
    }

    #[tokio::test]
    async fn a_name_with_a_dead_address_connects_to_the_live_one() {
        let nats = rr_testkit::NatsServer::start().await.unwrap();
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = vec![silent.local_addr().unwrap(), nats.address()];
        let host =
            Host::with_lookup("name:1", Lookup::with_resolver(move || Ok(addresses.clone())));
        let mut dialer = dialer();
        dialer.setup.config.connect_timeout = Duration::from_secs(300);
        let limit = Context::background().with_timeout(Duration::from_secs(10));
        let link = limit.race(dialer.open(&host, &Arc::default())).await.unwrap().unwrap();
        assert_eq!((link.address(), link.route().socket), ("name:1", nats.address()));
    }

    #[test]
    fn a_refusal_is_reported_before_other_errors() {
        let denied = || error::denied("subscribing to", &"x", rr_spi::Delivery::NotSent);
        let error = error_of_round(vec![error::not_connected(), denied(), error::not_connected()]);
        assert!(error::is_refusal(&error), "{error}");
        assert!(!error::is_refusal(&error_of_round(vec![error::not_connected()])));
        assert!(!error::is_refusal(&error_of_round(vec![])));
    }
}
