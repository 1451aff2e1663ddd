//! What others would use instead, each the way its documentation recommends, with TCP_NODELAY on
//! both sides.

mod channel;
mod hyper_h1;
mod hyper_h2;
mod hyper_util;
mod nats;
mod nats_service;
mod reqwest_axum;
mod tarpc;
mod tcp;
mod tcp_mux;
pub mod tls;
mod tonic;
mod tower;

use crate::Family::{Http, Nats, Tcp};
use crate::peer::BoxFuture;
use crate::{Peer, Result, Served};
use nats::Answer::{InLoop, InLoopWithHeader, Spawned};

/// Every one that this crate has, those of a family together.
#[must_use]
pub fn all() -> Vec<Peer> {
    let mut peers = http();
    peers.extend(over_nats());
    peers.extend([
        Peer::apart("TCP ping-pong", Tcp, |_| tcp::serve(), tcp::connect),
        Peer::apart("TCP multiplexed", Tcp, |_| tcp_mux::serve(), tcp_mux::connect),
        Peer::apart("tarpc TCP", Tcp, |_| tarpc::serve(), tarpc::connect),
        Peer::together("mpsc + oneshot", channel::connect),
        Peer::together("tarpc channel", tarpc::channel),
        Peer::together("tower stack", tower::connect),
    ]);
    peers
}

fn http() -> Vec<Peer> {
    vec![
        Peer::apart("raw hyper h1", Http, |_| hyper_h1::serve(), hyper_h1::connect),
        Peer::apart("hyper-util + hyper h1", Http, |_| hyper_h1::serve(), hyper_util::connect),
        Peer::apart("reqwest + axum h1", Http, |_| reqwest_axum::serve(), reqwest_axum::connect),
        Peer::apart("raw hyper h2", Http, |_| hyper_h2::serve(), hyper_h2::connect),
        Peer::apart("tonic", Http, |_| tonic::serve(), tonic::connect),
        Peer::apart(
            "reqwest + axum https",
            Http,
            |_| reqwest_axum::serve_tls(),
            reqwest_axum::connect_tls,
        ),
        Peer::apart("tonic https", Http, |_| tonic::serve_tls(), tonic::connect_tls),
    ]
}

fn over_nats() -> Vec<Peer> {
    let connect = nats::connect;
    let with_header = nats::serve(InLoopWithHeader);
    vec![
        Peer::apart("async-nats", Nats, nats::serve(InLoop), connect(InLoop)),
        Peer::apart("async-nats headers", Nats, with_header, connect(InLoopWithHeader)),
        Peer::apart("async-nats spawned", Nats, nats::serve(Spawned), connect(Spawned)),
        Peer::apart("async-nats service", Nats, nats_service::serve, connect(InLoop)),
    ]
}
