//! Real nats-server processes on loopback, for tests.

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

mod monitor;
mod setup;

pub use setup::NatsServerSetup;

/// Longest wait for a server to listen. A start takes about 11 ms on an idle machine.
const START_MAX: Duration = Duration::from_secs(10);

/// Longest wait for a server to stop after SIGSTOP.
const STOP_MAX: Duration = Duration::from_secs(10);

/// Polling interval while a server starts or stops.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Real nats-server process on a random loopback port. Dropping the value kills the process.
///
/// The binary is `RR_NATS_SERVER` if that is set, else `nats-server` on the `PATH`, else the one
/// that `cargo xtask fetch nats` put into the workspace's target directory.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// let mut server = rr_testkit::NatsServer::start().await?;
/// println!("{}", server.url());
/// server.kill()?;
/// server.restart().await?;
/// # Ok(())
/// # }
/// ```
pub struct NatsServer {
    child: Child,
    ports: Ports,
    directory: PathBuf,
    config: Option<PathBuf>,
}

impl NatsServer {
    /// Starts a server with the default configuration, which allows everything.
    ///
    /// # Errors
    ///
    /// `NotFound`, naming the command that fetches the binary, when no nats-server is installed;
    /// otherwise the errors of starting a process.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the server.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(&NatsServerSetup::default()).await
    }

    /// Starts a server with the given configuration.
    ///
    /// # Errors
    ///
    /// As [`NatsServer::start`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the server.
    pub async fn start_with(setup: &NatsServerSetup) -> io::Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let serial = STARTED.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("rr-nats-{}-{serial}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let config = setup.write(&directory, None)?;
        let child = spawn(&directory, config.as_deref(), None)?;
        let mut server = Self { child, ports: Ports::default(), directory, config };
        server.ports = server.announced_ports().await?;
        // Only the configuration can fix the port for websockets over a restart.
        setup.write(&server.directory, Some(server.ports.websocket))?;
        server.listening().await?;
        Ok(server)
    }

    /// Starts a cluster of servers on this machine.
    ///
    /// The members announce each other to clients. Subject interest spreads among them within
    /// milliseconds: a test should wait for an answer, not for a fixed time.
    ///
    /// # Errors
    ///
    /// As [`NatsServer::start`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the servers.
    pub async fn start_cluster(members: usize) -> io::Result<Vec<Self>> {
        Self::start_cluster_with(members, &NatsServerSetup::default()).await
    }

    /// Starts a cluster of servers like [`NatsServer::start_cluster`], each with the given
    /// configuration.
    ///
    /// # Errors
    ///
    /// As [`NatsServer::start`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the servers.
    pub async fn start_cluster_with(
        members: usize,
        setup: &NatsServerSetup,
    ) -> io::Result<Vec<Self>> {
        let mut servers: Vec<Self> = Vec::new();
        for at in 0..members {
            let routes: Vec<_> = servers
                .iter()
                .map(|server| format!("nats://127.0.0.1:{}", server.ports.cluster))
                .collect();
            let lines = format!(
                "server_name: n{at}\ncluster {{ name: rr, listen: \"127.0.0.1:-1\", routes: {routes:?} }}"
            );
            let setup = setup.clone().with_lines(&lines);
            servers.push(Self::start_with(&setup).await?);
        }
        Ok(servers)
    }

    /// Returns the URL, `nats://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// Returns the address, which stays the same over a restart.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports.clients))
    }

    /// Returns the address for websockets, which stays the same over a restart; its port is 0 without
    /// [`NatsServerSetup::with_websocket`].
    #[must_use]
    pub fn websocket_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports.websocket))
    }

    /// Returns the subscribed subjects of each client connection, as the server reports them.
    ///
    /// Blocks for a round trip on loopback.
    ///
    /// # Errors
    ///
    /// The errors of connecting to the server; `InvalidData` when its reply cannot be parsed.
    pub fn subscriptions(&self) -> io::Result<Vec<Vec<String>>> {
        monitor::subscriptions(SocketAddr::from(([127, 0, 0, 1], self.ports.monitoring)))
    }

    /// Kills the server immediately, as a crash would.
    ///
    /// # Errors
    ///
    /// The errors of the operating system.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Starts the server again on the same port; kills it first if it is running.
    ///
    /// # Errors
    ///
    /// As [`NatsServer::start`].
    ///
    /// # Cancel safety
    ///
    /// Can be called again.
    pub async fn restart(&mut self) -> io::Result<()> {
        if self.child.try_wait()?.is_none() {
            self.kill()?;
        }
        self.child = spawn(&self.directory, self.config.as_deref(), Some(self.ports))?;
        self.listening().await
    }

    /// Suspends the process (SIGSTOP): its connections stay open and silent.
    ///
    /// Waits until the process has stopped. Until then, milliseconds on a busy machine, the server
    /// still answers.
    ///
    /// # Errors
    ///
    /// The errors of running `kill` and `ps`; `TimedOut` when the process has not stopped within
    /// 10 s.
    ///
    /// # Cancel safety
    ///
    /// Can be called again.
    pub async fn pause(&self) -> io::Result<()> {
        self.signal("-STOP")?;
        let stopped = || Ok(self.is_stopped()?.then_some(()));
        poll(STOP_MAX, "nats-server does not stop", stopped).await
    }

    /// Resumes a paused process (SIGCONT).
    ///
    /// # Errors
    ///
    /// The errors of running `kill`.
    pub fn resume(&self) -> io::Result<()> {
        self.signal("-CONT")
    }

    /// Replaces the configuration files and makes the server reload them (SIGHUP).
    ///
    /// # Errors
    ///
    /// The errors of writing a file and of running `kill`; `InvalidInput` when the server was
    /// started without a configuration file.
    pub fn reload(&self, setup: &NatsServerSetup) -> io::Result<()> {
        if self.config.is_none() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        setup.write(&self.directory, Some(self.ports.websocket))?;
        self.signal("-HUP")
    }

    /// Puts the server into lame duck mode (SIGUSR2): it refuses new connections, notifies its
    /// clients, and closes their connections after a delay, by default at least 10 s.
    ///
    /// # Errors
    ///
    /// The errors of running `kill`.
    pub fn lame_duck(&self) -> io::Result<()> {
        self.signal("-USR2")
    }

    fn signal(&self, name: &str) -> io::Result<()> {
        let status = Command::new("kill").arg(name).arg(self.child.id().to_string()).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other("kill failed")) }
    }

    /// Asks `ps`, which reports state `T` for a process stopped by a signal.
    fn is_stopped(&self) -> io::Result<bool> {
        let pid = self.child.id().to_string();
        let state = Command::new("ps").args(["-o", "stat=", "-p", &pid]).output()?.stdout;
        Ok(state.trim_ascii_start().starts_with(b"T"))
    }

    /// Waits for the ports file that the server writes, and reads it.
    async fn announced_ports(&mut self) -> io::Result<Ports> {
        let announced = || {
            self.still_runs()?;
            for entry in fs::read_dir(&self.directory)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "ports") {
                    if let Some(ports) = read_ports(&path) {
                        return Ok(Some(ports));
                    }
                }
            }
            Ok(None)
        };
        poll(START_MAX, "nats-server announced no port", announced).await
    }

    async fn listening(&mut self) -> io::Result<()> {
        let listening = || {
            self.still_runs()?;
            // On loopback the answer comes immediately.
            Ok(TcpStream::connect(self.address()).is_ok().then_some(()))
        };
        poll(START_MAX, "nats-server does not listen", listening).await
    }

    fn still_runs(&mut self) -> io::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(io::Error::other(format!("nats-server ended: {status}"))),
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // An error means that the server has already exited.
        let _ = self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl fmt::Debug for NatsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = self.child.id();
        f.debug_struct("NatsServer").field("url", &self.url()).field("pid", &pid).finish()
    }
}

/// Calls `check` until it returns a value, for at most `limit`; then fails with `text`.
async fn poll<T>(
    limit: Duration,
    text: &str,
    mut check: impl FnMut() -> io::Result<Option<T>>,
) -> io::Result<T> {
    for _ in 0..limit.as_millis() / POLL_INTERVAL.as_millis() {
        if let Some(value) = check()? {
            return Ok(value);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, text))
}

fn spawn(directory: &Path, config: Option<&Path>, ports: Option<Ports>) -> io::Result<Child> {
    let mut command = Command::new(binary()?);
    command.args(["-a", "127.0.0.1"]);
    for (option, port) in
        [("-p", ports.map(|it| it.clients)), ("-m", ports.map(|it| it.monitoring))]
    {
        command.arg(option).arg(port.map_or_else(|| "-1".to_owned(), |port| port.to_string()));
    }
    command.arg("--ports_file_dir").arg(directory);
    if let Some(path) = config {
        command.arg("-c").arg(path);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

fn binary() -> io::Result<PathBuf> {
    if let Some(path) = env::var_os("RR_NATS_SERVER") {
        return Ok(path.into());
    }
    let on_path = env::var_os("PATH");
    let on_path = on_path.iter().flat_map(env::split_paths);
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/nats-server");
    let name = format!("nats-server{}", env::consts::EXE_SUFFIX);
    let mut candidates = on_path.chain([fetched]).map(|directory| directory.join(&name));
    candidates.find(|path| path.is_file()).ok_or_else(|| {
        let text = "there is no nats-server: run `cargo xtask fetch nats`, or set RR_NATS_SERVER";
        io::Error::new(io::ErrorKind::NotFound, text)
    })
}

/// Ports of a server.
#[derive(Clone, Copy, Default)]
struct Ports {
    clients: u16,
    /// Port for other cluster members; 0 without a cluster.
    cluster: u16,
    /// Port of the HTTP monitoring endpoint.
    monitoring: u16,
    /// Port for websockets; 0 without them.
    websocket: u16,
}

/// Reads a ports file: `{"nats":["nats://127.0.0.1:4222"]}`, with `monitoring` and optionally
/// `cluster` and `websocket` in the same form. Returns `None` while the file is incomplete.
fn read_ports(path: &Path) -> Option<Ports> {
    let document: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let port = |key: &str| document[key][0].as_str()?.rsplit_once(':')?.1.parse().ok();
    let (clients, monitoring) = (port("nats")?, port("monitoring")?);
    let or_none = |key| port(key).unwrap_or(0);
    Some(Ports {
        clients,
        cluster: or_none("cluster"),
        monitoring,
        websocket: or_none("websocket"),
    })
}
