//! Dialling rules shared by the transports: one look-up at a time, staggered addresses.
//!
//! Opens no socket: a transport passes the function that connects to one address.

mod progress;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

pub use progress::DialProgress;

/// Delay after which the next address is tried in parallel with the previous one (RFC 8305 §5
/// recommends 250 ms).
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Maximum number of addresses tried for one name: 16 take four seconds, less than the default
/// connect timeout of 5 s.
pub const ADDRESSES_MAX: usize = 16;

/// Connects to several addresses and returns the first connection (RFC 8305 §5).
///
/// Each attempt starts `delay` after the previous one, or immediately after a failure. The first
/// connection wins; the other attempts are dropped.
///
/// # Errors
///
/// The errors of all attempts in the order in which they failed; empty without an address.
///
/// # Cancel safety
///
/// Dropping the future drops all attempts.
pub async fn staggered<A, T, E, F>(
    addresses: impl IntoIterator<Item = A>,
    delay: Duration,
    mut connect: impl FnMut(A) -> F,
) -> Result<T, Vec<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut untried = addresses.into_iter();
    let mut attempts: Vec<Pin<Box<F>>> = Vec::new();
    let mut errors = Vec::new();
    let mut timer = pin!(sleep(Duration::ZERO));
    let mut due = true;
    poll_fn(|cx| {
        loop {
            let mut index = 0;
            while index < attempts.len() {
                match attempts[index].as_mut().poll(cx) {
                    Poll::Ready(Ok(connected)) => return Poll::Ready(Ok(connected)),
                    Poll::Ready(Err(error)) => {
                        errors.push(error);
                        drop(attempts.swap_remove(index));
                        due = true;
                    }
                    Poll::Pending => index += 1,
                }
            }
            if !due && timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            due = false;
            match untried.next() {
                Some(address) => {
                    attempts.push(Box::pin(connect(address)));
                    timer.set(sleep(delay));
                }
                None if attempts.is_empty() => {
                    return Poll::Ready(Err(std::mem::take(&mut errors)));
                }
                None => {
                    // From here on, only the attempts wake this future.
                    timer.set(sleep(Duration::MAX));
                    return Poll::Pending;
                }
            }
        }
    })
    .await
}

/// Orders addresses for [`staggered`], at most [`ADDRESSES_MAX`].
///
/// The address families alternate, beginning with that of the first address (RFC 8305 §4).
#[must_use]
pub fn interleaved(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let addresses: Vec<SocketAddr> = addresses.into_iter().collect();
    let Some(leads_with_v6) = addresses.first().map(SocketAddr::is_ipv6) else {
        return addresses;
    };
    let (leading, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == leads_with_v6);
    let (mut leading, mut other) = (leading.into_iter(), other.into_iter());
    let mut ordered = Vec::new();
    loop {
        let before = ordered.len();
        ordered.extend(leading.next());
        ordered.extend(other.next());
        if ordered.len() == before || ordered.len() >= ADDRESSES_MAX {
            ordered.truncate(ADDRESSES_MAX);
            return ordered;
        }
    }
}

type Resolve = dyn Fn() -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Look-up of one host name, shared by all waiting callers.
///
/// The resolver runs on a separate thread, once at a time for all callers: if it never answers, it
/// blocks neither a runtime nor its shutdown. Results are not cached: a look-up that begins after
/// the previous one ended asks the resolver again. Clones share the look-up.
#[derive(Clone)]
pub struct Lookup {
    /// Address of a host that is given as an IP address and needs no look-up.
    literal: Option<SocketAddr>,
    resolve: Arc<Resolve>,
    running: Arc<Mutex<Weak<Running>>>,
}

#[derive(Default)]
struct Running {
    result: OnceLock<io::Result<Vec<SocketAddr>>>,
    ended: Notify,
}

impl Lookup {
    /// Makes a look-up of a host with the system's resolver (`getaddrinfo`). A host that is an IP
    /// address needs no thread.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        let host = host.into();
        let literal = host.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, port));
        let resolve = move || (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        Self { literal, ..Self::with_resolver(resolve) }
    }

    /// Makes a look-up whose result is always this address.
    #[must_use]
    pub fn fixed(address: SocketAddr) -> Self {
        let resolve = move || Ok(vec![address]);
        Self { literal: Some(address), ..Self::with_resolver(resolve) }
    }

    /// Makes a look-up that calls `resolve`, which may block, instead of the system's resolver.
    #[must_use]
    pub fn with_resolver(
        resolve: impl Fn() -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self { literal: None, resolve: Arc::new(resolve), running: Arc::default() }
    }

    /// Returns the addresses of the host in the resolver's order.
    ///
    /// # Errors
    ///
    /// Those of the resolver, and of starting its thread.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time: the look-up continues, the next call joins it.
    pub async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        if let Some(address) = self.literal {
            return Ok(vec![address]);
        }
        let running = self.join()?;
        let mut ended = pin!(running.ended.notified());
        ended.as_mut().enable();
        if running.result.get().is_none() {
            ended.await;
        }
        match running.result.get() {
            Some(Ok(addresses)) => Ok(addresses.clone()),
            Some(Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
            None => Err(io::Error::other("the look-up ended without a result")),
        }
    }

    /// Joins the look-up in progress, or begins one.
    fn join(&self) -> io::Result<Arc<Running>> {
        let mut known = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = known.upgrade().filter(|running| running.result.get().is_none()) {
            return Ok(running);
        }
        let running = Arc::new(Running::default());
        let ends = Ends(Arc::clone(&running));
        let resolve = Arc::clone(&self.resolve);
        thread::Builder::new().name("rr-lookup".to_owned()).spawn(move || {
            let _first = ends.0.result.set(resolve());
        })?;
        *known = Arc::downgrade(&running);
        Ok(running)
    }
}

/// Guard that wakes the callers when the thread ends, including by a panic of the resolver.
struct Ends(Arc<Running>);

impl Drop for Ends {
    fn drop(&mut self) {
        let _first = self.0.result.set(Err(io::Error::other("the resolver panicked")));
        self.0.ended.notify_waiters();
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").field("literal", &self.literal).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use tokio::time::Instant;

    use super::*;

    async fn attempt(address: &'static str) -> Result<&'static str, &'static str> {
        match address {
            "dead" => pending().await,
            "refused" => Err("refused"),
            "slow" => {
                sleep(Duration::from_millis(400)).await;
                Ok("slow")
            }
            _ => Ok(address),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_delays_the_next_one_by_250_ms() {
        let begin = Instant::now();
        let connected = staggered(["dead", "live"], ATTEMPT_DELAY, attempt).await;
        assert_eq!((connected, begin.elapsed()), (Ok("live"), ATTEMPT_DELAY));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_tries_the_next_address_immediately() {
        let begin = Instant::now();
        let connected = staggered(["refused", "live"], ATTEMPT_DELAY, attempt).await;
        assert_eq!((connected, begin.elapsed()), (Ok("live"), Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_that_connects_wins_and_earlier_attempts_stay_in_the_race() {
        let begin = Instant::now();
        let connected = staggered(["slow", "dead", "dead"], ATTEMPT_DELAY, attempt).await;
        assert_eq!((connected, begin.elapsed()), (Ok("slow"), Duration::from_millis(400)));
    }

    #[tokio::test(start_paused = true)]
    async fn all_errors_come_back_and_no_address_has_none() {
        let failed = staggered(["refused", "refused"], Duration::MAX, attempt).await;
        assert_eq!(failed, Err(vec!["refused", "refused"]));
        let none: [&str; 0] = [];
        assert_eq!(staggered(none, ATTEMPT_DELAY, attempt).await, Err(vec![]));
        let none = staggered([1], Duration::MAX, |_| ready(Err::<(), _>("no"))).await;
        assert_eq!(none, Err(vec!["no"]));
    }

    #[test]
    fn families_take_turns_beginning_with_the_first() {
        let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let (a, b, c) = (address("[::1]:1"), address("[::2]:1"), address("127.0.0.1:1"));
        assert_eq!(interleaved([a, b, c]), [a, c, b]);
        assert_eq!(interleaved([c, a, b]), [c, a, b]);
        assert_eq!(interleaved([]), []);
        assert_eq!(interleaved(vec![a; 100]).len(), ADDRESSES_MAX);
    }

    #[tokio::test]
    async fn waiting_callers_share_one_look_up_that_outlives_a_dropped_one() {
        let (answer, answers) = mpsc::channel::<()>();
        let (answers, asked) = (Mutex::new(answers), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&asked);
        let lookup = Lookup::with_resolver(move || {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = answers.lock().unwrap().recv();
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], 1))])
        });
        for _ in 0..100 {
            let mut dropped = pin!(lookup.addresses());
            let polled = poll_fn(|cx| Poll::Ready(dropped.as_mut().poll(cx))).await;
            assert!(polled.is_pending());
        }
        // Joins before the look-up ends: a later caller would begin another one.
        let mut last = pin!(lookup.addresses());
        assert!(poll_fn(|cx| Poll::Ready(last.as_mut().poll(cx))).await.is_pending());
        answer.send(()).unwrap();
        assert_eq!(last.await.unwrap().len(), 1);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_resolver_that_panics_is_an_error() {
        let lookup = Lookup::with_resolver(|| panic!("on purpose"));
        assert!(lookup.addresses().await.is_err());
    }

    #[tokio::test]
    async fn an_ip_address_is_not_looked_up() {
        let lookup = Lookup::new("::1", 7);
        assert_eq!(lookup.addresses().await.unwrap(), ["[::1]:7".parse().unwrap()]);
        let scoped: SocketAddr = "[fe80::1%3]:7".parse().unwrap();
        assert_eq!(Lookup::fixed(scoped).addresses().await.unwrap(), [scoped]);
    }
}
