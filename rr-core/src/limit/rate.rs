//! Limit of calls per second.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_spi::observe::{Event, Observers};
use rr_spi::{
    Code, Context, Delivery, Error, Middleware, Next, Reason, Request, Response, RetryHint,
    async_trait,
};
use tokio::time::Instant;

use super::config::RateConfig;
use super::key::{KeyOf, key};

/// Middleware that limits the calls per second, for routes and for requesters.
///
/// A burst of calls is admitted, then calls at the given rate (the generic cell rate algorithm).
/// With [`with_key`](Self::with_key), each key, such as a tenant, has a separate limit.
///
/// # Errors
///
/// `ResourceExhausted`, `rate-limited`, for a call above the rate; rejected on a server, and not sent
/// at a requester. Its retry hint is the time until the next call is admitted.
///
/// # Cancel safety
///
/// A call that is dropped has used up its part of the rate.
///
/// # Examples
///
/// ```
/// use rr_core::limit::{RateConfig, RateLimit};
/// use rr_core::{Context, Error, Request, Response, Router};
///
/// async fn search(_: Context, _: Request) -> Result<Response, Error> {
///     Ok(Response::new("nothing"))
/// }
///
/// let limit = RateLimit::new(RateConfig::default().with_calls_per_second(50))
///     .with_key(|ctx, _| ctx.request().headers().get("x-tenant").map(str::to_owned));
/// let router = Router::new().route("search.find", search).with(limit);
/// ```
pub struct RateLimit {
    config: RateConfig,
    key_of: Option<Box<KeyOf>>,
    keys: Mutex<Keys>,
    observers: Observers,
}

impl RateLimit {
    /// Makes a limit with this configuration.
    #[must_use]
    pub fn new(config: RateConfig) -> Self {
        let now = Instant::now();
        let keys = Keys { shared: Bucket::new(now), buckets: BTreeMap::new(), pruned: now };
        Self { config, key_of: None, keys: Mutex::new(keys), observers: Observers::default() }
    }

    /// Sets a function that returns the key of a call. Calls without a key share one limit. Only the
    /// first 128 bytes count.
    #[must_use]
    pub fn with_key(
        mut self,
        key_of: impl Fn(&Context, &Request) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.key_of = Some(Box::new(key_of));
        self
    }

    /// Replaces the observers; none by default. They are told of each call that is refused
    /// ([`Event::LimitRefused`]).
    #[must_use]
    pub fn with_observers(mut self, observers: Observers) -> Self {
        self.observers = observers;
        self
    }

    /// Takes a call out of its bucket; fails with the time until the next.
    fn take(&self, key: Option<Arc<str>>, now: Instant) -> Result<(), Duration> {
        self.lock().bucket(key, &self.config, now).take(&self.config, now)
    }

    fn lock(&self) -> MutexGuard<'_, Keys> {
        // A panic cannot leave the buckets half-changed: no foreign code runs under the lock.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Buckets of keys, in bounded number.
struct Keys {
    /// For the calls without a key, and for those of more keys than the limit holds.
    shared: Bucket,
    buckets: BTreeMap<Arc<str>, Bucket>,
    /// When full buckets were dropped last.
    pruned: Instant,
}

impl Keys {
    /// Returns the bucket of a key, or the shared one.
    fn bucket(&mut self, key: Option<Arc<str>>, config: &RateConfig, now: Instant) -> &mut Bucket {
        let Some(key) = key else { return &mut self.shared };
        let is_new = !self.buckets.contains_key(&key);
        if is_new && self.buckets.len() >= config.keys_max {
            self.prune(config, now);
            if self.buckets.len() >= config.keys_max {
                return &mut self.shared;
            }
        }
        self.buckets.entry(key).or_insert_with(|| Bucket::new(now))
    }

    /// Drops the buckets that are full again: new ones are the same.
    fn prune(&mut self, config: &RateConfig, now: Instant) {
        // Not for each call of a new key: it looks at every bucket.
        if now.duration_since(self.pruned) >= config.refill() / 4 {
            self.pruned = now;
            self.buckets.retain(|_, bucket| bucket.full_at > now);
        }
    }
}

/// Bucket of calls that refills at a rate (the generic cell rate algorithm).
struct Bucket {
    full_at: Instant,
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes a call out; fails with the time until the bucket has one.
    fn take(&mut self, config: &RateConfig, now: Instant) -> Result<(), Duration> {
        let missing = self.full_at.saturating_duration_since(now);
        let one = config.interval();
        let wait = (missing + one).saturating_sub(config.refill());
        if wait.is_zero() {
            self.full_at = now + missing + one;
            return Ok(());
        }
        Err(wait)
    }
}

#[async_trait]
impl Middleware for RateLimit {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        let key = key(self.key_of.as_deref(), ctx, &request);
        if let Err(wait) = self.take(key, Instant::now()) {
            let (error, limit) = (limited(ctx, wait), self.config.calls_per_second.max(1));
            let event = Event::limit_refused(ctx, &request.target, &error, limit.into());
            self.observers.event(&event);
            return Err(error);
        }
        next.run(ctx, request).await
    }
}

fn limited(ctx: &Context, wait: Duration) -> Error {
    let delivery = ctx.delivery().unwrap_or(Delivery::NotSent);
    let text = "the limit of calls per second is reached";
    Error::failure(Code::ResourceExhausted, delivery, Reason::RATE_LIMITED, text)
        .with_retry(RetryHint::After(wait))
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.lock().buckets.len();
        f.debug_struct("RateLimit")
            .field("config", &self.config)
            .field("keys", &keys)
            .finish_non_exhaustive()
    }
}
