//! The tests of rr-nats through its public interface, one module for each subject.

mod any_config;
mod attempts;
mod cancel;
mod clocks;
mod connection;
#[cfg(feature = "nkeys")]
mod credentials;
mod drain;
mod echo;
mod failover;
mod failures;
mod foreign;
mod groups;
mod lame_duck;
mod many;
mod members;
mod observed;
mod pace;
mod payload;
mod refusals;
mod responder;
mod support;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "websockets")]
mod websockets;
