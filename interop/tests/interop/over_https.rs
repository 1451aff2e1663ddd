//! TLS between rr and foreign peers: curl, Node and Go against rr's server, and rr's client against Node's and Go's.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::answers::pattern;
use crate::authority::{Authority, Pair};
use crate::check::{Outcome, ensure};
use crate::curl::Curl;
use crate::example::{PING_HTTP, Told};
use crate::go::{prints, program};
use crate::scripts::{holds, node};
use crate::server::Server;

/// What `/ping` answers.
const HELLO: &str = "Hello from the server!\n";

/// Bytes of a body that takes many reads.
const LARGE: usize = 900 * 1024;

/// A server whose certificate is not trusted: nothing was sent.
const UNTRUSTED: Told = ("Unavailable", "NotSent", "Local");

checks! {
    curl_gets_over_https_http_1_1: curl_gets("--http1.1", "1.1");
    curl_gets_over_https_http_2_by_alpn: curl_gets("--http2", "2");
    curl_echoes_900_kib_over_https: curl_echoes("--http1.1");
    curl_echoes_900_kib_over_https_http_2: curl_echoes("--http2");
    curl_with_another_authority_gets_nothing: curl_distrusts();
    curl_with_a_client_certificate_is_answered: curl_is_known();
    curl_without_a_client_certificate_is_refused: curl_is_unknown();
    node_over_https: node_clients();
    node_server_over_https: called(NODE, "", "pong over HTTP/2.0");
    node_server_over_https_http_1_1: called(NODE, "&version=h1", "pong over HTTP/1.1");
    node_server_of_another_authority_is_not_called: not_called(NODE);
    node_server_with_client_certificates: node_knows();
    node_server_without_a_client_certificate: node_does_not_know();
    go_net_http_client_over_https: go_client();
    go_net_http_server_over_https: called(GO, "", "pong over HTTP/2.0");
    go_net_http_server_over_https_http_1_1: called(GO, "&version=h1", "pong over HTTP/1.1");
    go_net_http_server_of_another_authority_is_not_called: not_called(GO);
}

/// Certificates of one check, in a folder that goes with them.
struct Certificates(PathBuf);

impl Certificates {
    fn new() -> Outcome<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let serial = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir();
        let made = Self(folder.join(format!("rr-interop-https-{}-{serial}", std::process::id())));
        let (authority, other) = (Authority::new("ca"), Authority::new("other"));
        let written = fs::create_dir_all(&made.0)
            .and_then(|()| fs::write(made.path("roots.pem"), authority.pem()))
            .and_then(|()| fs::write(made.path("other.pem"), other.pem()))
            .and_then(|()| made.write("server", &authority.pair(&["127.0.0.1"])))
            .and_then(|()| made.write("client", &authority.pair(&["client"])));
        written.map_err(|error| format!("cannot write certificates: {error}"))?;
        Ok(made)
    }

    fn write(&self, name: &str, pair: &Pair) -> std::io::Result<()> {
        fs::write(self.path(&format!("{name}.pem")), &pair.certificate)?;
        fs::write(self.path(&format!("{name}.key")), &pair.key)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Names the folder to a program.
    fn given_to(&self, mut program: Command) -> Command {
        program.env("RR_FOLDER", &self.0);
        program
    }

    /// Starts rr's server; `query` is added to its URL.
    fn serve(&self, query: &str) -> Outcome<Server> {
        let folder = self.0.display();
        let pair = format!("tls_certificate={folder}/server.pem&tls_key={folder}/server.key");
        PING_HTTP.serve(Some(&format!("https://127.0.0.1:0?{pair}{query}")))
    }

    /// Starts rr's server, which requires certificates of its clients.
    fn serve_known(&self) -> Outcome<Server> {
        let roots = self.path("roots.pem");
        self.serve(&format!("&tls_client_auth=required&tls_client_roots={}", roots.display()))
    }

    /// Returns the URL for rr's client, which trusts these authorities.
    fn url(&self, server: &Server, roots: &str, query: &str) -> String {
        format!("{}?tls_roots={}{query}", base(server), self.path(roots).display())
    }

    /// Makes a call by curl, which trusts these authorities and has these options.
    fn curl(&self, server: Server, roots: &str, options: &[&str]) -> Outcome<String> {
        let roots = self.path(roots).display().to_string();
        let reply = Curl { server }.call("/ping", &[&["--cacert", &roots], options].concat())?;
        let body = String::from_utf8_lossy(&reply.body);
        ensure(reply.status == 200 && body == HELLO, || reply.seen())?;
        Ok(reply.version)
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns the URL of a server without its query.
fn base(server: &Server) -> &str {
    server.url().split('?').next().unwrap_or_default()
}

fn curl_gets(option: &str, expected: &str) -> Outcome {
    let certificates = Certificates::new()?;
    let version = certificates.curl(certificates.serve("")?, "roots.pem", &[option])?;
    ensure(version == expected, || format!("over HTTP/{version}"))
}

fn curl_echoes(option: &str) -> Outcome {
    let certificates = Certificates::new()?;
    let curl = Curl { server: certificates.serve("")? };
    let roots = certificates.path("roots.pem").display().to_string();
    let body = pattern(LARGE);
    curl.post("/echo", &body, &["--cacert", &roots, option])?.is_ok(&body)
}

fn curl_distrusts() -> Outcome {
    let certificates = Certificates::new()?;
    let outcome = certificates.curl(certificates.serve("")?, "other.pem", &[]);
    let Err(told) = outcome else { return Err("curl was answered".to_owned()) };
    ensure(told.contains("(60)"), || told)
}

fn curl_is_known() -> Outcome {
    let certificates = Certificates::new()?;
    let [own, key] = ["client.pem", "client.key"].map(|name| certificates.path(name));
    let [own, key] = [own.display().to_string(), key.display().to_string()];
    for version in ["--http1.1", "--http2"] {
        let options = ["--cert", &own, "--key", &key, version];
        certificates.curl(certificates.serve_known()?, "roots.pem", &options)?;
    }
    Ok(())
}

fn curl_is_unknown() -> Outcome {
    let certificates = Certificates::new()?;
    let outcome = certificates.curl(certificates.serve_known()?, "roots.pem", &[]);
    let Err(told) = outcome else { return Err("curl was answered".to_owned()) };
    ensure(told.contains("certificate required"), || told)
}

fn node_clients() -> Outcome {
    let certificates = Certificates::new()?;
    let (server, known) = (certificates.serve("")?, certificates.serve_known()?);
    let mut script = certificates.given_to(node("https_client.mjs"));
    script.env("NODE_EXTRA_CA_CERTS", certificates.path("roots.pem"));
    holds(8, script.arg(base(&server)).arg(base(&known)))
}

/// How a foreign server is started.
type Start = fn(&Certificates) -> Outcome<Server>;

const NODE: Start = |certificates| start_node(certificates, "");

const GO: Start =
    |certificates| Server::start("go-https", &mut certificates.given_to(program("https_server")));

fn start_node(certificates: &Certificates, kind: &str) -> Outcome<Server> {
    Server::start("node-https", certificates.given_to(node("https_server.mjs")).arg(kind))
}

fn called(start: Start, query: &str, answer: &str) -> Outcome {
    let certificates = Certificates::new()?;
    let server = start(&certificates)?;
    PING_HTTP.is_answered(&certificates.url(&server, "roots.pem", query), answer)
}

fn not_called(start: Start) -> Outcome {
    let certificates = Certificates::new()?;
    let server = start(&certificates)?;
    PING_HTTP.fails(&certificates.url(&server, "other.pem", ""), UNTRUSTED).map(drop)
}

fn node_knows() -> Outcome {
    let certificates = Certificates::new()?;
    let server = start_node(&certificates, "mutual")?;
    let [own, key] = ["client.pem", "client.key"].map(|name| certificates.path(name));
    let own = format!("&tls_certificate={}&tls_key={}", own.display(), key.display());
    let url = certificates.url(&server, "roots.pem", &own);
    PING_HTTP.is_answered(&url, "pong over HTTP/2.0")
}

fn node_does_not_know() -> Outcome {
    let certificates = Certificates::new()?;
    let server = start_node(&certificates, "mutual")?;
    let called = PING_HTTP.call(&certificates.url(&server, "roots.pem", ""))?;
    // With TLS 1.3 the refusal comes before or after the request has left; the server took it in neither case.
    let is_told = ["NotSent", "Rejected"].iter().any(|delivery| {
        let told = format!("code: Unavailable, delivery: {delivery}, origin: Peer");
        called.complained.contains(&told)
    });
    ensure(is_told && !called.succeeded, || called.seen())
}

fn go_client() -> Outcome {
    let certificates = Certificates::new()?;
    for server in [certificates.serve("")?, certificates.serve_known()?] {
        let mut client = certificates.given_to(program("https_client"));
        prints(client.arg(format!("{}/ping", base(&server))), &format!("HTTP/2.0: {HELLO}"))?;
    }
    Ok(())
}
