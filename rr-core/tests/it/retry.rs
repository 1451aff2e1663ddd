//! Trying again: rules that other systems have tests for, under the names they have there, then
//! properties over any schedule. All in virtual time, over a requester that follows a script.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod amplification;
mod finagle;
mod grpc_core;
mod grpc_go;
mod grpc_java;
mod layer;
mod observed;
mod properties;
mod smithy;
pub(crate) mod support;
