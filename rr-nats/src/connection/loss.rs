//! Losses of connections, and their likely causes.

use rr_spi::Error;
use rr_spi::observe::{Event, Monitor};

use super::link::Link;
use crate::error;

/// Record of a lost connection.
#[derive(Debug)]
pub(crate) struct Loss {
    address: String,
    server_id: String,
    /// The last error of the server.
    said: Option<String>,
    why: Option<String>,
    monitor: Monitor,
}

impl Loss {
    /// Records the loss of a connection. Reports the error for calls after the loss immediately,
    /// and again after a short wait for the server's last error.
    pub(crate) async fn record(link: &Link, monitor: &Monitor, report: impl Fn(Error)) -> Self {
        let mut loss = Self::of(link, monitor);
        report(loss.error());
        match link.awaited_server_error().await {
            Some(_) => loss = Self::of(link, monitor),
            None => link.suspect_limit(),
        }
        let (peer, error) = (&*loss.address, loss.error());
        monitor.event(&Event::disconnected(peer, Some(&error)));
        report(error);
        loss
    }

    fn of(link: &Link, monitor: &Monitor) -> Self {
        Self {
            address: link.address().to_owned(),
            server_id: link.server_id(),
            said: link.server_error(),
            why: link.why_lost().map(Into::into),
            monitor: monitor.clone(),
        }
    }

    /// Makes the error for calls after the loss: they were not sent.
    fn error(&self) -> Error {
        error::not_connected_after(&self.address, self.why.as_deref())
    }

    /// Reports a new connection, and compares it with the lost one before it.
    ///
    /// async-nats closes a connection on which it reads a message that it cannot parse, and reports
    /// no cause. If the server is still up (it has the same id) and gave no reason, such a message
    /// is the likely cause. If the new connection is lost as well, its errors name that cause.
    pub(crate) fn replaced(&self, link: &Link) {
        self.monitor.event(&Event::reconnected(link.address()));
        if self.server_id == link.server_id() && self.said.is_none() {
            link.suspect();
        }
    }
}
