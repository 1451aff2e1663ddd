//! The server of a web page, and a browser that opens the page.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use crate::check::{Outcome, command, installed, with_libraries};

/// Serves the files of the page, and receives the lines that the page says; ended when dropped.
pub(crate) struct PageServer {
    port: u16,
    ended: Arc<AtomicBool>,
}

impl PageServer {
    /// Starts the server. The page's lines come out of the receiver.
    pub(crate) fn start() -> Outcome<(Self, mpsc::Receiver<String>)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener.map_err(|error| format!("cannot listen: {error}"))?;
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        let ended = Arc::new(AtomicBool::new(false));
        let has_ended = Arc::clone(&ended);
        let (said, saying) = mpsc::channel();
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if has_ended.load(Ordering::Relaxed) {
                    return;
                }
                let said = said.clone();
                // A connection that breaks is the browser's; its line is then missing.
                thread::spawn(move || answer(stream, &said));
            }
        });
        Ok((Self { port, ended }, saying))
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for PageServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

/// Answers one request: a file of the page, or a line that it says.
fn answer(stream: TcpStream, said: &mpsc::Sender<String>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut request, mut bytes) = (String::new(), 0);
    stream.read_line(&mut request)?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        match line.trim_end().to_ascii_lowercase().split_once(": ") {
            Some(("content-length", length)) => bytes = length.parse().unwrap_or(0),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = Vec::new();
    stream.by_ref().take(bytes).read_to_end(&mut body)?;
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split('?').next().unwrap_or_default();
    let (status, kind, content) = if (method, path) == ("POST", "/said") {
        let _ = said.send(String::from_utf8_lossy(&body).into_owned());
        ("204 No Content", "text/plain", Vec::new())
    } else {
        match fs::read(file(path)) {
            Ok(content) => ("200 OK", content_type(path), content),
            Err(_) => ("404 Not Found", "text/plain", Vec::new()),
        }
    };
    let length = content.len();
    let head = format!("content-type: {kind}\r\ncontent-length: {length}\r\nconnection: close");
    let mut stream = stream.into_inner();
    stream.write_all(format!("HTTP/1.1 {status}\r\n{head}\r\n\r\n").as_bytes())?;
    stream.write_all(&content)
}

/// Returns the file of a path; the page asks for none outside of its folder.
fn file(path: &str) -> PathBuf {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != "..");
    installed("node").join(parts.collect::<PathBuf>())
}

fn content_type(path: &str) -> &'static str {
    if path.ends_with(".html") { "text/html; charset=utf-8" } else { "text/javascript" }
}

/// A running browser; ended when dropped.
pub(crate) struct Browser(Child);

impl Browser {
    /// Opens a page.
    pub(crate) fn open(name: &str, url: &str) -> Outcome<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // Fails if the folder does not exist, which has the same result.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(|error| format!("cannot create a folder: {error}"))?;
        let log = fs::File::create(folder.join("log"))
            .map_err(|error| format!("cannot create a log: {error}"))?;
        let (binary, usr) = binary();
        let mut browser = with_libraries(command(&binary), &usr);
        // The sandbox and the shared memory need rights that containers do not give.
        browser.args(["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]);
        browser.args(["--no-proxy-server", "--no-first-run"]);
        browser.arg(format!("--user-data-dir={}", folder.display())).arg(url);
        let child = browser.env("HOME", &folder).stdout(Stdio::null()).stderr(log).spawn();
        child.map(Self).map_err(|error| format!("cannot start {}: {error}", binary.display()))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its other processes end with it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The browser that `cargo xtask interop` unpacks if the system's does not start, else the system's; and the `usr` that
/// it lies in.
pub(crate) fn binary() -> (PathBuf, PathBuf) {
    let unpacked = installed("chromium/usr");
    let binary = "lib/chromium/chromium-headless-shell";
    let usr = if unpacked.join(binary).is_file() { unpacked } else { PathBuf::from("/usr") };
    (usr.join(binary), usr)
}
