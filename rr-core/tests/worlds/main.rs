//! Small applications with one planted mistake each, found by their smallest world, and their
//! corrected twins, which pass every world of two faults.

#![cfg(all(feature = "json", feature = "macros"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

mod applications;
mod carriers;
mod exploration;
mod orders;
mod over_real_transports;
mod panics;
mod profiles;
mod promises;
