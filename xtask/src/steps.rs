//! Named steps, their seconds and the summary at the end.

use crate::command::Outcome;
use crate::stopwatch::Stopwatch;

/// The steps of one command. A failed step does not keep the others from running.
pub(crate) struct Steps {
    command: &'static str,
    total: Stopwatch,
    done: usize,
    failed: Vec<String>,
}

impl Steps {
    pub(crate) fn new(command: &'static str) -> Self {
        Self { command, total: Stopwatch::start(), done: 0, failed: Vec::new() }
    }

    /// Runs a step, prints its name before, and its outcome and seconds after it.
    /// Returns whether it succeeded.
    pub(crate) fn run(&mut self, name: &str, step: impl FnOnce() -> Outcome) -> bool {
        println!("== {name}");
        let watch = Stopwatch::start();
        let outcome = step();
        let seconds = watch.elapsed().as_secs_f64();
        self.done += 1;
        match outcome {
            Ok(()) => {
                println!("== {name}: ok, {seconds:.1} s");
                true
            }
            Err(message) => {
                println!("{message}");
                println!("== {name}: FAILED, {seconds:.1} s");
                self.failed.push(name.to_owned());
                false
            }
        }
    }

    /// Prints the summary.
    ///
    /// # Errors
    ///
    /// When a step failed; the message names all that did.
    pub(crate) fn finish(self) -> Outcome {
        let seconds = self.total.elapsed().as_secs_f64();
        let (command, done, failed) = (self.command, self.done, self.failed.len());
        println!("xtask {command}: {done} steps, {failed} failed, {seconds:.1} s");
        if failed == 0 {
            return Ok(());
        }
        Err(format!("{command} failed: {}", self.failed.join(", ")))
    }
}
