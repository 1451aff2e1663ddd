//! Every world: an application's services, run with every combination of up to k faults.
//!
//! [`Worlds`] runs a scenario in virtual time, first without faults, then with each single fault at
//! each message, then with each pair, and so on. It reports the smallest set of faults that breaks
//! the scenario, as a [`Script`] that replays it. A scenario is a closure that builds services in a
//! [`Network`], calls them, and asserts. A [`Profile`] lets faults strike by the rules of one transport.
//! [`Worlds::replay_over`] runs a scenario over a real transport, which a [`Carrier`] starts.
//!
//! Everything happens at the level of requests. For byte streams and packets use turmoil, for the
//! whole runtime madsim, and for threads and atomics loom or shuttle.

mod client;
mod explore;
mod fault;
mod fingerprint;
mod flight;
mod life;
mod network;
mod outage;
mod panics;
mod picture;
mod profile;
mod real;
mod report;
mod run;
#[cfg(feature = "conformance")]
mod suite;
mod trace;
mod wire;
mod world;

pub use client::NetworkClient;
#[cfg(feature = "conformance")]
pub(crate) use client::first_poll;
pub use explore::Worlds;
pub use fault::{Fault, Place, Script};
pub use network::Network;
pub use profile::Profile;
pub use real::Carrier;
pub use report::{Counterexample, WorldsReport};
pub use trace::Trace;
