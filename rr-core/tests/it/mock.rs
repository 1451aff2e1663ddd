//! Mocks of services, by typed calls.

#![cfg(all(feature = "json", feature = "memory"))]
#![allow(clippy::unwrap_used, reason = "tests and what they share")]

mod answers;
mod by_hand;
mod differences;
mod everywhere;
#[cfg(feature = "macros")]
mod of_traits;
mod verified;

use std::panic::{AssertUnwindSafe, catch_unwind};

use rr_core::{CallError, Context, Error, RequesterExt};
use rr_testkit::{Loopback, Mock};
use serde::{Deserialize, Serialize};

/// Input of the mocked service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Charge {
    cents: u64,
    to: String,
}

fn charge(cents: u64) -> Charge {
    Charge { cents, to: "Zoë".into() }
}

/// Calls `payments.charge`; the reply is a text.
async fn pay(payments: &Loopback, cents: u64) -> Result<String, Error> {
    call(payments, "payments.charge", &charge(cents)).await
}

async fn call(payments: &Loopback, target: &str, input: &impl Serialize) -> Result<String, Error> {
    let outcome: Result<String, CallError> =
        payments.call(&Context::background(), target, input).await;
    outcome.map_err(Error::from)
}

fn reason(error: &Error) -> &str {
    error.reason().map_or("none", |reason| reason.as_str())
}

/// Drops a mock and returns the message of its panic, or an empty text without a panic.
fn dropped(mock: Mock) -> String {
    panicked(|| drop(mock))
}

fn panicked(run: impl FnOnce()) -> String {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(()) => String::new(),
        Err(panic) => match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(panic) => (*panic.downcast_ref::<&str>().expect("a text")).to_owned(),
        },
    }
}
