//! A nats-server that requires TLS and an nkey, for the checks of NATS.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nkeys::KeyPair;
use rr_testkit::{NatsServer, NatsServerSetup};
use tokio::runtime::Builder;

use crate::authority::Authority;
use crate::check::Outcome;

/// The server, and the files that its clients need.
pub(crate) struct Secured {
    broker: NatsServer,
    folder: PathBuf,
}

impl Secured {
    pub(crate) fn start() -> Outcome<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let serial = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir();
        let folder = folder.join(format!("rr-interop-nats-{}-{serial}", std::process::id()));
        let (authority, key) = (Authority::new("ca"), KeyPair::new_user());
        let seed = key.seed().map_err(|error| error.to_string())?;
        let written = fs::create_dir_all(&folder)
            .and_then(|()| fs::write(folder.join("roots.pem"), authority.pem()))
            .and_then(|()| fs::write(folder.join("user.nk"), seed));
        written.map_err(|error| error.to_string())?;
        let pair = authority.pair(&["localhost"]);
        let setup = NatsServerSetup::default()
            .with_tls(&pair.certificate, &pair.key)
            .with_nkey(&key.public_key(), "");
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let broker = runtime.block_on(NatsServer::start_with(&setup));
        Ok(Self { broker: broker.map_err(|error| error.to_string())?, folder })
    }

    /// Returns the URL for rr, with a path.
    pub(crate) fn url(&self, path: &str) -> String {
        let (port, folder) = (self.broker.address().port(), self.folder.display());
        format!(
            "nats+tls://localhost:{port}{path}?tls_roots={folder}/roots.pem&nkey_file={folder}/user.nk"
        )
    }

    /// Adds the URL and the files to the command of a Python script.
    pub(crate) fn peer(&self, mut script: Command) -> Command {
        script.arg(format!("tls://localhost:{}", self.broker.address().port()));
        script.env("RR_ROOTS", self.folder.join("roots.pem"));
        script.env("RR_NKEY", self.folder.join("user.nk"));
        script
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
