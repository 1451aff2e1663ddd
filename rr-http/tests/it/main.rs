//! The tests of rr-http through its public interface, one module for each subject.

mod addresses;
#[cfg(unix)]
mod bound;
mod client;
mod compression;
mod connection_age;
mod cors;
mod cut_anywhere;
mod delivery;
mod descriptions;
mod dialling;
mod drain;
mod echo;
mod fallback;
mod get;
mod h2_client;
mod kept;
mod malicious;
mod mounted;
mod mounted_layers;
mod observed;
mod proxies;
mod proxy_protocol;
mod readiness;
mod refusals;
mod replacement;
mod replies;
mod runtimes;
mod server;
mod silence;
mod slow_peers;
mod slow_readers;
mod sockets;
mod streams;
mod support;
mod unasked;
