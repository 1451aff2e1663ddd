//! Boxed future of the traits.

use std::future::Future;
use std::pin::Pin;

/// Boxed future, as returned by the traits of this crate.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
