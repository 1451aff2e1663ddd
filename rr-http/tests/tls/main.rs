//! `https://` URLs at both ends, with certificates made on the fly.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

#[path = "../../../rr-tls/tests/it/authority.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod authority;
mod calls;
#[path = "../../../rr-tls/tests/it/directory.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod directory;
mod handshakes;
mod kept;
mod mutual;
mod proxy;
mod refused;
mod rotation;
mod support;
mod versions;
