//! Foreign clients against the examples `ping_http`, `ping_nats` and `orders`, and the first two against foreign
//! servers.
//!
//! Each test starts what it needs. `cargo xtask interop` installs the peers, builds the examples and runs the tests
//! one at a time, since some of them measure. The name of a test tells which part of the installation it needs: the
//! test is left out with that part.

#[macro_use]
mod check;

#[path = "../../../rr-http/tests/conformance"]
#[allow(dead_code, clippy::unwrap_used, reason = "the rig of the conformance tests of rr-http")]
#[allow(unused_imports, unexpected_cfgs, reason = "its lines over TLS and pipes are left out")]
mod of_rr_http {
    pub(crate) mod line;
    pub(crate) mod raw;
    pub(crate) mod rig;
}
use of_rr_http::{line, raw, rig};

mod answers;
#[path = "../../../rr-tls/tests/it/authority.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the helper of the tests of rr-tls")]
mod authority;
mod browser;
mod conformance;
mod curl;
mod example;
mod foreign;
mod forward_proxy;
mod go;
mod limits;
mod lives;
mod nats;
mod openapi;
mod orders;
mod over_https;
mod page;
mod proxies;
mod proxy;
mod replicas;
mod scripts;
mod secured;
mod server;
