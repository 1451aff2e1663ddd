//! Configurations of nats-server.

use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Configuration of a [`NatsServer`](super::NatsServer).
///
/// # Examples
///
/// ```
/// let config = rr_testkit::NatsServerSetup::default()
///     .with_max_payload(1024)
///     .with_user("alice", "secret", r#"publish: ["svc.>"], subscribe: ["_INBOX.>"]"#);
/// # drop(config);
/// ```
#[derive(Clone, Default)]
pub struct NatsServerSetup {
    max_payload: Option<usize>,
    users: String,
    extra: String,
    tls: Option<Tls>,
    websocket: bool,
}

/// Certificates of a server, in PEM.
#[derive(Clone)]
struct Tls {
    certificate: String,
    key: String,
    /// Certificates of the authorities of clients.
    client_roots: Option<String>,
    lines: String,
}

impl NatsServerSetup {
    /// Sets the longest message in bytes, headers included.
    #[must_use]
    pub fn with_max_payload(mut self, bytes: usize) -> Self {
        self.max_payload = Some(bytes);
        self
    }

    /// Adds a user. With at least one user, every client has to authenticate. `permissions` is the
    /// content of the server's `permissions` block and may be empty.
    #[must_use]
    pub fn with_user(mut self, user: &str, password: &str, permissions: &str) -> Self {
        let line =
            format!("{{user: {user:?}, password: {password:?}, permissions: {{{permissions}}}}}\n");
        self.users.push_str(&line);
        self
    }

    /// Adds lines in the server's configuration language.
    #[must_use]
    pub fn with_lines(mut self, lines: &str) -> Self {
        self.extra.push_str(lines);
        self.extra.push('\n');
        self
    }

    /// Adds a user that authenticates by an nkey: its public key. `permissions` is as for
    /// [`Self::with_user`].
    #[must_use]
    pub fn with_nkey(mut self, public_key: &str, permissions: &str) -> Self {
        let line = format!("{{nkey: {public_key:?}, permissions: {{{permissions}}}}}\n");
        self.users.push_str(&line);
        self
    }

    /// Makes the server require TLS, with this certificate and key in PEM.
    #[must_use]
    pub fn with_tls(mut self, certificate: &str, key: &str) -> Self {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        let (client_roots, lines) =
            self.tls.map(|tls| (tls.client_roots, tls.lines)).unwrap_or_default();
        self.tls = Some(Tls { certificate, key, client_roots, lines });
        self
    }

    /// Makes the server require client certificates of these authorities, in PEM. Has no effect
    /// before [`Self::with_tls`].
    #[must_use]
    pub fn with_client_roots(mut self, pem: &str) -> Self {
        if let Some(tls) = &mut self.tls {
            tls.client_roots = Some(pem.to_owned());
        }
        self
    }

    /// Adds lines to the `tls` block, such as `handshake_first: true`. Has no effect before
    /// [`Self::with_tls`].
    #[must_use]
    pub fn with_tls_lines(mut self, lines: &str) -> Self {
        if let Some(tls) = &mut self.tls {
            tls.lines.push_str(lines);
            tls.lines.push('\n');
        }
        self
    }

    /// Makes the server accept websockets too, over TLS if it has a certificate.
    #[must_use]
    pub fn with_websocket(mut self) -> Self {
        self.websocket = true;
        self
    }

    /// Writes the files of the configuration, if there is anything to configure. `websocket` is the
    /// port for websockets that the server had before.
    pub(super) fn write(
        &self,
        directory: &Path,
        websocket: Option<u16>,
    ) -> io::Result<Option<PathBuf>> {
        let mut text = self.text();
        let mut tls = String::new();
        if let Some(files) = &self.tls {
            tls = files.write(directory)?;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "tls {{\n{tls}{}}}", files.lines);
        }
        if self.websocket {
            let port = websocket.map_or_else(|| "-1".to_owned(), |port| port.to_string());
            let security = match tls.is_empty() {
                true => "no_tls: true".to_owned(),
                false => format!("tls {{\n{tls}}}"),
            };
            let _ = writeln!(text, "websocket {{\nlisten: \"127.0.0.1:{port}\"\n{security}\n}}");
        }
        if text.is_empty() {
            return Ok(None);
        }
        let path = directory.join("server.conf");
        fs::write(&path, text)?;
        Ok(Some(path))
    }

    fn text(&self) -> String {
        let mut text = self.extra.clone();
        if let Some(bytes) = self.max_payload {
            let _ = writeln!(text, "max_payload: {bytes}");
        }
        if !self.users.is_empty() {
            let _ = writeln!(text, "authorization {{ users: [\n{}] }}", self.users);
        }
        text
    }
}

impl Tls {
    /// Writes the files, and returns the lines that name them.
    fn write(&self, directory: &Path) -> io::Result<String> {
        let mut lines = String::new();
        let mut add = |option: &str, name: &str, pem: &str| {
            let path = directory.join(name);
            fs::write(&path, pem)?;
            lines.push_str(&format!("{option}: {path:?}\n"));
            io::Result::Ok(())
        };
        add("cert_file", "server.crt", &self.certificate)?;
        add("key_file", "server.key", &self.key)?;
        if let Some(roots) = &self.client_roots {
            add("ca_file", "clients.crt", roots)?;
            lines.push_str("verify: true\n");
        }
        Ok(lines)
    }
}

impl fmt::Debug for NatsServerSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsServerSetup")
            .field("max_payload", &self.max_payload)
            .finish_non_exhaustive()
    }
}
