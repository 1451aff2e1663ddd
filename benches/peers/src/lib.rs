//! What rr is measured beside, and the load that is put on all of it; see `benches/README.md`.
//!
//! # Map
//!
//! | you want to | read |
//! |---|---|
//! | count allocations | [`counting`] |
//! | put a load on something and learn how it fared | [`drive`] |
//! | read a process's CPU time and memory | [`process`] |
//! | make one figure of many | [`statistics`] |
//! | add a contender | [`Peer`] |
//! | see what others would use | `foreign` (feature `foreign`) |

pub mod counting;
pub mod drive;
#[cfg(feature = "foreign")]
pub mod foreign;
mod histogram;
mod peer;
pub mod process;
pub mod statistics;

pub use drive::Client;
pub use histogram::Histogram;
pub use peer::{Family, Peer, Runs, Served};

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A result with any error.
pub type Result<T, E = BoxError> = std::result::Result<T, E>;
