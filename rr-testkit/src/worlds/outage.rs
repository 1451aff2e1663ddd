//! Events that a scenario causes itself, at a time of its choice: drains and cut links.

use std::sync::Arc;
use std::time::Duration;

use rr_spi::{DrainReport, Intake, Server};
use tokio::task::JoinSet;

use super::network::{Instance, Network};

impl Network {
    /// Drains every instance of a service: new requests are refused as `draining`, those in flight
    /// may finish within the grace. Returns the sum of the reports; without a service of that name
    /// all counts are 0.
    ///
    /// The instances refuse requests from then on. [`Network::serve`] starts the service anew.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the drain of an instance that has begun.
    pub async fn drain(&self, service: &str, grace: Duration) -> DrainReport {
        let mut drains = JoinSet::new();
        for server in self.servers(service) {
            drains.spawn(async move { server.shutdown(grace).await });
        }
        let mut sum = DrainReport::default();
        while let Some(Ok(report)) = drains.join_next().await {
            sum.completed += report.completed;
            sum.aborted += report.aborted;
            sum.refused += report.refused;
        }
        sum
    }

    /// Cuts a link until [`Network::restore`]: every call over the link ends with `Unavailable`,
    /// unknown, `connection-lost`, and no further connection can be made.
    pub fn cut(&self, from: &str, to: &str) {
        self.set_cut(from, to, true);
        self.reset(from, to);
    }

    /// Restores a link after [`Network::cut`].
    pub fn restore(&self, from: &str, to: &str) {
        self.set_cut(from, to, false);
    }
}

impl Instance {
    /// Returns the server that drains the instance. It is made here: most worlds drain nothing.
    pub(super) fn server(&mut self, name: &str) -> Arc<Server> {
        let intake = &self.intake;
        Arc::clone(self.server.get_or_insert_with(|| Arc::new(server(name, intake.clone()))))
    }
}

fn server(name: &str, intake: Intake) -> Server {
    Server::spawn(name.to_owned(), intake.clone(), |shutdown| async move {
        shutdown.draining().await;
        intake.idle().await;
    })
}
