//! Servers to connect to: those of the URL, and those that servers announce.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_spi::dial::Lookup;
use rr_spi::{Context, Entropy};

use super::channel::Route;
use super::{backoff, info};
use crate::endpoint;
use crate::scheme::Scheme;

use crate::sync::lock;

/// Maximum number of announced addresses kept.
const ANNOUNCED_MAX: usize = 64;

/// Divisor of the interval for the pause before the first question; further pauses double up to the
/// interval. A server that has just started knows its neighbours a moment later.
const FIRST_PART: u32 = 12;

/// Server address `host:port`, with the look-up of its name.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) address: String,
    pub(super) lookup: Lookup,
    /// The name that the certificate of the server has.
    pub(super) name: String,
}

/// Server addresses that a requester or a server knows; shared by its connections.
#[derive(Debug)]
pub(crate) struct Members {
    known: Mutex<Known>,
    scheme: Scheme,
    ignore_announced: bool,
}

#[derive(Debug, Default)]
struct Known {
    of_url: Vec<Host>,
    /// Most recently announced first.
    announced: Vec<Host>,
    /// Address of the last successful connection.
    worked: Option<String>,
}

impl Host {
    /// Takes `host:port` as returned by [`endpoint::address`].
    fn new(address: String) -> Self {
        let (host, port) = address.rsplit_once(':').unwrap_or((&address, ""));
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let lookup = Lookup::new(host, port.parse().unwrap_or_default());
        let name = host.to_owned();
        Self { address, lookup, name }
    }

    /// Takes an announced `host:port`. Servers announce themselves by IP address, which their
    /// certificates seldom contain: such a server has to have the name of the one that announced
    /// it.
    fn announced(address: String, announcer: &str) -> Self {
        let mut host = Self::new(address);
        if host.name.parse::<IpAddr>().is_ok() {
            announcer.clone_into(&mut host.name);
        }
        host
    }

    #[cfg(test)]
    pub(super) fn with_lookup(address: &str, lookup: Lookup) -> Self {
        Self { address: address.to_owned(), lookup, name: String::new() }
    }
}

impl Members {
    /// Makes the list from the addresses of a URL.
    pub(crate) fn new(of_url: Vec<String>, scheme: Scheme, ignore_announced: bool) -> Self {
        let of_url = of_url.into_iter().map(Host::new).collect();
        let known = Known { of_url, ..Known::default() };
        Self { known: Mutex::new(known), scheme, ignore_announced }
    }

    /// Returns all hosts in dialling order: the host of the last successful connection, the hosts
    /// of the URL, the announced hosts. The host `avoid` is moved to the end.
    pub(super) fn in_order(&self, avoid: Option<&str>) -> Vec<Host> {
        let known = lock(&self.known);
        let mut hosts: Vec<Host> = known.of_url.iter().chain(&known.announced).cloned().collect();
        let rank = |host: &Host| match () {
            () if avoid == Some(host.address.as_str()) => 2,
            () if known.worked.as_ref() == Some(&host.address) => 0,
            () => 1,
        };
        hosts.sort_by_key(rank);
        hosts
    }

    /// Records the address of a successful connection.
    pub(super) fn worked(&self, address: &str) {
        lock(&self.known).worked = Some(address.to_owned());
    }

    /// Adds the members that a server announced. Other members stay: a server that has just started
    /// announces only itself. Above the limit, members announced longest ago are dropped.
    ///
    /// `announcer` is the name of the server in its certificate.
    pub(super) fn learn(&self, announced: &[String], announcer: &str) {
        if self.ignore_announced {
            return;
        }
        let mut known = lock(&self.known);
        let port = self.scheme.port_default();
        let addresses = announced.iter().filter_map(|text| endpoint::address(text, port).ok());
        // Each is inserted in front, so iterate in reverse.
        let addresses: Vec<String> = addresses.take(ANNOUNCED_MAX).collect();
        for address in addresses.into_iter().rev() {
            if known.of_url.iter().any(|host| host.address == address) {
                continue;
            }
            let at = known.announced.iter().position(|host| host.address == address);
            let host = at.map(|at| known.announced.remove(at));
            known.announced.insert(0, host.unwrap_or_else(|| Host::announced(address, announcer)));
        }
        known.announced.truncate(ANNOUNCED_MAX);
    }

    /// Asks the server of a connection for its neighbours periodically until the connection ends.
    pub(super) async fn watch(
        self: Arc<Self>,
        server: Route,
        alive: Context,
        interval: Duration,
        entropy: Arc<dyn Entropy>,
    ) {
        if self.ignore_announced || interval.is_zero() || !server.channel.can_ask() {
            return;
        }
        let interval = interval.max(info::INTERVAL_MIN);
        let ask = async {
            let mut pause = interval / FIRST_PART;
            loop {
                // Half of the pause is random, so that clients do not ask simultaneously.
                tokio::time::sleep(pause / 2 + backoff::spread(pause / 2, &*entropy)).await;
                pause = pause.saturating_mul(2).min(interval);
                if let Some(announced) = info::announced_by(&server).await {
                    self.learn(&announced, &server.name);
                }
            }
        };
        let _ = alive.race(ask).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members() -> Members {
        Members::new(vec!["a:1".to_owned(), "[::1]:2".to_owned()], Scheme::Nats, false)
    }

    fn order(members: &Members, avoid: Option<&str>) -> Vec<String> {
        members.in_order(avoid).into_iter().map(|host| host.address).collect()
    }

    #[test]
    fn the_address_that_worked_last_comes_first_and_the_one_to_avoid_last() {
        let members = members();
        members.learn(
            &["c:3".to_owned(), "a:1".to_owned(), "d:4".to_owned(), "no port".to_owned()],
            "n",
        );
        assert_eq!(order(&members, None), ["a:1", "[::1]:2", "c:3", "d:4"]);
        members.worked("d:4");
        assert_eq!(order(&members, None), ["d:4", "a:1", "[::1]:2", "c:3"]);
        assert_eq!(order(&members, Some("d:4")), ["a:1", "[::1]:2", "c:3", "d:4"]);
    }

    #[test]
    fn a_server_that_announces_itself_alone_makes_no_other_member_forgotten() {
        let members = members();
        members.learn(&["c:3".to_owned(), "d:4".to_owned()], "n");
        members.learn(&["d:4".to_owned()], "n");
        assert_eq!(order(&members, None), ["a:1", "[::1]:2", "d:4", "c:3"]);
        for at in 0..200 {
            members.learn(&[format!("h{at}:1")], "n");
        }
        let order = order(&members, None);
        assert_eq!((order.len(), order[2].as_str()), (2 + ANNOUNCED_MAX, "h199:1"));
    }

    #[test]
    fn announced_members_can_be_ignored() {
        let members = Members::new(vec!["a:1".to_owned()], Scheme::Nats, true);
        members.learn(&["c:3".to_owned()], "n");
        assert_eq!(order(&members, None), ["a:1"]);
    }

    #[tokio::test]
    async fn a_host_in_brackets_is_an_ip_address() {
        let host = Host::new("[::1]:2".to_owned());
        assert_eq!(host.lookup.addresses().await.unwrap(), ["[::1]:2".parse().unwrap()]);
    }

    #[test]
    fn a_member_announced_by_address_has_the_name_of_its_announcer() {
        let members = members();
        members.learn(&["10.0.0.1:4222".to_owned(), "[::2]:4222".to_owned()], "a");
        members.learn(&["b.example:4222".to_owned(), "10.0.0.1:4222".to_owned()], "10.0.0.9");
        let names = members.in_order(None).into_iter().map(|host| host.name);
        assert_eq!(names.collect::<Vec<_>>(), ["a", "::1", "b.example", "a", "a"]);
    }
}
