//! Observation of requests, attempts and calls: outcomes, events, and where the time went.
//!
//! An [`Observer`] is set in the configuration of each end, such as
//! [`ClientConfig::with_observers`](crate::config::ClientConfig::with_observers) and
//! [`ServerConfig::with_observers`](crate::config::ServerConfig::with_observers). It then sees every
//! attempt of a client and every request of a server. A call may have several attempts:
//! [`Stack::observed_by`](crate::Stack::observed_by) and
//! [`recommended_with`](crate::recommended_with) report the call as a whole.

mod calls;
#[cfg(any(feature = "admin", feature = "tracing"))]
pub(crate) mod fault;
#[cfg(any(feature = "admin", feature = "tracing"))]
pub(crate) mod in_call;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(any(feature = "admin", feature = "tracing"))]
pub(crate) mod shown;
#[cfg(feature = "tracing")]
mod tracing;

pub use calls::Observe;
#[cfg(feature = "metrics")]
pub use metrics::MetricsObserver;
#[doc(inline)]
pub use rr_spi::observe::{
    EjectionCause, End, Event, Kind, Monitor, Observer, Observers, Outcome, Span, Start, Stats,
    WatchedAttempt, WatchedRequest, measurements, names,
};
#[doc(inline)]
pub use rr_spi::{Progress, Recording, Spent, Stage, Timeline};
#[cfg(feature = "tracing")]
pub use tracing::TracingObserver;

/// Adds the observers of the features that are enabled, unless they are there already.
pub(crate) fn with_features(observers: Observers) -> Observers {
    #[cfg(feature = "tracing")]
    let observers = with(observers, TracingObserver::new);
    #[cfg(feature = "metrics")]
    let observers = with(observers, MetricsObserver::new);
    observers
}

#[cfg(any(feature = "metrics", feature = "tracing"))]
fn with<T: Observer>(observers: Observers, observer: impl Fn() -> T) -> Observers {
    if observers.has::<T>() { observers } else { observers.and(observer()) }
}
