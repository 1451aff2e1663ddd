//! Which address is tried next, and when.

use std::sync::Arc;
use std::time::Duration;

use rr_spi::{Entropy, Error};
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
}

impl Dialer {
    pub(crate) fn new(setup: LinkSetup, addresses: Vec<String>, entropy: Arc<dyn Entropy>) -> Self {
        let of_url = addresses.len();
        Self { setup, entropy, addresses, of_url, next: 0, failures: 0, opened: None }
    }

    /// Makes one attempt, at the address whose turn it is.
    pub(crate) async fn dial(&mut self) -> Result<Link, Error> {
        self.settle();
        let address = self.addresses[self.next % self.addresses.len()].clone();
        self.next = (self.next + 1) % self.addresses.len();
        // Boxed: the library's connecting takes many kilobytes, once in a long while.
        let unique = self.entropy.next_u64();
        let opened = Box::pin(Link::open(&self.setup, &address, unique)).await;
        match &opened {
            Ok(link) => {
                self.opened = Some(Instant::now());
                self.learn(&link.announced());
            }
            Err(_) => self.failures = self.failures.saturating_add(1),
        }
        opened
    }

    /// Makes an attempt at each address, until one succeeds; returns the first error otherwise.
    pub(crate) async fn dial_each(&mut self) -> Result<Link, Error> {
        let mut first = None;
        for _ in 0..self.addresses.len() {
            match self.dial().await {
                Ok(link) => return Ok(link),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        Err(first.unwrap_or_else(crate::error::not_connected))
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

    /// Returns how long to wait before the next attempt.
    pub(crate) fn pause(&mut self) -> Duration {
        self.settle();
        let max = self.setup.config.reconnect_delay_max;
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
