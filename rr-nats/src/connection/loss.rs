//! Losses of connections, and their likely causes.

use rr_spi::Error;

use super::link::Link;
use crate::error;

/// Record of a lost connection.
#[derive(Debug)]
pub(crate) struct Lost {
    address: String,
    server_id: String,
    /// The last error of the server.
    said: Option<String>,
    why: Option<String>,
}

impl Lost {
    pub(crate) fn of(link: &Link) -> Self {
        Self {
            address: link.address().to_owned(),
            server_id: link.server_id(),
            said: link.complaint(),
            why: link.why_lost().map(Into::into),
        }
    }

    /// Waits briefly for the server's last error, and logs the loss.
    pub(crate) async fn with_last_words(self, link: &Link) -> Self {
        let lost = match link.last_words().await {
            Some(_) => Self::of(link),
            None => {
                link.suspect_limit();
                self
            }
        };
        let why = lost.why.as_deref().unwrap_or("the server closed it, or the way to it broke");
        tracing::warn!(address = lost.address, why, "a NATS connection was lost");
        lost
    }

    /// Makes the error for calls after the loss: they were not sent.
    pub(crate) fn error(&self) -> Error {
        error::not_connected_after(&self.address, self.why.as_deref())
    }
}

/// Compares a new connection with the lost one before it.
///
/// async-nats closes a connection on which it reads a message that it cannot parse, and reports no
/// cause. If the server is still up (it has the same id) and gave no reason, such a message is the
/// likely cause. If the new connection is lost as well, its errors name that cause.
pub(crate) fn compare(lost: Option<&Lost>, link: &Link) {
    let Some(lost) = lost else { return };
    let lives = lost.server_id == link.server_id();
    if lives && lost.said.is_none() {
        link.suspect();
    }
}
