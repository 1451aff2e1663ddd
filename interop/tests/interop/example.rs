//! The examples under test, as programs of their own.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use crate::check::{Outcome, command, ensure, printed};
use crate::server::Server;

/// What a client must say of a failure: its code, its delivery and its origin.
pub(crate) type Told = (&'static str, &'static str, &'static str);

/// The example that serves and calls over HTTP.
pub(crate) const PING_HTTP: Example = Example("ping_http");

/// The example that serves and calls over NATS.
pub(crate) const PING_NATS: Example = Example("ping_nats");

/// The example of two services made of traits.
pub(crate) const ORDERS: Example = Example("orders");

/// An example, by its name.
#[derive(Clone, Copy)]
pub(crate) struct Example(&'static str);

/// What a client printed.
pub(crate) struct Called {
    pub(crate) succeeded: bool,
    pub(crate) printed: String,
    pub(crate) complained: String,
    pub(crate) took: Duration,
}

impl Example {
    /// Where cargo puts examples: next to the folder of tests.
    fn executable(self) -> Outcome<PathBuf> {
        let test = std::env::current_exe().map_err(|error| error.to_string())?;
        let folder = test.ancestors().nth(2).ok_or("the test lies in no target folder")?;
        Ok(folder.join("examples").join(self.0))
    }

    /// Starts it as a server whose URL is in the environment.
    pub(crate) fn serve_at(self, variable: &str, url: &str) -> Outcome<Server> {
        Server::start(self.0, command(self.executable()?).arg("serve").env(variable, url))
    }

    /// Starts it as a server; `url` may be left to its default.
    pub(crate) fn serve(self, url: Option<&str>) -> Outcome<Server> {
        Server::start(self.0, command(self.executable()?).arg("serve").args(url))
    }

    /// Returns the OpenAPI document that it prints.
    pub(crate) fn openapi(self) -> Outcome<String> {
        printed(command(self.executable()?).arg("openapi"))
    }

    /// Calls `ping` at a URL.
    pub(crate) fn call(self, url: &str) -> Outcome<Called> {
        let begin = Instant::now();
        let output = command(self.executable()?)
            .args(["call", url])
            .output()
            .map_err(|error| format!("cannot start {}: {error}", self.0))?;
        let took = begin.elapsed();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (printed, complained) = (text(&output.stdout), text(&output.stderr));
        Ok(Called { succeeded: output.status.success(), printed, complained, took })
    }

    /// Fails unless a call prints this answer.
    pub(crate) fn is_answered(self, url: &str, answer: &str) -> Outcome {
        let called = self.call(url)?;
        ensure(called.succeeded && called.printed.trim_end() == answer, || called.seen())
    }

    /// Fails unless a call fails and says so.
    pub(crate) fn fails(self, url: &str, told: Told) -> Outcome<Called> {
        let called = self.call(url)?;
        let (code, delivery, origin) = told;
        let told = format!("code: {code}, delivery: {delivery}, origin: {origin}");
        let says = called.complained.contains(&told);
        ensure(says && !called.succeeded, || format!("not {told}: {}", called.seen()))?;
        Ok(called)
    }
}

impl Called {
    pub(crate) fn seen(&self) -> String {
        let Self { succeeded, printed, complained, .. } = self;
        format!("succeeded: {succeeded}, printed {printed:?}, complained {complained:?}")
    }
}
