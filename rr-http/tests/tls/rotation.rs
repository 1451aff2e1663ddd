//! Files that are replaced while calls run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rr_http::{HttpConfig, HttpRequester, HttpVersion};
use rr_tls::{TlsClientAuth, TlsServerConfig};

use crate::authority::{Authority, Leaf, Pair};
use crate::directory::Directory;
use crate::support::{call, client, echo, serve, trusting, until};

fn files(directory: &Directory, pair: &Pair) -> TlsServerConfig {
    TlsServerConfig::default()
        .with_certificate(directory.write("tls.crt", &pair.certificate))
        .with_key(directory.write("tls.key", &pair.key))
        .with_reload_interval(Duration::from_millis(100))
}

/// Calls until the end of a test, over new connections and kept ones.
struct Load {
    ended: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(make: impl Fn(HttpVersion) -> HttpRequester + Clone + Send + 'static) -> Self {
        let (ended, calls) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let versions = [HttpVersion::H1, HttpVersion::H2, HttpVersion::Auto];
        let tasks = versions.map(|version| {
            let (ended, calls, make) = (Arc::clone(&ended), Arc::clone(&calls), make.clone());
            tokio::spawn(async move {
                let kept = make(version);
                while !ended.load(Ordering::Relaxed) {
                    let new = make(version);
                    for client in [&kept, &new] {
                        assert_eq!(echo(client, "x").await.unwrap(), "x", "{version:?}");
                        calls.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        });
        Self { ended, calls, tasks: tasks.into() }
    }

    /// Waits until calls that began after this moment have ended.
    async fn goes_on(&self) {
        let before = self.calls.load(Ordering::Relaxed);
        until(|| self.calls.load(Ordering::Relaxed) > before + 20).await;
    }

    async fn end(self) {
        self.ended.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_replaced_under_load_without_a_failed_call() {
    let (authority, directory) = (Authority::new("a"), Directory::new());
    let tls = files(&directory, &authority.pair(&["localhost", "0.example"]));
    let (server, stats) = serve(tls).await;
    let (url, roots) = (server.url().to_owned(), authority.pem());
    let load = Load::start(move |version| {
        let tls = rr_tls::TlsConfig::default().with_roots(roots.as_str());
        let config = HttpConfig::default().with_tls(tls).with_version(version);
        HttpRequester::new(&url, config).unwrap()
    });
    let first = client(&server, trusting(&authority), HttpVersion::H1);
    echo(&first, "x").await.unwrap();
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    for round in 1..4 {
        let name = format!("{round}.example");
        directory.write("tls.crt", "garbage");
        until(|| stats.tls_reload_error().is_some()).await;
        load.goes_on().await;
        files(&directory, &authority.pair(&["localhost", &name]));
        until(|| stats.tls_reload_error().is_none()).await;
        // The new certificate is used: its name is verified.
        let tls = trusting(&authority).with_server_name(&*name);
        let url = format!("https://localhost:{port}");
        let config = HttpConfig::default().with_tls(tls);
        assert_eq!(echo(&HttpRequester::new(&url, config).unwrap(), "x").await.unwrap(), "x");
        load.goes_on().await;
    }
    assert_eq!((echo(&first, "x").await.unwrap().as_str(), first.connections()), ("x", 1));
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roots_of_clients_are_replaced_and_the_old_ones_end() {
    let (authority, directory) = (Authority::new("a"), Directory::new());
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let roots = directory.write("clients.pem", &old.pem());
    let tls = files(&directory, &authority.pair(&["localhost"]))
        .with_client_auth(TlsClientAuth::Required)
        .with_client_roots(roots);
    let (server, _) = serve(tls).await;
    let own = |issuer: &Authority, id: &str| {
        let pair = issuer.sign(&Leaf::new(&["client"]).uri(id));
        let tls = trusting(&authority).with_certificate(pair.certificate).with_key(pair.key);
        // Each call makes a connection, and resumes the session of the one before if it may.
        let config = HttpConfig::default().with_tls(tls).with_idle_max(0);
        HttpRequester::new(server.url(), config.with_version(HttpVersion::H1)).unwrap()
    };
    let (before, after) = (own(&old, "spiffe://old"), own(&new, "spiffe://new"));
    let accepted = async |client: &HttpRequester| call(client, "lab.who", "").await.is_ok();
    for _ in 0..3 {
        assert!(accepted(&before).await && !accepted(&after).await);
    }
    // Both, and then the new ones alone, as a rotation does.
    directory.write("clients.pem", &format!("{}{}", old.pem(), new.pem()));
    while !accepted(&after).await {}
    assert!(accepted(&before).await);
    directory.write("clients.pem", &new.pem());
    while accepted(&before).await {}
    assert!(!accepted(&before).await, "a resumed session is verified anew");
    assert!(accepted(&after).await);
}
