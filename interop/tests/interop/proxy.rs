//! HAProxy and nginx as Debian has them, in front of servers.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::check::{Outcome, command, installed, printed, with_libraries};

/// It listens after some milliseconds; a busy machine may need some seconds.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// One program between client and servers.
#[derive(Clone, Copy)]
pub(crate) enum Program {
    /// With what a person's configuration has at least; HTTP/2 or HTTP/1.1 on both sides.
    HaProxy { h2: bool },
    /// HAProxy that announces its client to the servers, by the PROXY protocol.
    AnnouncingHaProxy,
    /// With its default of trying the next server, and HTTP/1.1 to them.
    Nginx,
}

impl Program {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HaProxy { .. } | Self::AnnouncingHaProxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }

    /// The configuration for these servers. A single server is not checked, since no other could take its place.
    fn configuration(self, folder: &Path, port: u16, servers: &[u16]) -> String {
        match self {
            Self::HaProxy { .. } | Self::AnnouncingHaProxy => {
                let is_h2 = matches!(self, Self::HaProxy { h2: true });
                let proto = if is_h2 { "proto h2" } else { "" };
                let announce = match self {
                    Self::AnnouncingHaProxy => "send-proxy-v2 check-send-proxy",
                    _ => "",
                };
                let check = if servers.len() > 1 { "check inter 100ms" } else { "" };
                // It waits a second before it tries a server again.
                let retries = if servers.len() > 1 { 3 } else { 1 };
                let line = |(at, server): (usize, &u16)| {
                    format!("  server s{at} 127.0.0.1:{server} {proto} {announce} {check}\n")
                };
                let servers: String = servers.iter().enumerate().map(line).collect();
                format!(
                    "defaults\n  mode http\n  timeout connect 2s\n  timeout client 10s\n  \
                     timeout server 50s\n  timeout http-keep-alive 5s\n  option abortonclose\n  \
                     retries {retries}\n\
                     frontend in\n  bind 127.0.0.1:{port} {proto}\n  default_backend out\n\
                     backend out\n  balance roundrobin\n  option redispatch\n{servers}"
                )
            }
            Self::Nginx => {
                let line = |server| format!("    server 127.0.0.1:{server} max_fails=0;\n");
                let servers: String = servers.iter().map(line).collect();
                format!(
                    "daemon off;\npid {0}/pid;\nerror_log {0}/error.log;\nworker_processes 1;\n\
                     events {{ worker_connections 512; }}\n\
                     http {{\n  access_log off;\n  keepalive_timeout 5s;\n  client_body_temp_path {0}/body;\n  \
                     proxy_temp_path {0}/proxy;\n  fastcgi_temp_path {0}/fastcgi;\n  \
                     uwsgi_temp_path {0}/uwsgi;\n  scgi_temp_path {0}/scgi;\n  \
                     upstream out {{\n{servers}    keepalive 16;\n  }}\n  \
                     server {{\n    listen 127.0.0.1:{port};\n    location / {{\n      \
                     proxy_pass http://out;\n      proxy_http_version 1.1;\n      \
                     proxy_set_header Connection \"\";\n    }}\n  }}\n}}\n",
                    folder.display()
                )
            }
        }
    }

    fn command(self, binary: &Path, folder: &Path, configuration: &Path) -> Command {
        let mut proxy = command(binary);
        match self {
            Self::HaProxy { .. } | Self::AnnouncingHaProxy => {
                proxy.args(["-db", "-f"]).arg(configuration)
            }
            Self::Nginx => proxy
                .arg("-p")
                .arg(folder)
                .arg("-c")
                .arg(configuration)
                .arg("-e")
                .arg(folder.join("error.log")),
        };
        proxy
    }

    /// The program of Debian that `cargo xtask interop` unpacks if the system's does not start, else the system's.
    fn binary(self) -> PathBuf {
        let unpacked = installed(self.name()).join("usr/sbin").join(self.name());
        if unpacked.is_file() { unpacked } else { Path::new("/usr/sbin").join(self.name()) }
    }
}

/// A running proxy; ended when dropped.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) port: u16,
}

impl Proxy {
    pub(crate) fn start(program: Program, folder: &Path, servers: &[u16]) -> Outcome<Self> {
        let [port] = free_ports()?;
        let binary = program.binary();
        let configuration = folder.join("configuration");
        fs::write(&configuration, program.configuration(folder, port, servers))
            .map_err(|error| format!("cannot write the configuration: {error}"))?;
        let log = fs::File::create(folder.join("log"))
            .map_err(|error| format!("cannot create the log: {error}"))?;
        let proxy = program.command(&binary, folder, &configuration);
        let usr = binary.ancestors().nth(2).unwrap_or(&binary);
        let child = with_libraries(proxy, usr)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", program.name()))?;
        let proxy = Self { child, port };
        let begin = Instant::now();
        while begin.elapsed() < START_TIMEOUT {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(proxy);
            }
            thread::park_timeout(Duration::from_millis(5));
        }
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        Err(format!("{} does not listen; it logged:\n{log}", program.name()))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // nginx has a second process, which ends when it is asked to.
        let asked = printed(command("kill").args(["-TERM", &self.child.id().to_string()]));
        if asked.is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Ports that are free now.
pub(crate) fn free_ports<const COUNT: usize>() -> Outcome<[u16; COUNT]> {
    let mut held = Vec::new();
    let mut ports = [0; COUNT];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        *port = listener.local_addr().map_err(|error| error.to_string())?.port();
        held.push(listener);
    }
    Ok(ports)
}
