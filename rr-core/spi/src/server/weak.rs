//! Reader of a server that does not keep it.

use std::fmt;
use std::sync::{Arc, Weak};

use super::{Figures, stats};
use crate::intake::{Intake, WeakIntake};
use crate::observe::Stats;

/// Reader of a server that neither keeps it running nor keeps its routes; see
/// [`Server::downgrade`](super::Server::downgrade).
///
/// For code that the server's own routes or observers hold, such as a page that shows the server.
#[derive(Clone)]
pub struct WeakServer {
    intake: WeakIntake,
    figures: Option<Weak<Figures>>,
}

impl WeakServer {
    pub(super) fn of(intake: &Intake, figures: Option<&Arc<Figures>>) -> Self {
        Self { intake: intake.downgrade(), figures: figures.map(Arc::downgrade) }
    }

    /// Returns the counts of the requests, as [`Server::stats`](super::Server::stats); `None` once the
    /// server is gone.
    #[must_use]
    pub fn stats(&self) -> Option<Stats> {
        let figures = self.figures.as_ref().and_then(Weak::upgrade);
        Some(stats(&self.intake.upgrade()?, figures.as_deref()))
    }

    /// Returns whether the server drains or has drained; `None` once it is gone.
    #[must_use]
    pub fn is_draining(&self) -> Option<bool> {
        Some(self.intake.upgrade()?.is_draining())
    }
}

impl fmt::Debug for WeakServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakServer").field("is_draining", &self.is_draining()).finish()
    }
}
