//! rr's client over HTTP against foreign servers: Python's, a refused port, cut connections.

use std::process::{Child, Stdio};

use crate::check::{Outcome, command};
use crate::example::{PING_HTTP, Told};
use crate::server::lines;

/// What the wire format makes of a status of an intermediary that states no delivery.
const fn intermediary(code: &'static str) -> Told {
    (code, "Unknown", "Intermediary")
}

const CUT: Told = ("Unavailable", "Unknown", "Local");

checks! {
    a_foreign_200_is_a_success: answered();
    status_400: fails(|servers| servers.scripted("400"), intermediary("Internal"));
    status_404: fails(|servers| servers.scripted("404"), intermediary("Unimplemented"));
    status_429: fails(|servers| servers.scripted("429"), intermediary("Unavailable"));
    status_431: fails(|servers| servers.scripted("431"), ("Unknown", "Rejected", "Intermediary"));
    status_500: fails(|servers| servers.scripted("500"), intermediary("Unknown"));
    status_503: fails(|servers| servers.scripted("503"), intermediary("Unavailable"));
    a_connection_cut_before_the_body: fails(|servers| servers.scripted("cut-before"), CUT);
    a_connection_cut_after_the_request: fails(|servers| servers.scripted("cut-after"), CUT);
    the_501_of_the_stock_http_server: fails(|servers| servers.stock.clone(), intermediary("Unknown"));
    a_refused_port: fails(|servers| servers.refusing.clone(), ("Unavailable", "NotSent", "Local"));
}

fn answered() -> Outcome {
    PING_HTTP.is_answered(&Servers::start()?.scripted("200"), "pong from python")
}

fn fails(url: fn(&Servers) -> String, told: Told) -> Outcome {
    let servers = Servers::start()?;
    PING_HTTP.fails(&url(&servers), told).map(drop)
}

/// Python's servers; ended when dropped.
struct Servers {
    child: Child,
    scripted: String,
    stock: String,
    refusing: String,
}

impl Servers {
    fn start() -> Outcome<Self> {
        let child =
            command("python3").arg("peers/foreign_servers.py").stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| format!("cannot start python3: {error}"))?;
        let said = lines(&mut child);
        let (scripted, stock, refusing) = Default::default();
        let mut servers = Self { child, scripted, stock, refusing };
        for (name, url) in [
            ("scripted ", &mut servers.scripted),
            ("stock ", &mut servers.stock),
            ("refusing ", &mut servers.refusing),
        ] {
            let line = said.recv().map_err(|_| "the foreign servers ended without serving")?;
            let said = line.strip_prefix(name).ok_or_else(|| format!("unexpected: {line:?}"))?;
            said.clone_into(url);
        }
        Ok(servers)
    }

    /// The URL at which the scripted server plays a script.
    fn scripted(&self, script: &str) -> String {
        format!("{}/{script}", self.scripted)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
