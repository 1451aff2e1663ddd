//! Small applications with one planted mistake each, found by their smallest world, and their
//! corrected twins, which pass every world of two faults.

#![cfg(feature = "json")]

mod applications;
mod exploration;
