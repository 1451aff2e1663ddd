//! Limits of calls in flight and of calls per second, on both sides.

mod adaptive;
mod concurrency;
mod config;
mod gate;
mod key;
mod permit;
mod rate;

pub use concurrency::ConcurrencyLimit;
pub use config::{AdaptiveConfig, ConcurrencyConfig, Order, RateConfig};
pub use rate::RateLimit;

#[cfg(test)]
mod tests;
