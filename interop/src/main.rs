//! Both ends of calls through a proxy, for the checks in `tests/interop/proxies.rs`.
//!
//! `serve URL LOG` appends the id of each call whose handler runs to LOG, before it answers: a line that was
//! written survives SIGKILL. `call URL CALLS KIND STACK LOG..` makes calls, reads the logs and prints what the
//! errors claim wrongly.

mod call;
mod serve;

use std::process::ExitCode;

/// The target of all calls.
const TARGET: &str = "proxied.run";

/// Target that answers with the address of its peer.
const WHOAMI: &str = "proxied.whoami";

const USAGE: &str =
    "usage: proxied serve URL LOG | call URL CALLS (unspecified|safe) (bare|recommended) LOG..";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match &words[..] {
        ["serve", url, log] => serve::serve(url, log).await,
        ["call", url, calls, kind, stack, logs @ ..] => {
            call::call(url, calls, kind, stack, logs).await
        }
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(complaint) => {
            eprintln!("{complaint}");
            ExitCode::FAILURE
        }
    }
}
