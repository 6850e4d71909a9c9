//! One request over the control socket, or at the control port of a daemon
//! elsewhere: HTTP/1.1, one connection per request, so that anything that
//! `curl --unix-socket`, or `curl --cert`, can do and this program does are the
//! same thing.
//!
//! Never waits for ever: each step has a deadline.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use runtime::http::Timed;
use runtime::tls_stream::{Remote, RemoteError, TlsStream};
use serde_json::Value;

use crate::remote::At;

/// What can go wrong between the verb and the daemon; each has its exit code.
#[derive(Debug)]
pub enum Failure {
    /// No daemon answers at the socket.
    NotThere(String),
    /// The daemon answered with a refusal (status and its reason).
    Refused(u16, String),
    /// The daemon answered something that is no answer.
    Garbled(String),
    /// What was said of it makes no sense, or names files that do not.
    Misuse(String),
    /// The host elsewhere does not prove who it is, or does not let us in.
    Unproved(String),
}

/// A connection to the daemon.
enum Stream<'a> {
    Socket(UnixStream),
    Remote(Box<TlsStream>, &'a Remote),
}

/// How long a request may take. Verbs over a million messages take a second.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connection to a daemon elsewhere may take, with its handshake.
const CONNECT_TIME: Duration = Duration::from_secs(20);
/// Bytes of an answer that are read before it is given up.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// Bytes of the head of an answer that goes on, of one piece of it, and of one
/// line of it, which several pieces may hold.
const HEAD_BYTES_MAX: usize = 16 << 10;
const CHUNK_BYTES_MAX: usize = 64 << 20;
const LINE_BYTES_MAX: usize = 64 << 20;

/// Sends `method path` with an optional JSON body and returns the JSON answer.
///
/// # Errors
/// [`Failure`] names who is at fault.
pub fn request(at: &At, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
    let mut stream = connect(at)?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let answer = exchange(&mut stream, method, path, "application/json", body.as_bytes())
        .map_err(|e| stream.failure(&e, Failure::NotThere))?;
    let (status, text) = parse(&answer)?;
    let value = json(text)?;
    if status / 100 == 2 {
        return Ok(value);
    }
    Err(Failure::Refused(status, reason(&value)))
}

/// Sends a message, or nothing, and returns the answer as it is.
///
/// # Errors
/// [`Failure`]; [`Failure::NotThere`] only where nothing was sent.
pub fn carry(at: &At, method: &str, path: &str, body: &[u8]) -> Result<Vec<u8>, Failure> {
    carried(at, method, path, "message/rfc822", body)
}

/// Sends a text that is JSON already.
///
/// # Errors
/// As [`carry`].
pub fn put(at: &At, path: &str, body: &[u8]) -> Result<Value, Failure> {
    json(&carried(at, "PUT", path, "application/json", body)?)
}

fn carried(at: &At, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut stream = connect(at)?;
    let answer = exchange(&mut stream, method, path, kind, body)
        .map_err(|e| stream.failure(&e, no_answer))?;
    let (status, text) = parse(&answer)?;
    if status / 100 == 2 {
        return Ok(text.to_vec());
    }
    Err(Failure::Refused(status, reason(&json(text)?)))
}

/// Sends a file of so many octets, once the daemon wants it, and returns the JSON
/// answer.
///
/// # Errors
/// [`Failure`].
pub fn send(
    at: &At,
    method: &str,
    path: &str,
    file: &mut impl Read,
    bytes: u64,
) -> Result<Value, Failure> {
    let mut stream = connect(at)?;
    let sent = sent(&mut stream, method, path, file, bytes);
    let answer = sent.map_err(|e| stream.failure(&e, no_answer))?;
    let (status, text) = parse(&answer)?;
    let value = json(text)?;
    if status / 100 == 2 { Ok(value) } else { Err(Failure::Refused(status, reason(&value))) }
}

fn sent(
    stream: &mut Stream<'_>,
    method: &str,
    path: &str,
    file: &mut impl Read,
    bytes: u64,
) -> io::Result<Vec<u8>> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: ringpost\r\nConnection: close\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {bytes}\r\n\
         Expect: 100-continue\r\n\r\n"
    );
    if let Err(error) = stream.write_all(head.as_bytes()) {
        return heard(stream, Err(error), Vec::new());
    }
    let mut answer = Vec::new();
    let mut byte = [0; 1];
    while !answer.ends_with(b"\r\n\r\n") && answer.len() < HEAD_BYTES_MAX {
        if stream.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.push(byte[0]);
    }
    let mut said = Ok(());
    if answer.starts_with(b"HTTP/1.1 100 ") {
        answer.clear();
        said = match io::copy(&mut file.take(bytes), stream) {
            Ok(copied) if copied < bytes => {
                return Err(io::Error::other("the file has become shorter"));
            }
            copied => copied.map(|_| ()),
        };
    }
    heard(stream, said, answer)
}

/// Asks for lines that come with time, and gives each without its end, until
/// they end or `each` has seen enough.
///
/// # Errors
/// [`Failure`]; [`Failure::Garbled`] too when the daemon goes away meanwhile.
pub fn follow(
    at: &At,
    path: &str,
    each: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<(), Failure> {
    let mut stream = connect(at)?;
    let gone = |e: io::Error| Failure::Garbled(format!("the daemon has gone: {e}"));
    let ask = format!("GET {path} HTTP/1.1\r\nHost: ringpost\r\nConnection: close\r\n\r\n");
    let said = stream.write_all(ask.as_bytes());
    let mut reader = BufReader::new(stream);
    // Only now a host elsewhere has looked at our certificate.
    let head = match (head(&mut reader), said) {
        (Ok(head), Err(error)) if head.is_empty() => Err(error),
        (head, _) => head,
    };
    let head = head.map_err(|e| reader.get_ref().failure(&e, Failure::NotThere))?;
    let (status, ..) = parse_head(&head)?;
    if status != 200 {
        let answer = heard(&mut reader, Ok(()), head).map_err(gone)?;
        return Err(Failure::Refused(status, reason(&json(parse(&answer)?.1)?)));
    }
    lines(&mut reader, LINE_BYTES_MAX, each).map_err(gone)
}

/// The head of an answer, or its first octets where it is longer than any may be
/// or breaks off.
fn head(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut bounded = io::Read::take(reader, HEAD_BYTES_MAX as u64);
    while !head.ends_with(b"\r\n\r\n") && bounded.read_until(b'\n', &mut head)? > 0 {}
    Ok(head)
}

/// The lines of an answer, each of at most so many octets, until they end or
/// `each` has seen enough.
fn lines(
    reader: &mut impl BufRead,
    bytes_max: usize,
    mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut rest = Vec::new();
    while let Some(chunk) = chunk(reader)? {
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            if rest.len() + part.len() > bytes_max + usize::from(part.ends_with(b"\n")) {
                return Err(io::Error::other("a line of its answer does not end"));
            }
            rest.extend_from_slice(part);
            let whole = rest.pop_if(|last| *last == b'\n').is_some();
            // An empty line says only that the daemon lives.
            if whole && !rest.is_empty() && each(&rest).is_break() {
                return Ok(());
            }
            if whole {
                rest.clear();
            }
        }
    }
    Ok(())
}

/// The next chunk of an answer; none at its end.
fn chunk(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut head = String::new();
    if io::Read::take(&mut *reader, 32).read_line(&mut head)? == 0 {
        return Err(io::Error::other("its answer broke off"));
    }
    let length = usize::from_str_radix(head.trim_end(), 16).ok();
    let length = length.filter(|length| *length <= CHUNK_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("its answer is no stream"))?;
    let mut chunk = vec![0; length + 2];
    reader.read_exact(&mut chunk)?;
    chunk.truncate(length);
    Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
}

fn connect(at: &At) -> Result<Stream<'_>, Failure> {
    match at {
        At::Socket(socket) => of_socket(socket),
        At::Remote(remote) => {
            let stream = remote.connect(CONNECT_TIME).map_err(of_remote)?;
            Ok(Stream::Remote(Box::new(stream), remote))
        }
        At::Unclear(why) => Err(Failure::Misuse(why.clone())),
    }
}

fn of_socket(socket: &Path) -> Result<Stream<'static>, Failure> {
    let failed = |e| Failure::NotThere(format!("{}: {e}", socket.display()));
    let stream = UnixStream::connect(socket).map_err(failed)?;
    stream.limit(TIMEOUT).map_err(failed)?;
    Ok(Stream::Socket(stream))
}

fn of_remote(error: RemoteError) -> Failure {
    match error {
        RemoteError::MisuseFile(why) => Failure::Misuse(why),
        RemoteError::PeerAway(why) => Failure::NotThere(why),
        RemoteError::PeerUnproved(why) | RemoteError::PeerRefuses(why) => Failure::Unproved(why),
    }
}

fn no_answer(why: String) -> Failure {
    Failure::Garbled(format!("the daemon gave no answer: {why}"))
}

impl Stream<'_> {
    /// What an error means; `otherwise` where it is no more than an end.
    fn failure(&self, error: &io::Error, otherwise: fn(String) -> Failure) -> Failure {
        match self {
            Self::Socket(_) => otherwise(error.to_string()),
            Self::Remote(_, remote) => match remote.explain(error) {
                RemoteError::PeerAway(why) => otherwise(why),
                other => of_remote(other),
            },
        }
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Socket(stream) => stream.read(bytes),
            Self::Remote(stream, _) => {
                stream.limit(TIMEOUT)?;
                stream.read(bytes)
            }
        }
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(stream) => stream.write(bytes),
            Self::Remote(stream, _) => {
                stream.limit(TIMEOUT)?;
                stream.write(bytes)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Socket(stream) => stream.flush(),
            Self::Remote(stream, _) => stream.flush(),
        }
    }
}

fn json(text: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(text)
        .map_err(|e| Failure::Garbled(format!("the daemon's answer is not JSON: {e}")))
}

/// The daemon's reason, with what it found and what others have changed.
fn reason(body: &Value) -> String {
    let mut reason = body["error"].as_str().unwrap_or("no reason given").to_string();
    for line in findings(body) {
        reason.push('\n');
        reason.push_str(&line);
    }
    if let Some(diff) = body["diff"].as_str().filter(|diff| !diff.is_empty()) {
        reason.push_str("\nwhat has changed since:\n");
        reason.push_str(diff.trim_end());
    }
    reason
}

/// What was found about a configuration, a line each.
pub fn findings(body: &Value) -> Vec<String> {
    let all = ["findings", "warnings"].into_iter().filter_map(|name| body[name].as_array());
    let line = |finding: &Value| {
        let word = |name: &str| finding[name].as_str().unwrap_or_default().to_string();
        let (line, column) = (&finding["line"], &finding["column"]);
        let severity = if word("severity") == "warning" { "warning: " } else { "" };
        format!("line {line}, column {column}: {severity}{} {}", word("key"), word("message"))
    };
    all.flatten().map(line).collect()
}

fn exchange(
    stream: &mut Stream<'_>,
    method: &str,
    path: &str,
    kind: &str,
    body: &[u8],
) -> io::Result<Vec<u8>> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: ringpost\r\nConnection: close\r\n\
         Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let said = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    heard(stream, said, Vec::new())
}

/// What is answered, of which `answer` is the begin, to what was just said. A
/// daemon that does not want all of it, or nobody more, answers and closes before
/// it has read that: its whole answer counts for more than how it ended.
fn heard(stream: &mut impl Read, said: io::Result<()>, mut answer: Vec<u8>) -> io::Result<Vec<u8>> {
    let read = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer);
    let is_whole = || {
        parse_head(&answer)
            .is_ok_and(|(_, length, body)| length.is_some_and(|length| body.len() as u64 >= length))
    };
    // Of a host elsewhere, why it does not let us in is what is read.
    match read.and(said) {
        Err(error) if !is_whole() => Err(error),
        _ => Ok(answer),
    }
}

/// Status and body of an answer that has ended. A part is not taken for the
/// whole: a daemon that ends, or gives up a reader that stood still, breaks off
/// anywhere.
fn parse(answer: &[u8]) -> Result<(u16, &[u8]), Failure> {
    let (status, length, body) = parse_head(answer)?;
    match length {
        Some(length) if (body.len() as u64) < length => Err(cut_off()),
        _ => Ok((status, body)),
    }
}

fn cut_off() -> Failure {
    Failure::Garbled("the daemon's answer was cut off".into())
}

/// Status, the length of the body where it is said, and what follows the head.
fn parse_head(answer: &[u8]) -> Result<(u16, Option<u64>, &[u8]), Failure> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(answer) {
        Ok(httparse::Status::Complete(head)) => {
            let status = response.code.unwrap_or(0);
            let is_length = |name: &str| name.eq_ignore_ascii_case("content-length");
            let length = response.headers.iter().find(|header| is_length(header.name));
            let length =
                length.map(|header| str::from_utf8(header.value).ok()?.trim().parse().ok());
            match length {
                Some(None) => Err(Failure::Garbled("the daemon's answer has no length".into())),
                length => Ok((status, length.flatten(), &answer[head..])),
            }
        }
        Ok(httparse::Status::Partial) => Err(cut_off()),
        Err(e) => Err(Failure::Garbled(format!("the daemon's answer is not HTTP: {e}"))),
    }
}

#[cfg(test)]
mod tests;
