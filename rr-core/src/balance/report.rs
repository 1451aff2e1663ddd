//! Reports of ejections and returns to observers.

use std::sync::Arc;
use std::time::Duration;

use rr_spi::observe::{EjectionCause, Event};

use super::Balance;

/// Change of an endpoint by the end of a call.
#[derive(Debug)]
pub(super) enum Change {
    Ejected { name: Arc<str>, lasts: Duration, cause: EjectionCause },
    Returned { name: Arc<str> },
}

impl Balance {
    /// Reports a change. Not under the lock: observers are foreign code.
    pub(super) fn report(&self, change: &Change) {
        self.observers.event(&match change {
            Change::Ejected { name, lasts, cause } => Event::endpoint_ejected(name, *lasts, *cause),
            Change::Returned { name } => Event::endpoint_returned(name),
        });
    }

    /// Reports that ejected endpoints were removed.
    pub(super) fn report_removed(&self, ejected: &[Arc<str>]) {
        for name in ejected {
            self.observers.event(&Event::ejected_endpoint_removed(name));
        }
    }
}

/// The ejected endpoints of a balance that is dropped are no longer ejected.
impl Drop for Balance {
    fn drop(&mut self) {
        if !self.observers.is_empty() {
            let ejected = self.lock().ejected();
            self.report_removed(&ejected);
        }
    }
}
