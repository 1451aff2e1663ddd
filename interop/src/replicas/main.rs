//! Both ends of calls to three replicas, one of which is slow or silent for a while, for the checks in
//! `tests/interop/replicas.rs`.
//!
//! `serve URL` is a replica. `load NAME (slow-replica|black-hole) SECONDS URL URL URL` calls three replicas, makes the
//! last of them misbehave for SECONDS, and prints what the callers noticed. It fails if that is too much.

mod load;
mod measured;
mod serve;

use std::process::ExitCode;
use std::time::Duration;

/// Target of the calls.
const FIND: &str = "replica.find";

/// Target that sets how many times longer a call takes; 0 answers none.
const SLOWER: &str = "replica.slower";

/// Mean time of a call in a healthy replica. The times are exponentially distributed, and slept.
const WORK: Duration = Duration::from_millis(20);

const USAGE: &str =
    "usage: replicas serve URL | load NAME (slow-replica|black-hole) SECONDS URL URL URL";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match &words[..] {
        ["serve", url] => serve::serve(url).await,
        ["load", name, trouble, seconds, urls @ ..] => {
            load::load(name, trouble, seconds, urls).await
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

/// Draws a time from an exponential distribution.
fn exponential(mean: Duration, drawn: u64) -> Duration {
    // The upper 53 bits, as a part of one that is never zero.
    let part = ((drawn >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    mean.mul_f64(-part.ln())
}
