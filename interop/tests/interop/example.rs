//! The examples under test: built once, then run as programs of their own.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::ensure;
use super::server::Server;
use crate::command::{Outcome, cargo, command, output};
use crate::steps::Stopwatch;
use crate::test;
use crate::workspace::Target;

/// What a client must say of a failure: its code, its delivery and its origin.
pub(super) type Told = (&'static str, &'static str, &'static str);

/// An example that was built.
pub(super) struct Example {
    name: String,
    executable: PathBuf,
}

/// What a client printed.
pub(super) struct Called {
    pub(super) succeeded: bool,
    pub(super) printed: String,
    pub(super) complained: String,
    pub(super) took: Duration,
}

impl Example {
    /// Builds an example and asks cargo where it is.
    pub(super) fn build(target: &Target) -> Outcome<Self> {
        let mut build = cargo(&["build", "--quiet", "--package", test::EXAMPLES]);
        build.args(test::features(target)).args(["--example", &target.name]);
        build.args(["--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
        let printed = output(&mut build)?;
        let messages = printed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut executables = messages
            .filter(|message| message["target"]["name"] == target.name.as_str())
            .filter_map(|message| message["executable"].as_str().map(PathBuf::from));
        let executable = executables.next();
        let executable = executable.ok_or_else(|| format!("cargo built no {}", target.name))?;
        Ok(Self { name: target.name.clone(), executable })
    }

    /// Starts it as a server; `url` may be left to its default.
    pub(super) fn serve(&self, url: Option<&str>) -> Outcome<Server> {
        let mut serve = command(&self.executable, ["serve"]);
        Server::start(&self.name, serve.args(url))
    }

    /// Calls `ping` at a URL.
    pub(super) fn call(&self, url: &str) -> Outcome<Called> {
        let watch = Stopwatch::start();
        let output = command(&self.executable, ["call", url])
            .output()
            .map_err(|error| format!("cannot start {}: {error}", self.name))?;
        let took = watch.elapsed();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (printed, complained) = (text(&output.stdout), text(&output.stderr));
        Ok(Called { succeeded: output.status.success(), printed, complained, took })
    }

    /// Fails unless a call prints this answer.
    pub(super) fn is_answered(&self, url: &str, answer: &str) -> Outcome {
        let called = self.call(url)?;
        ensure(called.succeeded && called.printed.trim_end() == answer, || called.seen())
    }

    /// Fails unless a call fails and says so.
    pub(super) fn fails(&self, url: &str, told: Told) -> Outcome<Called> {
        let called = self.call(url)?;
        let (code, delivery, origin) = told;
        let told = format!("code: {code}, delivery: {delivery}, origin: {origin}");
        let says = called.complained.contains(&told);
        ensure(says && !called.succeeded, || format!("not {told}: {}", called.seen()))?;
        Ok(called)
    }
}

impl Called {
    pub(super) fn seen(&self) -> String {
        let Self { succeeded, printed, complained, .. } = self;
        format!("succeeded: {succeeded}, printed {printed:?}, complained {complained:?}")
    }
}
