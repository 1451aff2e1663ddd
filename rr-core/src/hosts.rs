//! Several hosts behind one URL: a balance over one requester for each host or address.

mod members;
mod split;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_http::{HttpAddresses, HttpConfig, HttpRequester, HttpServerConfig};
use rr_spi::observe::Stats;
use rr_spi::{
    BoxFuture, CallConfig, Context, Error, Location, ManyConfig, ManyEnd, ManyRequester, OsEntropy,
    ReplySink, Request, Requester, dial, jittered,
};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::balance::{Balance, BalanceConfig, Endpoint, after};
use members::Members;

/// Requesters of a URL.
pub(crate) enum Connected {
    One(HttpRequester),
    Several(Hosts),
}

/// Makes the requesters of a URL, whose query overrides fields of `config`.
pub(crate) fn connect(url: &str, config: HttpConfig) -> Result<Connected, Error> {
    let location = Location::parse(url)?;
    let (config, _) = location.configure(config, HttpServerConfig::default())?;
    let hosts = split::hosts(&location, &config.hosts)?;
    let single = config.clone().with_hosts(Vec::new()).with_addresses(HttpAddresses::First);
    // A unix socket has no name that could have several addresses.
    let is_named = !location.authority().is_empty();
    let looks_up = is_named && config.addresses == HttpAddresses::All;
    let named: Result<Vec<_>, Error> = hosts
        .into_iter()
        .map(|host| {
            let url = split::url_of(url, &location, &host);
            Ok((host, HttpRequester::new(&url, single.clone())?))
        })
        .collect();
    let mut named = named?;
    if looks_up {
        split::check_direct(named.iter().map(|(_, requester)| requester))?;
    }
    if named.len() == 1 && !looks_up {
        return Ok(Connected::One(named.remove(0).1));
    }
    let lookups = looks_up.then(|| Lookups::new(config.lookup_interval, config.connect_timeout));
    Ok(Connected::Several(Hosts::new(named, config.calls, lookups)?))
}

/// Requester over several hosts. Clones share everything.
#[derive(Clone)]
pub(crate) struct Hosts(Arc<Inner>);

struct Inner {
    balance: Balance,
    /// Requester of each host, by its name.
    named: Vec<HttpRequester>,
    /// `None` if each host is one endpoint.
    lookups: Option<Lookups>,
    members: Mutex<Members>,
}

/// When names are looked up, and the task that does it.
struct Lookups {
    interval: Duration,
    /// A look-up that has not ended for so long is lost: its runtime does not run it.
    lost_after: Duration,
    entropy: OsEntropy,
    schedule: Mutex<Schedule>,
}

/// Time of the next look-up, and the task of the last one.
#[derive(Default)]
struct Schedule {
    /// `None` before the first call.
    due: Option<Instant>,
    task: Option<LookUpTask>,
}

/// Task of a look-up, which is aborted when this value is dropped.
struct LookUpTask {
    handle: AbortHandle,
    lost_at: Instant,
}

impl LookUpTask {
    fn is_running(&self, now: Instant) -> bool {
        !self.handle.is_finished() && now < self.lost_at
    }
}

impl Drop for LookUpTask {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl Lookups {
    /// Looks up at this interval; each look-up ends within `timeout`.
    fn new(interval: Duration, timeout: Duration) -> Self {
        let lost_after = timeout.saturating_add(interval).saturating_mul(2);
        Self { interval, lost_after, entropy: OsEntropy::new(), schedule: Mutex::default() }
    }
}

impl Hosts {
    fn new(
        named: Vec<(String, HttpRequester)>,
        calls: CallConfig,
        lookups: Option<Lookups>,
    ) -> Result<Self, Error> {
        let endpoints = named.iter().map(|(host, one)| Endpoint::new(host.as_str(), one.clone()));
        // Until the first look-up has ended, the names themselves are the endpoints.
        let config = BalanceConfig::default().with_timeout(calls.timeout);
        let balance = Balance::with_config(endpoints, config)?.with_observers(calls.observers);
        let members = Mutex::new(Members::new(named.clone()));
        let named = named.into_iter().map(|(_, requester)| requester).collect();
        Ok(Self(Arc::new(Inner { balance, named, lookups, members })))
    }

    /// Waits until a connection to any of the hosts can be made.
    pub(crate) async fn ready(&self, ctx: &Context) -> Result<(), Error> {
        let tries = self.0.named.iter();
        let ready = dial::staggered(tries, Duration::ZERO, |host| host.ready(ctx)).await;
        ready.map_err(|mut errors| errors.pop().unwrap_or_else(split::no_host))
    }

    /// Returns the counts of all hosts.
    pub(crate) fn stats(&self) -> Stats {
        // The requester of an address counts in that of its host.
        let hosts = self.0.named.iter().map(HttpRequester::stats);
        let connections = self.0.members().address_connections();
        let connections = u64::try_from(connections).unwrap_or(u64::MAX);
        hosts
            .fold(Stats::default(), |sum, host| sum.plus(&host))
            .with_figure("connections", connections)
    }

    /// Starts a look-up of the names in a task, if it is time.
    fn look_up_if_due(&self) {
        let Some(lookups) = &self.0.lookups else { return };
        let now = Instant::now();
        let mut schedule = lookups.schedule.lock().unwrap_or_else(PoisonError::into_inner);
        if schedule.due.is_some_and(|due| now < due) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let pause = jittered(lookups.interval, &lookups.entropy);
        schedule.due = Some(after(now, pause));
        if schedule.task.as_ref().is_some_and(|task| task.is_running(now)) {
            return;
        }
        let (named, inner) = (self.0.named.clone(), Arc::downgrade(&self.0));
        let looking_up = async move {
            let found = members::look_up(named).await;
            if let Some(inner) = inner.upgrade() {
                inner.replace(found);
            }
        };
        let handle = runtime.spawn(looking_up).abort_handle();
        schedule.task = Some(LookUpTask { handle, lost_at: after(now, lookups.lost_after) });
    }
}

impl Inner {
    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the addresses of the hosts that were found; the other hosts keep theirs.
    fn replace(&self, found: Vec<members::Found>) {
        let endpoints = self.members().replace(found);
        if let Some(endpoints) = endpoints {
            // The names differ and are few enough: see `Members::replace`.
            let _ = self.balance.set(endpoints);
        }
    }
}

impl Requester for Hosts {
    rr_spi::boxed! {
        fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
            self.look_up_if_due();
            self.0.balance.request(ctx, request)
        }
    }
}

impl ManyRequester for Hosts {
    fn request_many<'f>(
        &'f self,
        ctx: &'f Context,
        request: Request,
        config: ManyConfig,
        replies: ReplySink,
    ) -> BoxFuture<'f, Result<ManyEnd, Error>> {
        self.look_up_if_due();
        self.0.balance.request_many(ctx, request, config, replies)
    }
}

impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosts").field("balance", &self.0.balance).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn the_longest_interval_looks_up_once() {
        let config = HttpConfig::default()
            .with_addresses(HttpAddresses::All)
            .with_lookup_interval(Duration::MAX);
        let Ok(Connected::Several(hosts)) = connect("http://127.0.0.1:1", config) else {
            panic!("each address is an endpoint");
        };
        let is_due = || {
            let due = hosts.0.lookups.as_ref().unwrap().schedule.lock().unwrap().due;
            due.is_none_or(|due| due <= Instant::now())
        };
        assert!(is_due());
        hosts.look_up_if_due();
        assert!(!is_due());
    }

    #[test]
    fn a_look_up_on_a_runtime_that_nobody_drives_is_replaced() {
        let url = "http://127.0.0.1:1?addresses=all&lookup_interval=1ms&connect_timeout=20ms";
        let Ok(Connected::Several(hosts)) = connect(url, HttpConfig::default()) else {
            panic!("each address is an endpoint");
        };
        let is_looked_up = || &*hosts.0.balance.endpoints()[0].name != "127.0.0.1:1";
        let stuck = Builder::new_current_thread().enable_all().build().unwrap();
        stuck.block_on(async { hosts.look_up_if_due() });
        assert!(!is_looked_up());
        let other = Builder::new_current_thread().enable_all().build().unwrap();
        other.block_on(async {
            let begin = Instant::now();
            while !is_looked_up() {
                hosts.look_up_if_due();
                yield_now().await;
                assert!(begin.elapsed() < Duration::from_secs(60), "{hosts:?}");
            }
        });
        drop(stuck);
    }
}
