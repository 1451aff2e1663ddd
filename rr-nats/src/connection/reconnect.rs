//! Task that keeps a requester connected.

use std::sync::Arc;
use std::time::Duration;

use rr_spi::Context;
use tokio::task::JoinSet;

use super::doubt::{PROBE_MAX, Resolution, resolve};
use super::{Dialer, Link, Loss, Shared, Status};
use crate::error;
use crate::sync::{First, first, lock};

/// Interval at which a replaced connection is checked for calls that have not ended. No call waits
/// for this check, and the server ends the connection after seconds in any case.
const RETIRE_CHECK: Duration = Duration::from_millis(50);

/// Connects and reconnects until the connection is no longer needed.
pub(super) struct Reconnector {
    shared: Arc<Shared>,
    /// One task for each replaced connection; the tasks end with the `Reconnector`.
    leaving: JoinSet<()>,
}

/// Reason to look for a replacement of the current connection.
enum Event {
    /// The server denied the inbox: no reply can arrive any more.
    InboxDenied,
    /// The server announced its end, or the connection is lost.
    Leaving,
    /// The connection has gone silent.
    Doubted,
}

impl Reconnector {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, leaving: JoinSet::new() }
    }

    pub(super) async fn run(&mut self, mut dialer: Dialer) {
        let mut lost: Option<Loss> = None;
        loop {
            match dialer.dial(None).await {
                Ok(link) => {
                    if let Some(lost) = &lost {
                        lost.replaced(&link);
                    }
                    lost = Some(self.stay_connected(Arc::new(link), &mut dialer).await);
                }
                Err(error) if error::is_refusal(&error) => self.down(Status::Refused(error)),
                Err(error) => self.down(Status::Down(error)),
            }
            dialer.pause().await;
        }
    }

    /// Stays connected until a connection is lost: moves to the next server if a server announces
    /// its end or has gone silent. Returns the record of the loss.
    async fn stay_connected(&mut self, mut link: Arc<Link>, dialer: &mut Dialer) -> Loss {
        self.shared.set(Status::Up(Arc::clone(&link)));
        loop {
            let mut event = event(&link).await;
            let mut next = None;
            if matches!(event, Event::Leaving) {
                let pause = dialer.spread();
                let successor = successor(dialer, pause, link.address());
                match link.alive().race(first(link.doubted(), successor)).await {
                    // A server that announced its end may go silent meanwhile.
                    Ok(First::One(())) => event = Event::Doubted,
                    Ok(First::Other(made)) => next = Some(made),
                    Err(_) => {}
                }
            }
            match event {
                // The next attempt asks for the inbox again and reports the refusal.
                Event::InboxDenied => link.mark_lost(),
                Event::Leaving => {}
                Event::Doubted => {
                    let probe = async { link.round_trip().await.is_ok() };
                    let dial = successor(dialer, Duration::ZERO, link.address());
                    match resolve(probe, dial).await {
                        Resolution::Proven => {
                            self.shared.changed.notify_waiters();
                            continue;
                        }
                        Resolution::Elsewhere(made) => next = Some(made),
                        Resolution::Lost => link.mark_lost(),
                    }
                }
            }
            let Some(next) = next else { break };
            link = Arc::new(next);
            if let Some(old) = self.shared.replace(Arc::clone(&link)) {
                while self.leaving.try_join_next().is_some() {}
                let is_doubted = matches!(event, Event::Doubted);
                self.leaving.spawn(retire(Arc::clone(&self.shared), old, is_doubted));
            }
        }
        // Reported immediately, since calls look for a connection in the status.
        Loss::record(&link, &self.shared.monitor, |error| self.down(Status::Down(error))).await
    }

    fn down(&self, status: Status) {
        if let Status::Down(error) | Status::Refused(error) = &status {
            lock(&self.shared.history).last_error = Some(error.clone());
        }
        self.shared.set(status);
    }

    /// Flushes the cancel messages of calls that were just dropped, and closes.
    pub(super) async fn close(self) {
        let mut links = lock(&self.shared.history).leaving.clone();
        links.extend(lock(&self.shared.status).link().cloned());
        for link in links {
            link.flush().await;
        }
    }
}

impl Drop for Reconnector {
    fn drop(&mut self) {
        // Runs also when the runtime ends: calls that wait for a connection must fail then.
        self.shared.set(Status::Closed);
        let leaving = std::mem::take(&mut lock(&self.shared.history).leaving);
        leaving.iter().for_each(|link| lock(&self.shared.history).count(link));
    }
}

async fn event(link: &Link) -> Event {
    let denied_or_leaving = first(link.inbox_denied(), link.staying().cancelled());
    match first(denied_or_leaving, link.doubted()).await {
        First::One(First::One(())) => Event::InboxDenied,
        First::One(First::Other(_)) => Event::Leaving,
        First::Other(()) => Event::Doubted,
    }
}

/// Connects to the next server that accepts, after a pause; the address `left` is tried last.
async fn successor(dialer: &mut Dialer, pause: Duration, left: &str) -> Link {
    tokio::time::sleep(pause).await;
    loop {
        if let Ok(link) = dialer.dial(Some(left)).await {
            return link;
        }
        dialer.pause().await;
    }
}

/// Keeps a replaced connection until its calls have ended, or the server ends it. A connection in
/// doubt must also answer a probe.
async fn retire(shared: Arc<Shared>, link: Arc<Link>, is_doubted: bool) {
    // Every call holds the connection, from before it takes a slot until after its cancel message
    // was handed over. The other two holders are this task and the list `leaving`.
    const OTHER_HOLDERS: usize = 2;
    let idle = async {
        while Arc::strong_count(&link) > OTHER_HOLDERS {
            tokio::time::sleep(RETIRE_CHECK).await;
        }
    };
    let silent = async {
        let limit = Context::background().with_timeout(PROBE_MAX);
        if !is_doubted || matches!(limit.race(link.round_trip()).await, Ok(Ok(()))) {
            std::future::pending().await
        }
    };
    if let Ok(First::Other(())) = link.alive().race(first(idle, silent)).await {
        link.mark_lost();
    }
    // The cancel message of the last call may not have left yet.
    link.flush().await;
    shared.forget(&link);
}
