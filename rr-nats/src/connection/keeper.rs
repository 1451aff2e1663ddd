//! What keeps a requester connected, from a task of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rr_spi::{Delivery, Error};
use tokio::task::JoinSet;

use super::{Dialer, Link, Shared, Status};
use crate::error;
use crate::wait::{First, first};

/// How often it is looked whether the calls on a connection that is being left have ended. Nobody
/// waits for it, and the server ends the connection after seconds in any case.
const LEAVE_LOOK: Duration = Duration::from_millis(50);

/// Connects, and connects again, until nobody needs the connection any more.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    /// One task for each connection that is being left; they end with this.
    leaving: JoinSet<()>,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, leaving: JoinSet::new() }
    }

    pub(super) async fn run(&mut self, mut dialer: Dialer) {
        loop {
            match dial(&mut dialer).await {
                Ok(link) => self.live(Arc::new(link), &mut dialer).await,
                Err(error) => self.failed(&dialer, error),
            }
            tokio::time::sleep(dialer.pause()).await;
        }
    }

    /// Stays connected: from a server that announces its end to the next one, until a connection
    /// is lost.
    async fn live(&mut self, mut link: Arc<Link>, dialer: &mut Dialer) {
        self.shared.connects.fetch_add(1, Ordering::Relaxed);
        self.shared.set(Status::Up(Arc::clone(&link)));
        loop {
            if let First::One(()) = first(link.inbox_denied(), link.staying().cancelled()).await {
                // No reply can come any more. Asking for it again says what is the matter.
                link.lose();
            }
            let Ok(next) = link.alive().race(successor(dialer)).await else { break };
            link = Arc::new(next);
            self.shared.connects.fetch_add(1, Ordering::Relaxed);
            if let Some(old) = self.shared.replace(Arc::clone(&link)) {
                while self.leaving.try_join_next().is_some() {}
                self.leaving.spawn(leave(Arc::clone(&self.shared), old));
            }
        }
        self.shared.set(Status::Down(error::not_connected()));
    }

    /// Says why there is no connection.
    fn failed(&self, dialer: &Dialer, error: Error) {
        let status = match dialer.refusal() {
            // Calls wait until every address was tried once; the next one may be there.
            _ if dialer.is_in_first_round() && self.shared.is_first() => return,
            Some(refusal) if !dialer.is_in_first_round() => Status::Refused(refusal.clone()),
            _ => Status::Down(error),
        };
        self.shared.set(status);
    }

    /// Lets cancel messages of calls that were just dropped leave, and closes.
    pub(super) async fn close(self) {
        let mut links = self.shared.past().leaving.clone();
        if let Status::Up(link) = &*self.shared.lock() {
            links.push(Arc::clone(link));
        }
        for link in links {
            link.flush().await;
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Also when the runtime ends: whoever waits for a connection must hear of it.
        self.shared.set(Status::Closed);
        let leaving = std::mem::take(&mut self.shared.past().leaving);
        leaving.iter().for_each(|link| self.shared.past().count(link));
    }
}

/// Makes one attempt. A connection without an inbox is of no use to a requester.
async fn dial(dialer: &mut Dialer) -> Result<Link, Error> {
    let link = dialer.dial().await?;
    if !link.is_inbox_denied() {
        return Ok(link);
    }
    let inbox = format!("{}.*", link.inbox());
    let error = error::denied("subscribing to", &inbox, Delivery::NotSent)
        .with_hint("set `inbox_prefix` to what the user may subscribe to");
    dialer.refused(error.clone());
    Err(error)
}

/// Connects to the next server that takes us. The one that announced its end takes nobody: it has
/// stopped listening by then.
async fn successor(dialer: &mut Dialer) -> Link {
    tokio::time::sleep(dialer.spread()).await;
    loop {
        if let Ok(link) = dial(dialer).await {
            return link;
        }
        tokio::time::sleep(dialer.pause()).await;
    }
}

/// Keeps a connection until its calls have ended, or the server ends it.
async fn leave(shared: Arc<Shared>, link: Arc<Link>) {
    // Every call holds the connection, from before it takes a slot to after its cancel message was
    // handed over. Beside them there are this task and the list of what is being left.
    const BESIDE_CALLS: usize = 2;
    let idle = async {
        while Arc::strong_count(&link) > BESIDE_CALLS {
            tokio::time::sleep(LEAVE_LOOK).await;
        }
    };
    let _ = link.alive().race(idle).await;
    // The last call may have been dropped, and its cancel message not have left yet.
    link.flush().await;
    shared.forget(&link);
}
