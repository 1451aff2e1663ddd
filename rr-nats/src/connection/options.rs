//! Parameters of one connection, and the options of the client library made from them.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Auth, AuthError, ConnectOptions};

use rr_spi::Stage;
use rr_spi::observe::Monitor;

use super::channel::Channel;
use super::events::Events;
use super::learned::Learned;
use crate::config::{NatsAuth, NatsConnectionConfig};

/// Maximum number of messages that wait to be sent, whatever is configured: a channel's capacity is
/// limited to an eighth of the address space, and a million is more than any connection can use.
const OUTGOING_MAX: usize = 1 << 20;

/// Parameters of a connection other than its address.
#[derive(Clone, Debug)]
pub(crate) struct LinkSetup {
    pub(crate) config: NatsConnectionConfig,
    pub(crate) channel: Channel,
    /// The prefix of the URL.
    pub(crate) prefix: String,
    /// Maximum number of messages that wait on one subscription.
    pub(crate) incoming_max: usize,
    /// Maximum number of calls in flight, and so of cancel messages that wait on one connection.
    pub(crate) cancels_max: usize,
    /// Facts learned from all connections.
    pub(crate) learned: Arc<Learned>,
    /// Whether a denied inbox makes the connection useless, as it does for a requester.
    pub(crate) needs_inbox: bool,
    /// Monitor of losses of the connection and of late replies.
    pub(crate) monitor: Monitor,
}

fn outgoing_max(config: &NatsConnectionConfig) -> usize {
    config.outgoing_max.clamp(1, OUTGOING_MAX)
}

/// Returns how many messages may wait in the queue in front of the client library; the remaining
/// ones wait in the library.
pub(super) fn queued_max(config: &NatsConnectionConfig) -> usize {
    outgoing_max(config).div_ceil(2)
}

pub(super) fn options(setup: &LinkSetup, events: &Arc<Events>) -> ConnectOptions {
    let config = &setup.config;
    let credentials = config.credentials.clone();
    let (authenticating, dialling, events) =
        (Arc::clone(events), Arc::clone(events), Arc::clone(events));
    ConnectOptions::with_auth_callback(move |nonce| {
        let (events, credentials) = (Arc::clone(&authenticating), credentials.clone());
        // The first sign of the client library that the server has answered.
        events.dial.stage(Stage::Handshake);
        async move {
            if events.is_refusing() {
                return Err(AuthError::new("lost"));
            }
            let auth = events.authentication.run(&credentials, nonce.into()).await;
            auth.map(sent).ok_or_else(|| AuthError::new("no credentials"))
        }
    })
    .reconnect_delay_callback(move |_| {
        dialling.dialling();
        Duration::ZERO
    })
    .event_callback(move |event| {
        events.on_event(event);
        async {}
    })
    .max_reconnects(1)
    .ignore_discovered_servers()
    .retain_servers_order()
    .connection_timeout(config.connect_timeout)
    .ping_interval(config.ping_interval.max(Duration::from_millis(10)))
    .client_capacity(outgoing_max(config) - queued_max(config).min(outgoing_max(config) - 1))
    .subscription_capacity(setup.incoming_max)
    .name(&config.name)
}

/// Returns the proof of identity as the client library takes it.
fn sent(auth: NatsAuth) -> Auth {
    let mut sent = Auth::new();
    (sent.username, sent.password, sent.token) = (auth.user, auth.password, auth.token);
    (sent.jwt, sent.nkey, sent.signature) = (auth.jwt, auth.nkey, auth.signature);
    sent
}
