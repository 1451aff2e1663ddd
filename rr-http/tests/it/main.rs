//! The tests of rr-http through its public interface, one module for each subject.

mod addresses;
mod client;
mod connection_age;
mod cors;
mod cut_anywhere;
mod delivery;
mod descriptions;
mod dialling;
mod drain;
mod echo;
mod get;
mod h2_client;
mod malicious;
mod refusals;
mod replies;
mod runtimes;
mod server;
mod silence;
mod slow_peers;
mod slow_readers;
mod streams;
mod support;
mod unasked;
