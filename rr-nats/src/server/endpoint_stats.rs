//! Counters of each endpoint, for discovery.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_spi::{Error, Response, Route, Routes, Target};

use crate::sync::lock;

/// Maximum length of a kept error text, in bytes.
const ERROR_BYTES_MAX: usize = 256;

/// Counters of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Counters {
    requests: AtomicU64,
    errors: AtomicU64,
    nanos: AtomicU64,
    last_error: Mutex<String>,
}

impl Counters {
    pub(super) fn count(&self, took: Duration, outcome: &Result<Response, Error>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        if let Err(error) = outcome {
            self.errors.fetch_add(1, Ordering::Relaxed);
            let text = error.to_string().chars().take(ERROR_BYTES_MAX / 4).collect();
            *lock(&self.last_error) = text;
        }
    }

    /// Returns requests, errors, nanoseconds and the last error.
    pub(super) fn read(&self) -> (u64, u64, u64, String) {
        let last = lock(&self.last_error).clone();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.requests), read(&self.errors), read(&self.nanos), last)
    }
}

/// The counters of every route.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    targets: BTreeMap<String, Arc<Counters>>,
    services: BTreeMap<String, Arc<Counters>>,
    fallback: Option<Arc<Counters>>,
}

impl Endpoints {
    pub(super) fn of_routes(routes: &Routes) -> Self {
        let mut endpoints = Self::default();
        for (route, _) in routes.iter() {
            let counters = Arc::default();
            match route {
                Route::Target(name) => drop(endpoints.targets.insert(name, counters)),
                Route::Service(name) => drop(endpoints.services.insert(name, counters)),
                _ => endpoints.fallback = Some(counters),
            }
        }
        endpoints
    }

    /// Returns the counters of the route that serves a target.
    pub(super) fn of(&self, target: &Target) -> Option<Arc<Counters>> {
        let found = self.targets.get(target.as_str());
        let found = found.or_else(|| self.services.get(target.service()));
        found.or(self.fallback.as_ref()).cloned()
    }

    /// Returns service, method and counters of each route. A route without a method takes all
    /// methods that have no route.
    pub(super) fn list(&self) -> Vec<(String, Option<String>, Arc<Counters>)> {
        let targets = self.targets.iter().filter_map(|(name, counters)| {
            let target = Target::parse(name).ok()?;
            let method = Some(target.method().to_owned());
            Some((target.service().to_owned(), method, Arc::clone(counters)))
        });
        let services =
            self.services.iter().map(|(name, counters)| (name.clone(), None, Arc::clone(counters)));
        let fallback = self.fallback.iter().map(|c| (String::new(), None, Arc::clone(c)));
        targets.chain(services).chain(fallback).collect()
    }
}
