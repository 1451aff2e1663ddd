//! curl as a client, and what it saw.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::ensure;
use crate::command::{Outcome, command};

/// What every error answer says beside its status.
pub(super) struct Expected<'a> {
    pub(super) status: u16,
    pub(super) code: &'a str,
    pub(super) reason: Option<&'a str>,
    pub(super) delivery: &'a str,
}

/// Runs curl against one server; answers pass through files in one folder.
pub(super) struct Curl {
    url: String,
    folder: PathBuf,
}

/// An answer.
pub(super) struct Reply {
    pub(super) status: u16,
    /// As curl writes it: `1.0`, `1.1` or `2`.
    pub(super) version: String,
    /// Names in lower case, in the order they came.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) took: Duration,
}

impl Curl {
    pub(super) fn new(url: &str, folder: &Path) -> Self {
        Self { url: url.to_owned(), folder: folder.to_path_buf() }
    }

    /// Builds the command for a path, for callers that run it beside others.
    pub(super) fn command(&self, path: &str, options: &[&str]) -> Command {
        let mut curl = command("curl", ["--silent", "--show-error", "--max-time", "30"]);
        curl.args(options).arg(format!("{}{path}", self.url));
        curl
    }

    /// Makes one call.
    pub(super) fn call(&self, path: &str, options: &[&str]) -> Outcome<Reply> {
        let (head, body) = (self.folder.join("reply.head"), self.folder.join("reply.body"));
        // curl creates no file for an answer without a body: an old one must not be taken for it.
        for file in [&head, &body] {
            fs::write(file, "").map_err(|error| format!("cannot write {file:?}: {error}"))?;
        }
        let output = self
            .command(path, options)
            .arg("--dump-header")
            .arg(&head)
            .arg("--output")
            .arg(&body)
            .args(["--write-out", "%{http_code} %{http_version} %{time_total} %{size_download}"])
            .output()
            .map_err(|error| format!("cannot start curl: {error}"))?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(format!("no answer: {}", errors.trim()));
        }
        let read = |file| fs::read(file).map_err(|error| format!("cannot read {file:?}: {error}"));
        Reply::parse(
            &String::from_utf8_lossy(&output.stdout),
            &String::from_utf8_lossy(&read(&head)?),
            read(&body)?,
        )
    }

    /// Posts a JSON document.
    pub(super) fn json(&self, path: &str, document: &str, options: &[&str]) -> Outcome<Reply> {
        let mut all = vec!["--header", "content-type: application/json", "--data-binary", document];
        all.extend(options);
        self.call(path, &all)
    }

    /// Posts a body of its own; it travels through a file.
    pub(super) fn post(&self, path: &str, body: &[u8], options: &[&str]) -> Outcome<Reply> {
        let file = self.folder.join("request.body");
        fs::write(&file, body).map_err(|error| format!("cannot write {file:?}: {error}"))?;
        let mut data = OsString::from("@");
        data.push(&file);
        let mut all = vec!["--header", "content-type: application/x-blob"];
        let data = data.to_string_lossy();
        all.extend(["--data-binary", &data]);
        all.extend(options);
        self.call(path, &all)
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
        // For HEAD curl writes the head in the place of the body, which it counts as nothing.
        body.truncate(word().parse().map_err(|_| format!("curl printed {line:?}"))?);
        Ok(Self { status, version, headers: headers.collect(), body, took })
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(seen, _)| seen == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null when it is none.
    pub(super) fn document(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// What came, in one line.
    pub(super) fn seen(&self) -> String {
        let headers = self.headers.iter().map(|(name, value)| format!("{name}: {value}"));
        let headers = headers.collect::<Vec<_>>().join(", ");
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(300)]);
        let (status, version, bytes) = (self.status, &self.version, self.body.len());
        format!("saw HTTP/{version} {status} [{headers}] with {bytes} bytes {text:?}")
    }

    /// Fails unless this is exactly that successful answer.
    pub(super) fn is_ok(&self, body: &[u8]) -> Outcome {
        ensure(self.status == 200, || self.seen())?;
        let ours = self.headers.iter().find(|(name, _)| name == "rr" || name.starts_with("rr-"));
        ensure(ours.is_none(), || format!("a header of ours on success: {}", self.seen()))?;
        ensure(self.body == body, || {
            format!("expected {} bytes that are others: {}", body.len(), self.seen())
        })
    }

    /// Fails unless a header has this value, or is absent for `None`.
    pub(super) fn has_header(&self, name: &str, value: Option<&str>) -> Outcome {
        ensure(self.header(name) == value, || {
            format!("expected {name} to be {value:?}: {}", self.seen())
        })
    }

    /// Fails unless this is that error answer: all in its headers, and in its body what Connect has there. The body of
    /// 415 is a line of text, since Connect takes its code from the status.
    pub(super) fn is_error(&self, expected: &Expected<'_>) -> Outcome {
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
    pub(super) fn is_text(&self) -> Outcome {
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
