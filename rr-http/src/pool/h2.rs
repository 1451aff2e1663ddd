//! HTTP/2 connection pool: few connections, shared by many calls, with bounded streams on each.
//!
//! Built directly on `h2`: its errors state which side caused them and which streams a GOAWAY
//! spares, and a call needs no task.

mod outgoing;
mod state;
mod task;

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use h2::client::{Builder, Connection, SendRequest};
use rr_spi::dial::DialProgress;
use rr_spi::{Attempt, Deadline, Doubt, Error, Stage};
use tokio::sync::{Notify, Semaphore};

pub(crate) use self::outgoing::{Outgoing, OutgoingWatch};
use self::state::{PoolState, Sent, Step, StreamPermit, WaitTicket};
use self::task::{BEFORE_SETTINGS, ConnectionTask};
use super::negotiated::{NegotiatedVersion, Negotiation};
use super::tapped::Tapped;
use super::{Dialer, Owned, RuntimePool, pause};
use crate::config::HttpConfig;
use crate::error::handed_back;
use crate::socket::{Refused, Socket};
use crate::sync::GaugeGuard;
use crate::sync::lock;
use crate::wire::{FRAME_BYTES_MAX, HEADER_LIST_BYTES_MAX};

/// Receive windows of a stream and of a connection: a body of the default limit arrives without a
/// pause.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 5 * 1024 * 1024;

/// Maximum number of streams of cancelled calls that h2 remembers for a second, so that their late
/// replies are ignored. H2 counts late replies of further streams as errors, and after 1024 of them
/// closes the connection with every call on it.
const RESETS_REMEMBERED_MAX: usize = 8192;

#[derive(Debug)]
pub(crate) struct H2Pool {
    shared: Arc<H2Shared>,
    /// Orders the calls that wait for a permit: only the first checks for one.
    turn: Semaphore,
}

#[derive(Debug)]
pub(super) struct H2Shared {
    dialer: Arc<Dialer>,
    negotiation: Negotiation,
    state: Mutex<PoolState>,
    /// Notified when the first waiting call should check again.
    changed: Notify,
    connect_timeout: Duration,
    idle_timeout: Duration,
}

/// Lease of one stream on a connection.
#[derive(Debug)]
pub(crate) struct H2Lease<'a> {
    pub(crate) sender: SendRequest<Outgoing>,
    id: u64,
    sent: Sent,
    refused: Refused,
    shared: &'a H2Shared,
}

impl H2Pool {
    pub(crate) fn new(dialer: Arc<Dialer>, config: &HttpConfig) -> Self {
        Self::negotiated(dialer, config, Negotiation::default())
    }

    /// Makes a pool that passes connections of the other version on.
    pub(super) fn negotiated(
        dialer: Arc<Dialer>,
        config: &HttpConfig,
        negotiation: Negotiation,
    ) -> Self {
        let shared = H2Shared {
            negotiation,
            state: Mutex::new(PoolState::new(Arc::clone(&dialer), config)),
            dialer,
            changed: Notify::new(),
            connect_timeout: config.connect_timeout,
            idle_timeout: config.idle_timeout,
        };
        Self { shared: Arc::new(shared), turn: Semaphore::new(1) }
    }

    /// Leases a stream on a connection. Dials when the existing connections are full, and waits
    /// while the maximum is in use.
    ///
    /// # Errors
    ///
    /// `Unavailable`, not sent, `connect-failed`, when there is no connection and none can be made.
    pub(crate) async fn checkout(&self, attempt: &Attempt) -> Result<H2Lease<'_>, Error> {
        if let Some(place) = self.shared.with(PoolState::take_unless_others_wait) {
            return Ok(self.lease(place));
        }
        self.wait(attempt, false).await
    }

    /// Leases a stream on a connection made from now on, or on an older one if no more can be made.
    ///
    /// # Errors
    ///
    /// As [`H2Pool::checkout`].
    pub(crate) async fn checkout_fresh(&self, attempt: &Attempt) -> Result<H2Lease<'_>, Error> {
        self.wait(attempt, true).await
    }

    async fn wait(&self, attempt: &Attempt, fresh: bool) -> Result<H2Lease<'_>, Error> {
        let shared = &*self.shared;
        let ticket = shared.with(|state| state.wait(fresh));
        let mut waiting = Waiting { shared, attempt, ticket, is_over: false };
        attempt.stage(shared.with(|state| state.awaited()));
        // The semaphore is never closed.
        let _turn = self.turn.acquire().await.map_err(|_| handed_back())?;
        loop {
            match shared.with(|state| state.step(waiting.ticket)) {
                Step::Go(place) => {
                    waiting.is_over = true;
                    return Ok(self.lease(place));
                }
                Step::Fail(error) => {
                    waiting.is_over = true;
                    return Err(attempt.dial_failed(error));
                }
                Step::Dial => self.dial(),
                Step::Wait => {}
            }
            attempt.stage(shared.with(|state| state.awaited()));
            shared.changed.notified().await;
        }
    }

    /// Adds a note to the error of an attempt that expired while all streams were in use.
    pub(crate) fn noted(&self, error: Error) -> Error {
        if error.timeline().is_none_or(|times| times.last() != Stage::Place) {
            return error;
        }
        let (in_use, max, connections) = self.shared.with(|state| state.load());
        let note = format!("{in_use} of {max} streams in use on {connections} connections");
        error.map_timeline(|times| times.with_note(note))
    }

    fn lease(&self, StreamPermit { id, sender, sent, refused }: StreamPermit) -> H2Lease<'_> {
        H2Lease { sender, id, sent, refused, shared: &self.shared }
    }

    /// Dials in a task that may outlive the call, since other calls wait for the connection too.
    fn dial(&self) {
        let shared = &self.shared;
        let with = (Arc::clone(&shared.dialer), shared.negotiation.clone());
        let progress = Arc::new(DialProgress::new());
        let dial = dial(with, Dial(Arc::downgrade(shared)), Arc::clone(&progress));
        let task = tokio::spawn(dial).abort_handle();
        self.shared.with(|state| {
            state.dial = Owned(Some(task));
            state.progress = Some(progress);
        });
    }
}

#[cfg(feature = "tls")]
impl H2Pool {
    pub(super) fn downgrade(&self) -> Weak<H2Shared> {
        Arc::downgrade(&self.shared)
    }
}

#[cfg(feature = "tls")]
impl H2Shared {
    /// Keeps a connection that another pool made, unless there are enough.
    pub(super) async fn adopt(self: &Arc<Self>, socket: Socket, open: GaugeGuard) {
        let Ok(dialed) = start_h2(&self.dialer, socket, open).await else { return };
        if self.with(|state| state.has_place()) {
            self.keep(dialed);
            self.change(|_| ());
        }
    }
}

impl RuntimePool for H2Pool {
    fn is_empty(&self) -> bool {
        self.shared.with(|state| state.is_empty())
    }
}

/// Registration of a waiting call.
struct Waiting<'a> {
    shared: &'a H2Shared,
    attempt: &'a Attempt,
    ticket: WaitTicket,
    is_over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let progress = self.shared.with(|state| {
            state.wait_no_more();
            if self.is_over { None } else { state.progress() }
        });
        // The call that still waits has ended.
        if let Some(progress) = progress {
            self.attempt.still_dialing(&progress);
        }
    }
}

impl H2Lease<'_> {
    /// Records that the call was sent. If it expires with nothing received since, the connection
    /// takes no calls until the server has answered a `PING`, for which it has 10 s (hyper#4186).
    pub(crate) fn sent(&mut self, deadline: Option<Deadline>) {
        self.sent.deadline = deadline;
    }

    /// Returns the refusal of the connection by its server, if there was one.
    pub(crate) fn refused(&self) -> &Refused {
        &self.refused
    }

    /// Stops new calls on the connection; calls in flight continue.
    pub(crate) fn retire(&self) {
        self.shared.change(|state| state.retire(self.id));
    }
}

impl Drop for H2Lease<'_> {
    fn drop(&mut self) {
        let asks = self.shared.change(|state| state.release(self.id, self.sent));
        if let Some(task) = asks {
            task.wake();
        }
    }
}

impl H2Shared {
    /// Accesses the state of the pool, and wakes no waiting call.
    fn with<T>(&self, access: impl FnOnce(&mut PoolState) -> T) -> T {
        access(&mut lock(&self.state))
    }

    /// Changes the state of the pool, and wakes the first waiting call.
    fn change<T>(&self, change: impl FnOnce(&mut PoolState) -> T) -> T {
        let mut state = lock(&self.state);
        let outcome = change(&mut state);
        if state.someone_waits() {
            self.changed.notify_one();
        }
        outcome
    }

    /// Keeps a connection, and starts the task that drives it.
    fn keep(self: &Arc<Self>, dialed: Dialed) {
        let Dialed { sender, connection, doubt, refused, open } = dialed;
        let id = {
            let mut state = lock(&self.state);
            if !state.reaper.is_running() {
                let reaping = reap(Arc::downgrade(self), pause(self.idle_timeout));
                state.reaper = Owned(Some(tokio::spawn(reaping).abort_handle()));
            }
            state.add(sender, Arc::clone(&doubt), refused)
        };
        // The task ends with its connection, which ends when no sender and no stream is left. The
        // task is not spawned under the lock: a runtime that is ending drops it immediately.
        let pool = Arc::downgrade(self);
        tokio::spawn(ConnectionTask::new(
            (connection, doubt),
            self.connect_timeout,
            id,
            pool,
            open,
        ));
    }
}

/// Closes connections that have been unused for too long, periodically and until none are left. The
/// next connection that is kept starts another reaper.
async fn reap(pool: Weak<H2Shared>, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        let Some(pool) = pool.upgrade() else { return };
        let any = pool.change(|state| {
            let any = state.expire();
            if !any {
                state.reaper = Owned::default();
            }
            any
        });
        if !any {
            return;
        }
    }
}

/// New connection, and the guard that counts it.
struct Dialed {
    sender: SendRequest<Outgoing>,
    connection: Connection<Tapped<Arc<Doubt>>, Outgoing>,
    doubt: Arc<Doubt>,
    refused: Refused,
    open: GaugeGuard,
}

/// Dial in progress. Dropping it unfinished, as when its runtime ends, fails the waiting calls.
struct Dial(Weak<H2Shared>);

impl Drop for Dial {
    fn drop(&mut self) {
        self.end(Some(handed_back()));
    }
}

impl Dial {
    fn end(&mut self, failure: Option<Error>) {
        if let Some(shared) = std::mem::take(&mut self.0).upgrade() {
            shared.change(|state| state.dialed(failure));
        }
    }
}

async fn dial(
    (dialer, negotiation): (Arc<Dialer>, Negotiation),
    mut dial: Dial,
    progress: Arc<DialProgress>,
) {
    match connect(&dialer, &negotiation, &progress).await {
        Ok(dialed) => {
            if let Some(shared) = dial.0.upgrade() {
                shared.keep(dialed);
            }
            dial.end(None);
        }
        Err(error) => dial.end(Some(error)),
    }
}

async fn connect(
    dialer: &Dialer,
    negotiation: &Negotiation,
    progress: &DialProgress,
) -> Result<Dialed, Error> {
    let (socket, open) = dialer.dial(progress).await?;
    let wanted = NegotiatedVersion::H2;
    let (socket, open) = negotiation.admit(wanted, socket, open, &dialer.authority).await?;
    start_h2(dialer, socket, open).await
}

/// Starts HTTP/2 on a socket.
async fn start_h2(dialer: &Dialer, socket: Socket, open: GaugeGuard) -> Result<Dialed, Error> {
    let refused = socket.refused();
    let doubt = Arc::new(Doubt::default());
    let handshake = Builder::new()
        .enable_push(false)
        .initial_max_send_streams(BEFORE_SETTINGS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_concurrent_reset_streams(RESETS_REMEMBERED_MAX)
        .handshake(Tapped::new(socket, Arc::clone(&doubt)))
        .await;
    let (sender, connection) = handshake.map_err(|error| dialer.failed(error))?;
    Ok(Dialed { sender, connection, doubt, refused, open })
}
