//! The tests of rr-testkit through its public interface, one module for each subject.

mod at_once;
mod attempts;
mod faults;
mod link;
mod memory;
mod network;
mod plans;
mod proxy;
mod reports;
mod simulated;
mod support;
