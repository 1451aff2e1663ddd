//! curl as a client, and what it saw.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::check::{Outcome, command, ensure};
use crate::example::PING_HTTP;
use crate::server::Server;

/// What every error answer states in addition to its status.
pub(crate) struct Expected<'a> {
    pub(crate) status: u16,
    pub(crate) code: &'a str,
    pub(crate) reason: Option<&'a str>,
    pub(crate) delivery: &'a str,
}

/// curl, and the `ping_http` that it calls.
pub(crate) struct Curl {
    pub(crate) server: Server,
}

/// What curl tells about an answer, behind its head.
const WRITE_OUT: &str = "%{stderr}%{http_code} %{http_version} %{time_total} %{size_download}";

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// As curl writes it: `1.0`, `1.1` or `2`.
    pub(crate) version: String,
    /// Names in lower case, in the order they came.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) took: Duration,
}

impl Curl {
    /// Starts the server.
    pub(crate) fn start() -> Outcome<Self> {
        Ok(Self { server: PING_HTTP.serve(None)? })
    }

    /// Starts a server that compresses replies.
    pub(crate) fn start_compressing() -> Outcome<Self> {
        let url = "http://127.0.0.1:0?compress_bytes_min=1024";
        Ok(Self { server: PING_HTTP.serve(Some(url))? })
    }

    /// Builds the command for a path, for callers that do something else meanwhile.
    pub(crate) fn command(&self, path: &str, options: &[&str]) -> Command {
        let mut curl = command("curl");
        curl.args(["--silent", "--show-error", "--max-time", "30"]);
        curl.args(options).arg(format!("{}{path}", self.base()));
        curl
    }

    /// Returns the URL of the server without its query.
    fn base(&self) -> &str {
        self.server.url().split('?').next().unwrap_or_default()
    }

    /// Makes one call.
    pub(crate) fn call(&self, path: &str, options: &[&str]) -> Outcome<Reply> {
        self.send(path, b"", options)
    }

    /// Posts a JSON document.
    pub(crate) fn json(&self, path: &str, document: &str, options: &[&str]) -> Outcome<Reply> {
        let json = ["--header", "content-type: application/json", "--data-binary", document];
        self.call(path, &[&json, options].concat())
    }

    /// Posts this body.
    pub(crate) fn post(&self, path: &str, body: &[u8], options: &[&str]) -> Outcome<Reply> {
        let blob = ["--header", "content-type: application/x-blob", "--data-binary", "@-"];
        self.send(path, body, &[&blob, options].concat())
    }

    /// Posts text, whose content type the options state.
    pub(crate) fn text(&self, path: &str, body: &[u8], options: &[&str]) -> Outcome<Reply> {
        self.send(path, body, &[&["--data-binary", "@-"], options].concat())
    }

    /// Makes a call whose options may read `body` from the standard input.
    fn send(&self, path: &str, body: &[u8], options: &[&str]) -> Outcome<Reply> {
        let unstartable = |error| format!("cannot start curl: {error}");
        let mut curl = self
            .command(path, options)
            // The body of the answer alone goes to the standard output.
            .args(["--dump-header", "/dev/stderr", "--write-out", WRITE_OUT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(unstartable)?;
        // Without `@-` curl reads nothing and may end first.
        let _ = curl.stdin.take().map(|mut stdin| stdin.write_all(body));
        let output = curl.wait_with_output().map_err(unstartable)?;
        let told = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("no answer: {}", told.trim()));
        }
        let (head, line) = told.rsplit_once('\n').unwrap_or_default();
        Reply::parse(line, head, output.stdout)
    }
}

impl Reply {
    /// Reads curl's `--write-out` line, the dumped head and the body.
    fn parse(line: &str, head: &str, mut body: Vec<u8>) -> Outcome<Self> {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let status = word().parse().map_err(|_| format!("curl printed {line:?}"))?;
        let version = word().to_owned();
        let seconds = word().parse().map_err(|_| format!("curl printed {line:?}"))?;
        // Interim answers (100 Continue) come in blocks before the final one.
        let head = head.trim_end().replace("\r\n", "\n");
        let last = head.rsplit("\n\n").next().unwrap_or_default();
        let fields = last.lines().skip(1).filter_map(|line| line.split_once(':'));
        let headers =
            fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        let took = Duration::from_secs_f64(seconds);
        // For HEAD curl writes the head in the place of the body, which it counts as nothing. Of a
        // compressed body it counts the bytes that came.
        let came: usize = word().parse().map_err(|_| format!("curl printed {line:?}"))?;
        if came == 0 {
            body.clear();
        }
        Ok(Self { status, version, headers: headers.collect(), body, took })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(seen, _)| seen == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null when it is none.
    pub(crate) fn document(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// What came, in one line.
    pub(crate) fn seen(&self) -> String {
        let headers = self.headers.iter().map(|(name, value)| format!("{name}: {value}"));
        let headers = headers.collect::<Vec<_>>().join(", ");
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(300)]);
        let (status, version, bytes) = (self.status, &self.version, self.body.len());
        format!("saw HTTP/{version} {status} [{headers}] with {bytes} bytes {text:?}")
    }

    /// Fails unless this is exactly that successful answer.
    pub(crate) fn is_ok(&self, body: &[u8]) -> Outcome {
        ensure(self.status == 200, || self.seen())?;
        let ours = self.headers.iter().find(|(name, _)| name == "rr" || name.starts_with("rr-"));
        ensure(ours.is_none(), || format!("a header of ours on success: {}", self.seen()))?;
        ensure(self.body == body, || {
            format!("expected {} bytes that are others: {}", body.len(), self.seen())
        })
    }

    /// Fails unless a header has this value, or is absent for `None`.
    pub(crate) fn has_header(&self, name: &str, value: Option<&str>) -> Outcome {
        ensure(self.header(name) == value, || {
            format!("expected {name} to be {value:?}: {}", self.seen())
        })
    }

    /// Fails unless this is that error answer: all in its headers, and in its body what Connect has there. The body of
    /// 415 is a line of text, since Connect takes its code from the status.
    pub(crate) fn is_error(&self, expected: &Expected<'_>) -> Outcome {
        let Expected { status, code, reason, delivery } = *expected;
        ensure(self.status == status, || format!("expected {status}: {}", self.seen()))?;
        self.has_header("rr-code", Some(code))?;
        self.has_header("rr-delivery", Some(delivery))?;
        if let Some(reason) = reason {
            self.has_header("rr-reason", Some(reason))?;
        }
        if status == 415 {
            return self.is_text();
        }
        self.has_header("content-type", Some("application/json"))?;
        let document = self.document();
        ensure(document["code"] == code, || {
            format!("expected the body's code to be {code}: {}", self.seen())
        })?;
        let known = ["code", "message", "details"];
        let mut members = document.as_object().into_iter().flat_map(|members| members.keys());
        ensure(members.all(|member| known.contains(&member.as_str())), || {
            format!("a member that Connect does not have: {}", self.seen())
        })
    }

    /// Fails unless the body is a line of text.
    pub(crate) fn is_text(&self) -> Outcome {
        self.has_header("content-type", Some("text/plain; charset=utf-8"))?;
        ensure(self.body.ends_with(b"\n"), || format!("no line of text: {}", self.seen()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_head_is_read_after_interim_ones() {
        let head = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-One: 1\r\n\r\n";
        let reply = Reply::parse("200 1.1 0.25 1", head, b"x".to_vec()).unwrap();
        assert_eq!((reply.status, reply.version.as_str()), (200, "1.1"));
        assert_eq!(reply.headers, [("x-one".to_owned(), "1".to_owned())]);
        assert_eq!(reply.took, Duration::from_millis(250));
        assert!(reply.is_ok(b"x").is_ok() && reply.is_ok(b"y").is_err());
    }

    #[test]
    fn an_error_must_agree_in_headers_and_body() {
        let expected =
            Expected { status: 404, code: "unimplemented", reason: None, delivery: "rejected" };
        let head = "HTTP/2 404\r\ncontent-type: application/json\r\nrr-code: unimplemented\r\nrr-delivery: rejected\r\n\r\n";
        let body = br#"{"code":"unimplemented","message":"m"}"#.to_vec();
        assert!(Reply::parse("404 2 0.1 99", head, body).unwrap().is_error(&expected).is_ok());
        let body = br#"{"code":"internal","message":"m"}"#.to_vec();
        assert!(Reply::parse("404 2 0.1 99", head, body).unwrap().is_error(&expected).is_err());
        let body = br#"{"code":"unimplemented","delivery":"rejected"}"#.to_vec();
        assert!(Reply::parse("404 2 0.1 99", head, body).unwrap().is_error(&expected).is_err());
    }
}
