//! The rigs that need a nats-server.

mod bridge;
mod by_url;
mod raw;

pub(crate) use bridge::Bridge;
pub(crate) use by_url::ByUrl;
