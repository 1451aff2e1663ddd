//! When a connection should be replaced while the server continues to serve.

use super::stop::{Stop, Stopped};

/// Retirement of one connection: because of its age, or because the server leaves soon.
///
/// A retired connection serves what it has received and what still comes. Its peer learns that it
/// should open another one: by `connection: close` in the next reply, or by GOAWAY.
#[derive(Clone, Copy)]
pub(super) struct Retirement {
    /// True if the server was leaving when the connection was opened: replacing the connection
    /// would not bring its peer to another server.
    is_late: bool,
}

impl Retirement {
    pub(super) fn new(leaving: &Stop) -> Self {
        Self { is_late: leaving.is_stopped() }
    }

    /// Returns whether the server leaves, so that the next reply of HTTP/1.1 closes the connection.
    pub(super) fn is_due(self, leaving: &Stop) -> bool {
        !self.is_late && leaving.is_stopped()
    }

    /// Returns a future that ends when the server leaves; `None` if it was leaving before.
    pub(super) fn wait(self, leaving: &Stop) -> Option<Stopped<'_>> {
        (!self.is_late).then(|| leaving.wait())
    }
}
