//! Servers on sockets that are already bound.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rr_http::{HttpRequester, HttpServerConfig, serve_on};
use rr_spi::{
    Code, Context, Declared, Delivery, Error, Request, Requester as _, Responder, Response, Route,
    Routes, async_trait,
};

use crate::support::*;

/// Set for the process that systemd would start.
const CHILD: &str = "RR_HTTP_TEST_CHILD";

/// Answers with the number of its process.
struct Process;

#[async_trait]
impl Responder for Process {
    async fn respond(&self, _: &Context, _: Request) -> Result<Response, Error> {
        Ok(Response::new(std::process::id().to_string()))
    }
}

fn routes() -> Routes {
    let mut routes = Routes::new();
    let route = Route::Target("process".into());
    routes.insert(route, Declared::Unspecified, Arc::new(Process)).unwrap();
    routes
}

async fn process(url: &str) -> u32 {
    let client = HttpRequester::connect(url).await.unwrap();
    let answer = within(client.request(&context(), request("process", ""))).await.unwrap();
    std::str::from_utf8(&answer.body).unwrap().parse().unwrap()
}

#[tokio::test]
async fn sockets_of_both_kinds_are_served_with_the_options_and_the_prefix_of_the_url() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = "http://127.0.0.1:1/api?in_flight_max=1";
    let (server, _) = serve_on(url, listener, routes(), HttpServerConfig::default()).unwrap();
    assert_eq!(server.url(), format!("http://127.0.0.1:{port}/api?in_flight_max=1").as_str());
    assert_eq!(process(server.url()).await, std::process::id());

    let path = std::env::temp_dir().join(format!("rr-bound-{}.sock", std::process::id()));
    let url = format!("http+unix://{}", path.display());
    let listener = UnixListener::bind(&path).unwrap();
    let (server, _) = serve_on(&url, listener, routes(), HttpServerConfig::default()).unwrap();
    assert_eq!(process(server.url()).await, std::process::id());
    server.shutdown(std::time::Duration::ZERO).await;
    assert!(path.exists(), "the file belongs to the one who bound the socket");
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_url_that_does_not_fit_the_socket_is_refused_with_a_hint() {
    for url in ["http+unix:///run/orders.sock", "nats://h", "http://h?in_flight=1"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = serve_on(url, listener, routes(), HttpServerConfig::default()).unwrap_err();
        assert_eq!(told(&error), (Code::InvalidArgument, Delivery::NotSent, None), "{error:?}");
        assert!(!error.hint().is_empty(), "{url}");
    }
}

/// Serves the socket that systemd, here the parent, has passed.
async fn serve_passed_socket() {
    let listener = listenfd::ListenFd::from_env().take_tcp_listener(0).unwrap().unwrap();
    let url = "http://127.0.0.1";
    let (server, _) = serve_on(url, listener, routes(), HttpServerConfig::default()).unwrap();
    println!("serving {}", server.url());
    server.wait().await;
}

/// Starts this test program with the socket as its file descriptor 3, and ends it when dropped.
struct Passed(Child);

impl Passed {
    fn start(listener: &TcpListener) -> Self {
        let socket = OwnedFd::from(listener.try_clone().unwrap());
        // The shell moves the socket to where systemd passes it, and its process becomes ours, so
        // that it knows the process number.
        let script = r#"exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@""#;
        let child = Command::new("sh")
            .args(["-c", script])
            .arg(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "bound::a_socket_that_systemd_passes_outlives_the_server",
                "--nocapture",
            ])
            .env(CHILD, "1")
            .stdin(socket)
            .stdout(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    /// Waits until the child serves; returns the URL that it names.
    fn url(&mut self) -> String {
        let mut lines = BufReader::new(self.0.stdout.as_mut().unwrap()).lines();
        let line = lines.find_map(|line| {
            let line = line.unwrap();
            Some(line.split_once("serving ")?.1.trim().to_owned())
        });
        line.expect("the child serves")
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_socket_that_systemd_passes_outlives_the_server() {
    if std::env::var_os(CHILD).is_some() {
        return serve_passed_socket().await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // It connects before there is a server, and waits for it.
    let early = tokio::spawn({
        let url = url.clone();
        async move { process(&url).await }
    });
    let mut first = Passed::start(&listener);
    assert_eq!(first.url(), url);
    assert_eq!(early.await.unwrap(), first.0.id());
    drop(first);
    let between = tokio::spawn({
        let url = url.clone();
        async move { process(&url).await }
    });
    let second = Passed::start(&listener);
    assert_eq!(between.await.unwrap(), second.0.id());
}
