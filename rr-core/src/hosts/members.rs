//! The addresses of the hosts, and the requester of each.

use std::net::SocketAddr;

use rr_http::HttpRequester;
use tokio::task::JoinSet;

use crate::balance::{ENDPOINTS_MAX, Endpoint};

/// The hosts and their addresses.
pub(super) struct Members(Vec<Member>);

struct Member {
    host: String,
    /// Requester of the host by its name.
    named: HttpRequester,
    /// Empty until the first look-up has succeeded.
    addresses: Vec<(SocketAddr, HttpRequester)>,
}

/// Addresses of the host with this index.
pub(super) struct Found {
    pub(super) host: usize,
    pub(super) addresses: Vec<SocketAddr>,
}

/// Looks up the addresses of all hosts simultaneously. A host whose look-up fails, or that has no
/// address, is left out.
pub(super) async fn look_up(hosts: Vec<HttpRequester>) -> Vec<Found> {
    let mut lookups = JoinSet::new();
    for (host, requester) in hosts.into_iter().enumerate() {
        lookups.spawn(async move { (host, requester.addresses().await) });
    }
    let mut found = Vec::new();
    while let Some(outcome) = lookups.join_next().await {
        if let Ok((host, Ok(addresses))) = outcome {
            if !addresses.is_empty() {
                found.push(Found { host, addresses });
            }
        }
    }
    found
}

impl Members {
    pub(super) fn new(named: Vec<(String, HttpRequester)>) -> Self {
        let member = |(host, named)| Member { host, named, addresses: Vec::new() };
        Self(named.into_iter().map(member).collect())
    }

    /// Returns the number of open connections to addresses.
    pub(super) fn address_connections(&self) -> usize {
        let addresses = self.0.iter().flat_map(|member| &member.addresses);
        addresses.map(|(_, requester)| requester.connections()).sum()
    }

    /// Replaces the addresses of the hosts that were found, and returns the endpoints of all hosts;
    /// `None` if nothing has changed. An address that is kept keeps its requester, and with it the
    /// connections.
    pub(super) fn replace(&mut self, found: Vec<Found>) -> Option<Vec<Endpoint>> {
        let most = ENDPOINTS_MAX / self.0.len().max(1);
        let mut is_changed = false;
        for Found { host, mut addresses } in found {
            // The order of a resolver may change with each answer.
            addresses.sort_unstable();
            addresses.dedup();
            addresses.truncate(most);
            is_changed |= self.0.get_mut(host).is_some_and(|member| member.replace(&addresses));
        }
        is_changed.then(|| self.0.iter().flat_map(Member::endpoints).collect())
    }
}

impl Member {
    /// Replaces the addresses. Returns whether they differ from those before.
    fn replace(&mut self, addresses: &[SocketAddr]) -> bool {
        if self.addresses.iter().map(|(known, _)| known).eq(addresses) {
            return false;
        }
        let mut before = std::mem::take(&mut self.addresses);
        for &address in addresses {
            let known = before.iter().position(|(known, _)| *known == address);
            match known.map(|at| before.swap_remove(at)) {
                Some(kept) => self.addresses.push(kept),
                // Requesters of names always have addresses.
                None => {
                    self.addresses.extend(self.named.at(address).ok().map(|one| (address, one)))
                }
            }
        }
        true
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        let at = |(address, requester): &(SocketAddr, HttpRequester)| {
            Endpoint::new(format!("{} ({address})", self.host), requester.clone())
        };
        match self.addresses.is_empty() {
            true => vec![Endpoint::new(self.host.as_str(), self.named.clone())],
            false => self.addresses.iter().map(at).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(host: usize, addresses: &[&str]) -> Vec<Found> {
        let addresses = addresses.iter().map(|one| one.parse().unwrap()).collect();
        vec![Found { host, addresses }]
    }

    fn names(endpoints: Option<Vec<Endpoint>>) -> Option<Vec<String>> {
        endpoints.map(|all| all.iter().map(|one| one.name().to_owned()).collect())
    }

    #[test]
    fn each_address_is_an_endpoint_and_a_host_that_was_not_found_keeps_its_own() {
        let named = ["a:1", "b:2"].map(|host| {
            let requester = HttpRequester::new(&format!("http://{host}"), Default::default());
            (host.to_owned(), requester.unwrap())
        });
        let mut members = Members::new(named.to_vec());
        let changed = names(members.replace(found(0, &["10.0.0.2:1", "10.0.0.1:1"])));
        let expected = ["a:1 (10.0.0.1:1)", "a:1 (10.0.0.2:1)", "b:2"].map(str::to_owned);
        assert_eq!(changed, Some(expected.to_vec()));
        assert_eq!(names(members.replace(found(0, &["10.0.0.1:1", "10.0.0.2:1"]))), None);
        assert_eq!(names(members.replace(Vec::new())), None);
        let changed = names(members.replace(found(1, &["[::1]:2"])));
        let expected = ["a:1 (10.0.0.1:1)", "a:1 (10.0.0.2:1)", "b:2 ([::1]:2)"].map(str::to_owned);
        assert_eq!(changed, Some(expected.to_vec()));
    }
}
