//! One request over the control socket: HTTP/1.1 on a Unix socket, one
//! connection per request, so that anything `curl --unix-socket` can do and
//! this program does are the same thing.
//!
//! Never waits for ever: connect, write and read share a deadline.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// What can go wrong between the verb and the daemon; each has its exit code.
#[derive(Debug)]
pub enum Failure {
    /// No daemon answers at the socket.
    NotThere(String),
    /// The daemon answered with a refusal (status and its reason).
    Refused(u16, String),
    /// The daemon answered something that is no answer.
    Garbled(String),
}

/// How long a request may take. Verbs over a million messages take a second.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of an answer that are read before it is given up.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// Bytes of the head of an answer that goes on, and of one piece of it.
const HEAD_BYTES_MAX: usize = 16 << 10;
const CHUNK_BYTES_MAX: usize = 64 << 20;

/// Sends `method path` with an optional JSON body and returns the JSON answer.
///
/// # Errors
/// [`Failure`] names who is at fault.
pub fn request(
    socket: &Path,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, Failure> {
    let mut stream = connect(socket)?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let answer = exchange(&mut stream, method, path, "application/json", body.as_bytes())
        .map_err(|e| Failure::NotThere(format!("{}: {e}", socket.display())))?;
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
pub fn carry(socket: &Path, method: &str, path: &str, body: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut stream = connect(socket)?;
    let answer = exchange(&mut stream, method, path, "message/rfc822", body)
        .map_err(|e| Failure::Garbled(format!("the daemon gave no answer: {e}")))?;
    let (status, text) = parse(&answer)?;
    if status / 100 == 2 {
        return Ok(text.to_vec());
    }
    Err(Failure::Refused(status, reason(&json(text)?)))
}

/// Asks for lines that come with time, and gives each without its end, until
/// they end or `each` has seen enough.
///
/// # Errors
/// [`Failure`]; [`Failure::Garbled`] too when the daemon goes away meanwhile.
pub fn follow(
    socket: &Path,
    path: &str,
    mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<(), Failure> {
    let mut stream = connect(socket)?;
    let gone = |e: io::Error| Failure::Garbled(format!("the daemon has gone: {e}"));
    stream.set_read_timeout(Some(TIMEOUT)).map_err(gone)?;
    let ask = format!("GET {path} HTTP/1.1\r\nHost: ringpost\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).map_err(gone)?;
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > HEAD_BYTES_MAX || reader.read_until(b'\n', &mut head).map_err(gone)? == 0 {
            return Err(Failure::Garbled("the daemon's answer was cut off".into()));
        }
    }
    let (status, _) = parse(&head)?;
    if status != 200 {
        let mut text = Vec::new();
        reader.take(ANSWER_BYTES_MAX).read_to_end(&mut text).map_err(gone)?;
        return Err(Failure::Refused(status, reason(&json(&text)?)));
    }
    let mut rest = Vec::new();
    while let Some(chunk) = chunk(&mut reader).map_err(gone)? {
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
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
    io::Read::take(&mut *reader, 32).read_line(&mut head)?;
    let length = usize::from_str_radix(head.trim_end(), 16).ok();
    let length = length.filter(|length| *length <= CHUNK_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("its answer is no stream"))?;
    let mut chunk = vec![0; length + 2];
    reader.read_exact(&mut chunk)?;
    chunk.truncate(length);
    Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
}

fn connect(socket: &Path) -> Result<UnixStream, Failure> {
    let failed = |e| Failure::NotThere(format!("{}: {e}", socket.display()));
    UnixStream::connect(socket).map_err(failed)
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
    stream: &mut UnixStream,
    method: &str,
    path: &str,
    kind: &str,
    body: &[u8],
) -> std::io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: ringpost\r\nConnection: close\r\n\
         Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

fn parse(answer: &[u8]) -> Result<(u16, &[u8]), Failure> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(answer) {
        Ok(httparse::Status::Complete(head)) => {
            let status = response.code.unwrap_or(0);
            Ok((status, &answer[head..]))
        }
        Ok(httparse::Status::Partial) => {
            Err(Failure::Garbled("the daemon's answer was cut off".into()))
        }
        Err(e) => Err(Failure::Garbled(format!("the daemon's answer is not HTTP: {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// A one-shot daemon that answers `reply` to anything.
    fn answered_with(reply: &'static str) -> Result<Value, Failure> {
        let folder = std::env::temp_dir().join(format!(
            "ringpost-client-{}-{:p}",
            std::process::id(),
            reply.as_ptr()
        ));
        std::fs::create_dir_all(&folder).unwrap();
        let socket = folder.join("s");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = [0; 1024];
            let n = stream.read(&mut seen).unwrap();
            assert!(seen[..n].starts_with(b"GET /v1/status HTTP/1.1\r\n"));
            stream.write_all(reply.as_bytes()).unwrap();
        });
        let answer = request(&socket, "GET", "/v1/status", None);
        daemon.join().unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        answer
    }

    #[test]
    fn a_good_answer_is_its_json() {
        let answer = answered_with("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{\"a\": 1}");
        assert_eq!(answer.unwrap()["a"], 1);
    }

    #[test]
    fn a_refusal_carries_the_daemons_reason() {
        let answer = answered_with("HTTP/1.1 404 Not Found\r\n\r\n{\"error\":\"no such message\"}");
        assert!(
            matches!(answer, Err(Failure::Refused(404, reason)) if reason == "no such message")
        );
    }

    #[test]
    fn garbage_is_not_taken_for_an_answer() {
        assert!(matches!(answered_with("hello\r\n\r\n"), Err(Failure::Garbled(_))));
        assert!(matches!(answered_with("HTTP/1.1 200 OK\r\n"), Err(Failure::Garbled(_))));
    }

    /// Shows: A43
    #[test]
    fn lines_are_put_together_from_chunks_until_enough_is_seen() {
        let seen = |text: &str, most: usize| {
            let mut reader = io::Cursor::new(text.as_bytes().to_vec());
            let mut all = Vec::new();
            while all.len() < most {
                match chunk(&mut reader) {
                    Ok(Some(chunk)) => all.push(String::from_utf8(chunk).unwrap()),
                    Ok(None) => break,
                    Err(error) => panic!("{error}"),
                }
            }
            all
        };
        let text = "4\r\n{}\n\n\r\n1\r\n\n\r\n0\r\n\r\n";
        assert_eq!(seen(text, 9), ["{}\n\n", "\n"]);
        assert_eq!(seen(text, 1), ["{}\n\n"]);
        for bad in ["", "x\r\n", "ffffffffff\r\n", "5\r\nab"] {
            assert!(chunk(&mut io::Cursor::new(bad.as_bytes().to_vec())).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn no_socket_means_not_there() {
        let answer = request(Path::new("/nonexistent/control.sock"), "GET", "/v1/status", None);
        assert!(matches!(answer, Err(Failure::NotThere(_))));
    }
}
