//! The in-memory transport: requests by value, on the rules of every transport.

mod faults;
mod handling;
mod link;
mod meeting;
mod requester;
mod server;

pub use faults::{MemoryFault, MemoryFaults};
pub use link::MemoryLink;
pub use requester::MemoryRequester;
pub use server::{serve, serve_with};

pub(crate) use meeting::Meeting;
pub(crate) use server::serve_at;
