//! Go: programs over net/http and nats.go.

use std::process::Command;

use crate::check::{Outcome, command, ensure, installed, printed};
use crate::example::PING_HTTP;
use crate::server::Server;

const HELLO: &str = "Hello from the server!";

checks! {
    go_net_http_client_of_ping_http: client();
    go_net_http_server_for_ping_http: server();
}

/// A program that `cargo xtask interop` has built.
pub(crate) fn program(name: &str) -> Command {
    command(installed("go/programs").join(name))
}

/// Fails unless a program prints this and nothing else.
pub(crate) fn prints(program: &mut Command, expected: &str) -> Outcome {
    let printed = printed(program)?;
    ensure(printed == expected, || format!("printed {printed:?}, not {expected:?}"))
}

fn client() -> Outcome {
    let server = PING_HTTP.serve(None)?;
    prints(program("http_client").arg(format!("{}/ping", server.url())), &format!("{HELLO}\n"))
}

fn server() -> Outcome {
    let server = Server::start("go-http", &mut program("http_server"))?;
    PING_HTTP.is_answered(server.url(), HELLO)
}
