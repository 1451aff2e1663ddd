//! Ways by which requests come to a server.

use std::sync::Arc;

use bytes::Bytes;
use http::Version;
use http_body::Body;
use rr_spi::{BodyAccount, BodyShare};

use super::ServerState;

/// Way by which a request comes and its reply leaves: a connection of this server, or a call of
/// [`HttpService`](super::HttpService).
pub(super) trait Carrier {
    /// Body of a request.
    type Body: Body<Data = Bytes, Error = Self::Failure> + Unpin;

    /// Failure to read a body.
    type Failure: std::error::Error + Send + Sync + 'static;

    /// Body of a reply.
    type Reply;

    /// Returns the state of the server.
    fn state(&self) -> &ServerState;

    /// Returns the caller, if the carrier knows it.
    fn caller(&self) -> Option<&Arc<rr_spi::Peer>>;

    /// Returns the account to which bodies are charged.
    fn account(&self) -> &Arc<BodyAccount>;

    /// Returns whether the next reply of HTTP/1.1 is to be the last one on its connection, although
    /// the server continues to serve.
    fn retires(&self) -> bool;

    /// Discards the rest of a body while the reply leaves.
    fn discard(&self, rest: Self::Body);

    /// Makes the body of a reply, which holds its share until its bytes have left.
    fn reply(&self, bytes: Bytes, share: BodyShare, version: Version) -> Self::Reply;
}
