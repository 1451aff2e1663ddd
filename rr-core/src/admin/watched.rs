//! Servers and clients whose counts are shown.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rr_spi::observe::Stats;
use rr_spi::{Declared, Route, Server, WeakServer};
use serde::Serialize;

use crate::client::Client;

/// Largest number of servers, and of clients: a process rarely has more than five.
const ENDS_MAX: usize = 32;

/// Largest number of routes that are shown of one server.
const ROUTES_MAX: usize = 1000;

/// Servers and clients that are watched.
///
/// The observer does not hold them: a client holds its observers.
#[derive(Default)]
pub(super) struct Watched {
    servers: Mutex<Vec<WatchedServer>>,
    clients: Mutex<Vec<(String, Client)>>,
}

struct WatchedServer {
    url: String,
    server: WeakServer,
    routes: Vec<RouteReport>,
    routes_left_out: usize,
}

/// Server, its counts and its routes.
#[derive(Debug, Serialize)]
pub(super) struct ServerReport {
    pub(super) url: String,
    pub(super) is_draining: bool,
    pub(super) stats: Stats,
    pub(super) routes: Vec<RouteReport>,
    pub(super) routes_left_out: usize,
}

/// Route of a server.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RouteReport {
    pub(super) route: String,
    pub(super) idempotency: &'static str,
}

/// Client and its counts.
#[derive(Debug, Serialize)]
pub(super) struct ClientReport {
    pub(super) name: String,
    pub(super) stats: Stats,
}

impl Watched {
    pub(super) fn add_server(&self, server: &Server) {
        let routes: Vec<_> = server.routes().take(ROUTES_MAX).map(RouteReport::of).collect();
        let routes_left_out = server.routes().count() - routes.len();
        // Hides the credentials.
        let url = server.url().to_string();
        let mut servers = lock(&self.servers);
        servers.retain(|known| known.server.is_draining().is_some());
        if servers.len() < ENDS_MAX {
            let server = server.downgrade();
            servers.push(WatchedServer { url, server, routes, routes_left_out });
        }
    }

    pub(super) fn add_client(&self, name: String, client: Client) {
        let mut clients = lock(&self.clients);
        if clients.len() < ENDS_MAX {
            clients.push((name, client));
        }
    }

    /// Returns whether a server was ever watched.
    pub(super) fn has_servers(&self) -> bool {
        !lock(&self.servers).is_empty()
    }

    /// Returns the servers that are not gone.
    pub(super) fn servers(&self) -> Vec<ServerReport> {
        lock(&self.servers).iter().filter_map(WatchedServer::report).collect()
    }

    pub(super) fn clients(&self) -> Vec<ClientReport> {
        let clients = lock(&self.clients);
        let report = |(name, client): &(String, Client)| ClientReport {
            name: name.clone(),
            stats: client.stats(),
        };
        clients.iter().map(report).collect()
    }
}

fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WatchedServer {
    fn report(&self) -> Option<ServerReport> {
        Some(ServerReport {
            url: self.url.clone(),
            is_draining: self.server.is_draining()?,
            stats: self.server.stats()?,
            routes: self.routes.clone(),
            routes_left_out: self.routes_left_out,
        })
    }
}

impl RouteReport {
    fn of((route, declared): (Route, Declared)) -> Self {
        let route = match route {
            Route::Target(name) => name,
            Route::Service(name) => format!("{name}.*"),
            _ => "*".to_owned(),
        };
        let idempotency = match declared {
            Declared::Safe => "safe",
            Declared::Idempotent => "idempotent",
            Declared::Keyed => "keyed",
            _ => "unspecified",
        };
        Self { route, idempotency }
    }
}
