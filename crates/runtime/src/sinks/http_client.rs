//! A small HTTP/1.1 client for posting: one request, one answer, again on the
//! same connection where the server keeps it.
//!
//! Follows no redirect, and never shows what an answer holds but its first
//! line. Invariants: each exchange has one deadline; head and body of an answer
//! are bounded; a server's certificate is always checked.
//!
//! Read first: RFC 9112 §3, RFC 9112 §6.

use std::io::{self, Read, Write};

use control::{Trust, Url};

use super::connection::{Connection, Dialer};
use super::patient::Deadline;

/// Octets of an answer's head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Octets of an answer's body that are read so that the connection can be used
/// again.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Characters of an answer's first line that are kept.
const SAID_CHARS_MAX: usize = 100;

/// Posts to one URL.
pub(super) struct HttpClient {
    url: Url,
    dialer: Dialer,
    kept: Option<Connection>,
}

/// What a server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The status code.
    pub(super) status: u16,
    /// Code and reason, safe to show.
    pub(super) said: String,
}

/// An answer's head, taken apart.
struct Head {
    answer: Answer,
    /// Octets of the head itself.
    bytes: usize,
    /// Of the body, where that is said.
    length: Option<usize>,
    keeps: bool,
}

impl HttpClient {
    /// A client that has not connected yet.
    pub(super) fn new(url: Url, trust: Trust) -> Self {
        let dialer = Dialer::new(&url.host, url.port, url.tls.then_some(trust));
        Self { url, dialer, kept: None }
    }

    /// Posts `body` with these fields, each a whole line with its end.
    ///
    /// # Errors
    /// There was no answer, and perhaps the request was not even sent.
    pub(super) fn post(
        &mut self,
        fields: &str,
        body: &[u8],
        deadline: &Deadline,
    ) -> io::Result<Answer> {
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: Ringpost/{}\r\nContent-Length: {}\r\n{fields}\r\n",
            self.url.target,
            self.url.authority(),
            env!("CARGO_PKG_VERSION"),
            body.len(),
        );
        let request = [head.as_bytes(), body].concat();
        if let Some(mut kept) = self.kept.take() {
            kept.set(deadline);
            let mut heard = false;
            match self.exchange(kept, &request, &mut heard) {
                // It was closed while nobody used it.
                Err(error) if !heard && error.kind() != io::ErrorKind::TimedOut => {}
                other => return other,
            }
        }
        let connection = self.dialer.dial(deadline)?;
        self.exchange(connection, &request, &mut false)
    }

    /// `heard` says whether anything came back.
    fn exchange(
        &mut self,
        mut connection: Connection,
        request: &[u8],
        heard: &mut bool,
    ) -> io::Result<Answer> {
        // A server that has enough may answer and close before it has read all.
        let written = connection.write_all(request).and_then(|()| connection.flush());
        let mut bytes = Vec::new();
        let head = loop {
            match head(&bytes)? {
                Some(head) if (100..200).contains(&head.answer.status) => {
                    bytes.drain(..head.bytes);
                }
                Some(head) => break head,
                None => {
                    let read = more(&mut connection, &mut bytes);
                    *heard |= !bytes.is_empty();
                    // What was wrong first is told.
                    if let Err(error) = read {
                        return Err(written.err().unwrap_or(error));
                    }
                }
            }
        };
        if written.is_ok() && head.keeps && whole_body(&mut connection, &head, bytes) {
            self.kept = Some(connection);
        }
        Ok(head.answer)
    }
}

/// Reads the rest of a body whose length is said. False: the connection is of
/// no more use.
fn whole_body(connection: &mut Connection, head: &Head, mut bytes: Vec<u8>) -> bool {
    let Some(length) = head.length.filter(|length| *length <= BODY_BYTES_MAX) else { return false };
    while bytes.len() < head.bytes + length {
        if more(connection, &mut bytes).is_err() {
            return false;
        }
    }
    bytes.len() == head.bytes + length
}

fn more(connection: &mut Connection, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut piece = [0; 4_096];
    let count = connection.read(&mut piece)?;
    if count == 0 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "it closed without a whole answer",
        ));
    }
    bytes.extend_from_slice(&piece[..count]);
    Ok(())
}

/// The head of an answer, if it is whole.
fn head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(invalid("its answer's head is too large")),
        Err(error) => return Err(invalid(&format!("its answer is not HTTP: {error}"))),
    };
    let status = response.code.unwrap_or_default();
    let mut keeps = response.version == Some(1);
    // An answer of 204 has no body (RFC 9112 §6.3).
    let mut body = (status == 204).then_some(0);
    for field in response.headers.iter() {
        let value = std::str::from_utf8(field.value).unwrap_or_default().trim();
        if field.name.eq_ignore_ascii_case("content-length") {
            body = value.parse().ok();
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            keeps = false;
        } else if field.name.eq_ignore_ascii_case("connection") {
            keeps &= !value.eq_ignore_ascii_case("close");
        }
    }
    let reason: String = response.reason.unwrap_or_default().chars().take(SAID_CHARS_MAX).collect();
    let said = format!("{status} {}", reason.escape_debug()).trim_end().to_owned();
    Ok(Some(Head { answer: Answer { status, said }, bytes: length, length: body, keeps }))
}

#[cfg(test)]
mod tests;
