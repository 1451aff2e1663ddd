//! The in-memory transport: passes requests by value, under the rules of every transport.

mod begun;
mod dispatch;
mod faults;
mod link;
mod registry;
mod requester;
mod server;
mod wire;

pub use faults::{MemoryFault, MemoryFaults};
pub use link::MemoryLink;
pub use requester::MemoryRequester;
pub use server::{serve, serve_with};

pub(crate) use registry::Registry;
pub(crate) use server::serve_at;
