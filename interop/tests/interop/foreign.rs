//! Our client against servers that never heard of us: Python's, a refused port, cut connections.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use super::Report;
use super::example::{Example, Told};
use crate::command::{Outcome, command};

/// Paths of the scripted server, and what the wire format makes of what it does.
const SCRIPTS: [(&str, Told); 8] = [
    ("400", ("Internal", "Unknown", "Intermediary")),
    ("404", ("Unimplemented", "Unknown", "Intermediary")),
    ("429", ("Unavailable", "Unknown", "Intermediary")),
    ("431", ("Unknown", "Rejected", "Intermediary")),
    ("500", ("Unknown", "Unknown", "Intermediary")),
    ("503", ("Unavailable", "Unknown", "Intermediary")),
    ("cut-before", ("Unavailable", "Unknown", "Local")),
    ("cut-after", ("Unavailable", "Unknown", "Local")),
];

/// Runs every check.
pub(super) fn check(example: &Example, report: &mut Report) {
    let servers = match Servers::start() {
        Ok(servers) => servers,
        Err(error) => return report.check("foreign servers start", Err(error)),
    };
    let scripted = |path: &str| format!("{}/{path}", servers.scripted);
    report.check("our client: a foreign 200 is a success", {
        example.is_answered(&scripted("200"), "pong from python")
    });
    let fails = |url: &str, told| example.fails(url, told).map(drop);
    for (path, told) in SCRIPTS {
        report.check(&format!("our client: {path} from python"), fails(&scripted(path), told));
    }
    let stock = fails(&servers.stock, ("Unknown", "Unknown", "Intermediary"));
    report.check("our client: the stock http.server's 501", stock);
    let refused = fails(&servers.refusing, ("Unavailable", "NotSent", "Local"));
    report.check("our client: a refused port", refused);
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
        let mut child = command("python3", ["xtask/interop/foreign_servers.py"])
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start python3: {error}"))?;
        let stdout = child.stdout.take().map(BufReader::new);
        let (scripted, stock, refusing) = Default::default();
        let mut servers = Self { child, scripted, stock, refusing };
        let mut lines = stdout.into_iter().flat_map(BufRead::lines).map_while(Result::ok);
        for (name, url) in [
            ("scripted ", &mut servers.scripted),
            ("stock ", &mut servers.stock),
            ("refusing ", &mut servers.refusing),
        ] {
            let line = lines.next().ok_or("the foreign servers ended without serving")?;
            let said = line.strip_prefix(name).ok_or_else(|| format!("unexpected: {line:?}"))?;
            said.clone_into(url);
        }
        Ok(servers)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
