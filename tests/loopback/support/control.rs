//! One request over the control socket, as `curl --unix-socket` would send it:
//! HTTP/1.1, one connection, JSON back, or a message as a text.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use super::wait::PATIENCE;

/// Sends `method target` with `body`; returns status and answer.
///
/// # Panics
/// Nobody answers, or not in HTTP and JSON.
pub fn ask(socket: &Path, method: &str, target: &str, body: &str) -> (u16, Value) {
    try_ask(socket, method, target, body).unwrap_or_else(|e| panic!("{method} {target}: {e}"))
}

/// The head of an answer that goes on for as long as somebody reads it, and the
/// rest of it.
///
/// # Panics
/// Nobody answers.
pub fn attached(socket: &Path, target: &str) -> (String, UnixStream) {
    let mut stream = UnixStream::connect(socket).expect("the daemon listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a time-out");
    write!(stream, "GET {target} HTTP/1.1\r\nHost: ringpost\r\n\r\n").expect("it reads");
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count > 0) {
        head.push(byte[0]);
    }
    (String::from_utf8_lossy(&head).into_owned(), stream)
}

fn try_ask(
    socket: &Path,
    method: &str,
    target: &str,
    body: &str,
) -> Result<(u16, Value), Box<dyn std::error::Error>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: ringpost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the answer has no end of its head")?;
    let status = head.split(' ').nth(1).ok_or("the answer has no status")?.parse()?;
    if !head.contains("Content-Type: application/json") {
        return Ok((status, body.into()));
    }
    Ok((status, serde_json::from_str(body)?))
}
