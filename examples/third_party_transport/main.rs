//! A transport that rr has never heard of, in three hundred lines: messages over TCP, a connection
//! for each call. It needs rr-spi, tokio and the standard library.
//!
//! `cargo run --example third_party_transport` runs the whole conformance suite over it and prints
//! the report; `-- 'drain/*'` runs a part. The book's page "Writing a transport" goes through it.

mod harness;
mod raw;
mod requester;
mod server;
#[cfg(test)]
mod tests;
mod wire;

fn main() {
    let plan = harness::plan();
    let plan = match std::env::args().nth(1) {
        Some(pattern) => plan.only(pattern),
        None => plan,
    };
    // Some handlers panic as part of their case; what fails is told by the report.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let report = rr_testkit::conformance::run(harness::Framed, &plan);
    std::panic::set_hook(hook);
    println!("{report}");
    report.assert();
}
