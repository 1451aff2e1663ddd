//! Reader of a recording: bounded lines, each of a known version.

use std::io::{self, BufRead, BufReader, Read};

use rr_spi::{Code, Delivery, Error, excerpt};
use serde::Deserialize;

use super::config::FILE_BYTES_MAX;
use super::line::{LINE_BYTES_MAX, Line, VERSION};
use super::recorded::Recorded;

/// Longest quotation of a reader's error, in characters.
const QUOTE_CHARS_MAX: usize = 256;

/// Blank lines, with which a whole buffer is compared: a recording of nothing else is read quickly.
static BLANK: [u8; 8192] = [b'\n'; 8192];

/// Reads every call, in the order in which the calls started.
///
/// # Errors
///
/// `InvalidArgument`, not sent: a line is malformed, has an unknown version, or is too long.
pub(super) fn read(from: impl Read) -> Result<Vec<Recorded>, Error> {
    let mut from = BufReader::with_capacity(BLANK.len(), from.take(FILE_BYTES_MAX + 1));
    let (mut calls, mut bytes, mut number, mut line) = (Vec::new(), 0, 1, Vec::new());
    loop {
        let (blank, ends) = skip_blank(&mut from).map_err(|error| unreadable(number, error))?;
        (bytes, number) = (bytes + blank, number + ends);
        line.clear();
        let mut limited = (&mut from).take(LINE_BYTES_MAX as u64 + 1);
        limited.read_until(b'\n', &mut line).map_err(|error| unreadable(number, error))?;
        bytes += line.len() as u64;
        match () {
            () if bytes > FILE_BYTES_MAX => return Err(too_long(number, "the recording", 256)),
            () if line.is_empty() => break,
            () if line.len() > LINE_BYTES_MAX => return Err(too_long(number, "the line", 16)),
            () => calls.push(parse(number, &line)?),
        }
        number += 1;
    }
    calls.sort_by_key(|call| call.n);
    Ok(calls)
}

/// Skips blank lines and the space before the next line, and returns the numbers of skipped bytes
/// and of ends of lines among them.
fn skip_blank(from: &mut impl BufRead) -> io::Result<(u64, usize)> {
    let (mut bytes, mut ends) = (0, 0);
    loop {
        let read = match from.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let (blank, found) = match BLANK.starts_with(read) {
            true => (read.len(), read.len()),
            false => blank(read),
        };
        let is_end = blank == 0 || blank < read.len();
        from.consume(blank);
        (bytes, ends) = (bytes + blank as u64, ends + found);
        if is_end {
            return Ok((bytes, ends));
        }
    }
}

/// Returns the length of the space at the start, and the number of ends of lines in it.
fn blank(read: &[u8]) -> (usize, usize) {
    let blank = &read[..read.len() - read.trim_ascii_start().len()];
    (blank.len(), blank.iter().filter(|&&byte| byte == b'\n').count())
}

fn parse(number: usize, line: &[u8]) -> Result<Recorded, Error> {
    #[derive(Deserialize)]
    struct Version {
        v: u64,
    }

    let malformed = |why: &str| malformed(number, line, why);
    let misfit = |error: serde_json::Error| malformed(&error.to_string());
    let Version { v } = serde_json::from_slice(line).map_err(misfit)?;
    if v != VERSION {
        let text = format!("line {number} of the recording has the version {v}");
        return Err(invalid(text).with_hint(format!(
            "this version of rr reads version {VERSION}: replay with the version that recorded"
        )));
    }
    let line: Line = serde_json::from_slice(line).map_err(misfit)?;
    Recorded::new(number, &line).map_err(|member| malformed(&format!("malformed `{member}`")))
}

fn malformed(number: usize, line: &[u8], why: &str) -> Error {
    let hint = match line.ends_with(b"\n") {
        true => excerpt(why, QUOTE_CHARS_MAX),
        false => "the line has no end, since its recorder was stopped: remove it".to_owned(),
    };
    invalid(format!("line {number} of the recording is malformed")).with_hint(hint)
}

fn too_long(number: usize, what: &str, mebibytes: u32) -> Error {
    invalid(format!("line {number} of the recording: {what} is longer than {mebibytes} MiB"))
        .with_hint("keep the lines that the test needs")
}

fn unreadable(number: usize, error: io::Error) -> Error {
    let text = format!("line {number} of the recording cannot be read: {error}");
    Error::failure(Code::Unavailable, Delivery::NotSent, None, text).with_source(error)
}

fn invalid(text: String) -> Error {
    Error::failure(Code::InvalidArgument, Delivery::NotSent, None, text)
}
