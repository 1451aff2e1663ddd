//! What an exploration found, and what it covered.

use std::fmt;

use super::fault::Script;
use super::panics::Panic;
use super::trace::Trace;
use super::world::World;

/// Report of an exploration: what was covered, and the smallest counterexample.
#[derive(Clone, Debug, Default)]
pub struct WorldsReport {
    pub(super) levels: Vec<Level>,
    pub(super) unfired: usize,
    /// Most messages of one world.
    pub(super) messages: usize,
    /// How many of them faults may strike.
    pub(super) messages_tried: usize,
    pub(super) counterexample: Option<Counterexample>,
    /// Whether orders within an instant are among the faults.
    pub(super) has_orders: bool,
    /// Why the exploration proves nothing.
    pub(super) refused: Option<String>,
}

/// Worlds of one number of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) faults: usize,
    /// Worlds that there are.
    pub(super) worlds: usize,
    /// Worlds that were run.
    pub(super) explored: usize,
    /// Worlds that are equal to another, and were not run.
    pub(super) equal: usize,
}

impl Level {
    pub(super) fn is_complete(&self) -> bool {
        self.explored + self.equal == self.worlds
    }

    /// Returns the number of worlds that are equal to one that was run. Before the end of the level
    /// this is 0: the world to which another is equal may not have been run.
    fn equal_covered(&self) -> usize {
        if self.is_complete() { self.equal } else { 0 }
    }
}

/// Smallest world that breaks the scenario.
#[derive(Clone, Debug)]
pub struct Counterexample {
    pub(super) script: Script,
    pub(super) wrong: String,
    pub(super) trace: Trace,
    pub(super) panics: Vec<Panic>,
}

impl WorldsReport {
    /// Reports the only world that was run.
    pub(super) fn of(script: &Script, world: World) -> Self {
        let messages = world.trace.places.len();
        Self {
            levels: vec![Level { faults: script.len(), worlds: 1, explored: 1, equal: 0 }],
            unfired: usize::from(world.fired < script.len()),
            messages,
            messages_tried: messages,
            has_orders: script.0.iter().any(|(_, fault)| fault.leg().is_some()),
            counterexample: Counterexample::of(script.clone(), world),
            refused: None,
        }
    }

    /// Returns whether the scenario was run, sent messages, and held in every world that was run.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.refused.is_none() && self.counterexample.is_none() && self.messages > 0
    }

    /// Returns the smallest world that breaks the scenario: the one with the fewest faults, of those
    /// the one whose faults are earliest and simplest.
    #[must_use]
    pub fn counterexample(&self) -> Option<&Counterexample> {
        self.counterexample.as_ref()
    }

    /// Returns the number of worlds that were run.
    #[must_use]
    pub fn explored(&self) -> usize {
        self.levels.iter().map(|level| level.explored).sum()
    }

    /// Returns the number of worlds that were not run since they are equal to another that was. Worlds
    /// that add a fault to one of them are not counted.
    #[must_use]
    pub fn equal(&self) -> usize {
        self.levels.iter().map(Level::equal_covered).sum()
    }

    /// Returns whether every world of up to k faults was run, or is equal to one that was. False if k is
    /// not 0 and no fault applies to any message, as with an empty list of faults.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let all = self.levels.iter().all(Level::is_complete);
        self.has_passed() && self.messages_tried == self.messages && all && !self.has_no_faults()
    }

    /// Returns whether faults were to be tried, and none applies to any message.
    fn has_no_faults(&self) -> bool {
        self.levels.iter().any(|level| (level.faults, level.worlds) == (1, 0))
    }

    /// Returns the number of worlds in which a fault never struck. They prove nothing about that fault.
    #[must_use]
    pub fn unfired(&self) -> usize {
        self.unfired
    }
}

impl Counterexample {
    /// Makes the counterexample of a world; `None` if the world passed.
    pub(super) fn of(script: Script, world: World) -> Option<Self> {
        let World { trace, wrong, panics, .. } = world;
        wrong.map(|wrong| Self { script, wrong, trace, panics })
    }

    /// Returns the faults.
    #[must_use]
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// Returns what is wrong in this world: the message of the panic, or the promise that is broken.
    #[must_use]
    pub fn wrong(&self) -> &str {
        &self.wrong
    }

    /// Returns the first ten different panics of handlers and spawned tasks, such as
    /// `a panic at src/shop.rs:12:5: no such order`. Empty over a real transport, where they are printed.
    pub fn panics(&self) -> impl Iterator<Item = String> + '_ {
        self.panics.iter().map(ToString::to_string)
    }

    /// Returns the events of this world.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }
}

/// Writes what was covered, such as `1 of 1 world without faults, 36 of 36 worlds of 1 fault`, and the
/// counterexample.
impl fmt::Display for WorldsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(refused) = &self.refused {
            writeln!(f, "{refused}")?;
        }
        if let Some(counterexample) = &self.counterexample {
            writeln!(f, "{counterexample}")?;
        }
        for (at, level) in self.levels.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            write!(f, "{separator}{level}")?;
        }
        if self.has_orders {
            f.write_str("; a reordering within one instant counts as a fault")?;
        }
        if self.messages_tried < self.messages {
            let Self { messages, messages_tried, .. } = self;
            write!(f, "; faults were tried at the first {messages_tried} of {messages} messages")?;
        }
        if self.unfired > 0 {
            write!(f, "; in {} of them a fault never struck", self.unfired)?;
        }
        if self.explored() == 0 && self.refused.is_none() {
            f.write_str("; no world was run before a limit of time or of worlds")?;
        } else if self.messages == 0 && self.refused.is_none() {
            f.write_str("; the scenario sent no message, so nothing was tried")?;
        } else if self.has_no_faults() && self.refused.is_none() {
            f.write_str("; no fault applies to its messages, so none was tried")?;
        }
        Ok(())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (worlds, equal) = (self.worlds, self.equal_covered());
        let covered = self.explored + equal;
        let world = if worlds == 1 { "world" } else { "worlds" };
        write!(f, "{covered} of {worlds} {world} ")?;
        match self.faults {
            0 => f.write_str("without faults")?,
            1 => f.write_str("of 1 fault")?,
            faults => write!(f, "of {faults} faults")?,
        }
        if equal > 0 {
            write!(f, " ({equal} of them equal to another and not run)")?;
        }
        Ok(())
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.script.len() {
            0 => writeln!(f, "the scenario fails without any fault: {}", self.wrong)?,
            1 => writeln!(f, "one fault breaks the scenario: {}", self.wrong)?,
            faults => writeln!(f, "{faults} faults break the scenario: {}", self.wrong)?,
        }
        for panic in &self.panics {
            writeln!(f, "{panic}")?;
        }
        write!(f, "\n{}", self.trace)?;
        writeln!(f, "\n{}", self.trace.mermaid())?;
        if !self.script.is_empty() {
            writeln!(f, "\nto run this world alone, set RR_WORLD='{}', or in code:", self.script)?;
            writeln!(f, "{}", self.script.rust())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::worlds::Worlds;

    #[test]
    fn worlds_that_did_not_run_are_not_taken_for_worlds_without_messages() {
        let report = Worlds::up_to(1).with_time_max(Duration::ZERO).run(|_| async {});
        let text =
            "0 of 1 world without faults; no world was run before a limit of time or of worlds";
        assert!(!report.has_passed());
        assert_eq!(report.to_string(), text);
    }
}
