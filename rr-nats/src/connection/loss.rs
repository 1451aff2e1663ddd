//! Why a connection was lost, as far as that is known.

use rr_spi::Error;

use super::Link;
use crate::error;

/// What is known of a connection that was lost.
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

    /// Waits a moment for what the server said last, and logs the loss.
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

/// Compares a new connection with the one that was lost before.
///
/// async-nats ends a connection on which it reads a message that it cannot parse, and tells nothing
/// but that it is over. When the server lives (it has the same id) and has not said why, that is the
/// likely cause, and errors of the new connection name it when it is lost as well.
pub(crate) fn compare(lost: Option<&Lost>, link: &Link) {
    let Some(lost) = lost else { return };
    let lives = lost.server_id == link.server_id();
    if lives && lost.said.is_none() {
        link.suspect();
    }
}
