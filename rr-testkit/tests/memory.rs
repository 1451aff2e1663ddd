//! The conformance suite over the in-memory transport, in virtual time.

#![cfg(feature = "conformance")]

mod support;

rr_testkit::conformance!(support::Memory);
