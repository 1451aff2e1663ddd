//! Which address is tried next, and when.

use std::sync::Arc;
use std::time::Duration;

use rr_spi::{Code, Entropy, Error};
use tokio::time::Instant;

use super::backoff;
use super::link::{Link, LinkSetup};
use crate::endpoint;

/// Most addresses that are kept of those that servers announce.
const ANNOUNCED_MAX: usize = 64;

/// Tries one address after the other, those of the URL and those that servers announced.
pub(crate) struct Dialer {
    setup: LinkSetup,
    entropy: Arc<dyn Entropy>,
    /// Those of the URL first, in its order.
    addresses: Vec<String>,
    of_url: usize,
    next: usize,
    failures: u32,
    /// When the last connection was made, until it is known what became of it.
    opened: Option<Instant>,
    /// The address that was tried last.
    tried: String,
    /// Who refused the credentials, until they take them, or are gone.
    refusal: Option<(String, Error)>,
}

impl Dialer {
    pub(crate) fn new(setup: LinkSetup, addresses: Vec<String>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            of_url: addresses.len(),
            setup,
            entropy,
            addresses,
            next: 0,
            failures: 0,
            opened: None,
            tried: String::new(),
            refusal: None,
        }
    }

    /// Makes one attempt, at the address whose turn it is.
    pub(crate) async fn dial(&mut self) -> Result<Link, Error> {
        self.settle();
        self.tried = self.addresses[self.next % self.addresses.len()].clone();
        self.next = (self.next + 1) % self.addresses.len();
        // Boxed: the library's connecting takes many kilobytes, once in a long while.
        let unique = self.entropy.next_u64();
        let opened = Box::pin(Link::open(&self.setup, &self.tried, unique)).await;
        match &opened {
            Ok(link) => {
                self.opened = Some(Instant::now());
                self.refusal = None;
                self.learn(&link.announced());
            }
            Err(error) if error.code() == Code::Unauthenticated => self.refused(error.clone()),
            Err(_) => {
                self.failures = self.failures.saturating_add(1);
                self.refusal.take_if(|(address, _)| *address == self.tried);
            }
        }
        opened
    }

    /// Notes that the address that was tried last takes nobody with these credentials.
    pub(crate) fn refused(&mut self, error: Error) {
        self.opened = None;
        self.failures = self.failures.saturating_add(1);
        self.refusal = Some((self.tried.clone(), error));
    }

    /// Returns the refusal that stands: no other attempt has succeeded since, and the address that
    /// made it has not done otherwise.
    pub(crate) fn refusal(&self) -> Option<&Error> {
        self.refusal.as_ref().map(|(_, error)| error)
    }

    /// Makes an attempt at each address, until one succeeds; returns a refusal, on which somebody
    /// can act, or else the first error.
    pub(crate) async fn dial_each(&mut self) -> Result<Link, Error> {
        let mut first = None;
        for _ in 0..self.addresses.len() {
            match self.dial().await {
                Ok(link) => return Ok(link),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        Err(self.refusal().cloned().or(first).unwrap_or_else(crate::error::not_connected))
    }

    /// Tells whether some address was not tried since the last success.
    pub(crate) fn is_in_first_round(&self) -> bool {
        (self.failures as usize) < self.addresses.len()
    }

    /// Counts the last connection: one that did not live as long as the longest pause was of no
    /// use, and making such ones without a pause would be a storm.
    fn settle(&mut self) {
        if let Some(opened) = self.opened.take() {
            let lived = opened.elapsed() >= self.setup.config.reconnect_delay_max;
            self.failures = if lived { 0 } else { self.failures.saturating_add(1) };
        }
    }

    /// Returns how long to wait before leaving a server that announced its end: anything up to the
    /// longest pause, so that not all of its clients come to the next one at once.
    pub(crate) fn spread(&self) -> Duration {
        backoff::spread(self.setup.config.reconnect_delay_max, &*self.entropy)
    }

    /// Returns how long to wait before the next attempt.
    pub(crate) fn pause(&mut self) -> Duration {
        self.settle();
        let max = self.setup.config.reconnect_delay_max;
        if self.refusal.is_some() && !self.is_in_first_round() {
            return backoff::longest(max, &*self.entropy);
        }
        backoff::pause(self.failures, self.addresses.len(), max, &*self.entropy)
    }

    /// Replaces what former servers announced; what the URL names stays.
    fn learn(&mut self, announced: &[String]) {
        self.addresses.truncate(self.of_url);
        let addresses = announced.iter().filter_map(|text| endpoint::address(text).ok());
        for address in addresses.take(ANNOUNCED_MAX) {
            if !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
        }
        self.next %= self.addresses.len();
    }
}

#[cfg(test)]
mod tests {
    use rr_spi::SeededEntropy;

    use super::*;
    use crate::config::NatsConnectionConfig;

    fn dialer(addresses: &[&str]) -> Dialer {
        let config = NatsConnectionConfig::default();
        let (prefix, learned) = (String::new(), Arc::default());
        let setup = LinkSetup { config, prefix, incoming_max: 1, learned };
        let addresses = addresses.iter().map(|&address| address.to_owned()).collect();
        Dialer::new(setup, addresses, Arc::new(SeededEntropy::new(7)))
    }

    #[test]
    fn after_a_refusal_every_pause_is_a_long_one_once_each_address_was_tried() {
        let mut dialer = dialer(&["a:1", "b:1"]);
        dialer.tried = "a:1".to_owned();
        dialer.refused(crate::error::not_connected());
        assert!(dialer.pause() <= Duration::from_millis(50), "the other may take them");
        dialer.failures += 1;
        for _ in 0..50 {
            let pause = dialer.pause();
            let max = NatsConnectionConfig::default().reconnect_delay_max;
            assert!(pause >= max * 3 / 4 && pause <= max, "{pause:?}");
        }
    }
}
