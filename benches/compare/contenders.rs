//! Everything that runs beside each other.

use rr_benches_peers::Family::{Http, Nats};
use rr_benches_peers::{Peer, Result, Runs, foreign};

use crate::{nats_go, rr};

/// Every contender, rr first.
pub(crate) fn all() -> Vec<Peer> {
    let mut all = vec![
        Peer::apart("rr-http h1", Http, |_| rr::serve("http://127.0.0.1:0"), rr::connect),
        Peer::apart(
            "rr-http h2",
            Http,
            |_| rr::serve("http://127.0.0.1:0?version=h2c"),
            rr::connect,
        ),
        Peer::apart("rr-http h1 in axum", Http, |_| rr::serve_mounted(""), rr::connect),
        Peer::apart("rr-http h2 in axum", Http, |_| rr::serve_mounted("?version=h2c"), rr::connect),
        Peer::apart("axum h1, called by rr", Http, |_| rr::serve_handler(""), rr::connect),
        Peer::apart(
            "axum h2, called by rr",
            Http,
            |_| rr::serve_handler("?version=h2c"),
            rr::connect,
        ),
        Peer::apart("rr-http https h1", Http, |_| rr::serve_tls("h1"), rr::connect),
        Peer::apart("rr-http https h2", Http, |_| rr::serve_tls("h2"), rr::connect),
        Peer::apart("rr-nats deadline", Nats, rr::serve_nats, rr::connect),
        Peer::apart("rr-nats unbounded", Nats, rr::serve_nats, rr::connect_unbounded),
        Peer::together("rr memory", rr::memory),
        Peer::together("rr Local, empty stack", rr::local),
        Peer::together("rr Local, recommended", rr::local_recommended),
    ];
    all.extend(foreign::all());
    all.push(Peer { name: nats_go::NAME, family: Nats, runs: Runs::Elsewhere });
    all
}

/// The one of this name.
pub(crate) fn find(name: &str) -> Result<Peer> {
    let peer = all().into_iter().find(|peer| peer.name == name);
    peer.ok_or_else(|| format!("there is no peer `{name}`").into())
}
