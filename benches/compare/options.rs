//! What the command line says.

use std::path::PathBuf;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
usage: compare [--quick] [--only PATTERN] [--json FILE]
       compare scale

Runs rr and its peers side by side, prints what they take, and judges the gates of benches/README.md.
Ends with status 1 when a gate is not met; what could not be measured is not met.

  --quick         only what the gates need, in short rounds: two minutes in all
  --only PATTERN  only gates and peers with this in their name, such as http, nats or tonic
  --json FILE     write all figures into a file

scale tells what idle connections and calls in flight hold, and ends with status 1 when a call of a
burst is not answered.";

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Extent {
    Quick,
    Full,
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) extent: Extent,
    /// In lower case; empty for everything.
    pub(crate) only: String,
    pub(crate) json: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(arguments: &[&str]) -> Result<Self, String> {
        let mut options = Self { extent: Extent::Full, only: String::new(), json: None };
        let mut arguments = arguments.iter();
        while let Some(&argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument {
                "--quick" => options.extent = Extent::Quick,
                "--only" => options.only = value()?.to_lowercase(),
                "--json" => options.json = Some(value()?.into()),
                _ => return Err(format!("unknown argument `{argument}`")),
            }
        }
        Ok(options)
    }

    /// Whether something of this name is wanted.
    pub(crate) fn wants(&self, name: &str) -> bool {
        name.to_lowercase().contains(&self.only)
    }

    /// The span of a cell that a gate is judged by.
    pub(crate) fn gate_span(&self) -> Duration {
        match self.extent {
            Extent::Quick => Duration::from_millis(110),
            Extent::Full => Duration::from_millis(300),
        }
    }

    /// The span of every other cell.
    pub(crate) fn other_span(&self) -> Duration {
        Duration::from_millis(250)
    }

    /// What precedes a span.
    pub(crate) fn warm_up(&self) -> Duration {
        match self.extent {
            Extent::Quick => Duration::from_millis(40),
            Extent::Full => Duration::from_millis(80),
        }
    }
}
