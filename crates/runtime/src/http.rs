//! A small HTTP/1.1 server side for the control socket: one request in, one
//! response out, again on the same connection if the client wants that.
//!
//! Knows no path and no verb's meaning. Invariants: head and body are bounded;
//! each request has one deadline, however slowly its bytes come.
//!
//! Read first: RFC 9112 §3, RFC 9112 §6.

mod intake;

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use crate::page::{CONTENT_POLICY, PageFile};

pub use intake::{Intake, Takes};

/// Bytes of a request's head.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// What browsers say and others do not. The first two are missing where a page
/// asks its own server in the clear, as one under a bent name does; the third
/// no script can leave out.
const OF_BROWSERS: [&str; 3] = ["origin", "sec-fetch-site", "accept-language"];
/// Time for a request without a body to arrive, and for each piece of its answer
/// to be taken.
pub const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// Octets in a second that a body has to make, and a piece of an answer.
const BYTES_PER_SECOND_MIN: u64 = 16 << 10;
/// Octets of an answer that are written at a time.
const PIECE: usize = 64 << 10;

/// Time for which a reader of lines may take none.
const STALL_MAX: Duration = Duration::from_secs(60);

/// A whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path with its query.
    pub target: String,
    /// Empty, or what came with it, unless it is taken in piece by piece.
    pub body: Vec<u8>,
    /// Octets that come with it.
    pub body_bytes: u64,
    /// The client waits to hear that its body is wanted (`Expect: 100-continue`).
    pub asks: bool,
    /// The client wants another answer on this connection.
    pub keep_alive: bool,
    /// Value of the `Host` field; none where there is none, or several.
    pub host: Option<String>,
    /// A browser sent it, by what it says of itself.
    pub from_browser: bool,
}

/// An answer: JSON, a message as a file, a file of the web page, or lines
/// without end.
#[derive(Debug)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// The JSON text.
    pub body: String,
    /// Value of the `Allow` field, of a 405 (RFC 9110 §15.5.6).
    pub allow: Option<Box<str>>,
    /// A message, instead of the JSON text.
    pub file: Option<Vec<u8>>,
    /// A file of the web page, instead of the JSON text.
    pub page: Option<&'static PageFile>,
    /// What the text is, where it is not JSON.
    pub kind: Option<&'static str>,
    /// Lines as they come, instead of both.
    pub lines: Option<Lines>,
    /// What takes in the body first, and then says what is answered.
    pub intake: Option<Box<Intake>>,
    /// Nothing more is answered on this connection.
    pub is_last: bool,
}

/// How the body of a request is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    /// Into memory, up to so many octets.
    Whole(usize),
    /// Piece by piece, up to so many.
    Pieces(u64),
}

/// Lines of JSON that come with time: what has come, nothing where nothing has
/// for a while, `None` at the end; an error where they break off before it.
pub struct Lines(pub NextLines);

type NextLines = Box<dyn FnMut() -> io::Result<Option<Vec<u8>>> + Send>;

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lines")
    }
}

/// Why no request could be read.
#[derive(Debug)]
pub enum NoRequest {
    /// The client is done: nothing more came.
    End,
    /// It is not HTTP, or too large: answer this and close.
    Bad(HttpResponse),
    /// The connection broke or the time was over.
    Gone(io::Error),
}

/// A socket whose reads can be given a time limit.
pub trait Timed: Read + Write {
    /// Limits the next read or write, and perhaps all until the next call.
    ///
    /// # Errors
    /// What the socket gives.
    fn limit(&self, time: Duration) -> io::Result<()>;
}

impl Timed for std::os::unix::net::UnixStream {
    fn limit(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }
}

impl Timed for std::net::TcpStream {
    fn limit(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }
}

impl HttpResponse {
    /// An answer with `{"error": reason}`.
    pub fn error(status: u16, reason: &str) -> Self {
        Self::json(status, &serde_json::json!({ "error": reason }))
    }

    /// An answer with a JSON text.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        let body = body.to_string();
        let (allow, file, page, kind) = (None, None, None, None);
        let (lines, intake, is_last) = (None, None, false);
        Self { status, body, allow, file, page, kind, lines, intake, is_last }
    }

    /// An answer with a file of the web page.
    pub fn page(file: &'static PageFile) -> Self {
        Self { page: Some(file), ..Self::json(200, &serde_json::Value::Null) }
    }

    /// An answer with a text of another kind.
    pub fn text(kind: &'static str, body: String) -> Self {
        Self { body, kind: Some(kind), ..Self::json(200, &serde_json::Value::Null) }
    }

    /// An answer once `takes` has taken in what comes with the request.
    pub fn after(takes: impl Takes + 'static) -> Self {
        let intake = Some(Box::new(Intake(Box::new(takes))));
        Self { intake, ..Self::error(400, "this request comes with a file") }
    }

    /// An answer that goes on until one of both ends it.
    pub fn lines(lines: impl FnMut() -> io::Result<Option<Vec<u8>>> + Send + 'static) -> Self {
        let lines = Some(Lines(Box::new(lines)));
        Self { lines, ..Self::json(200, &serde_json::Value::Null) }
    }
}

/// Time for a request with a body of so many octets.
fn time_for(body_bytes: u64) -> Duration {
    REQUEST_TIME_MAX + Duration::from_secs(body_bytes / BYTES_PER_SECOND_MIN)
}

/// Reads one request; `bodies` says of a method and a target how its body is
/// read, `held` keeps what came beyond it.
///
/// # Errors
/// [`NoRequest`].
pub fn read(
    stream: &mut impl Timed,
    held: &mut Vec<u8>,
    bodies: impl Fn(&str, &str) -> Bodies,
) -> Result<HttpRequest, NoRequest> {
    let begun = Instant::now();
    loop {
        let until = match parse(held, &bodies)? {
            Parsed::Whole(request, used) => {
                held.drain(..used);
                return Ok(request);
            }
            Parsed::More(body_bytes) => begun + time_for(body_bytes),
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(NoRequest::Gone(io::ErrorKind::TimedOut.into()));
        }
        stream.limit(left).map_err(NoRequest::Gone)?;
        let mut piece = [0; 8 << 10];
        match stream.read(&mut piece) {
            Ok(0) if held.is_empty() => return Err(NoRequest::End),
            Ok(0) => return Err(NoRequest::Gone(io::ErrorKind::UnexpectedEof.into())),
            Ok(n) => held.extend_from_slice(&piece[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(NoRequest::Gone(error)),
        }
    }
}

/// Answers one client until it is done.
pub(crate) fn converse(
    stream: &mut impl Timed,
    bodies: impl Fn(&str, &str) -> Bodies,
    answer: impl Fn(&HttpRequest) -> HttpResponse,
) {
    let mut held = Vec::new();
    loop {
        match read(stream, &mut held, &bodies) {
            Ok(request) => {
                let mut response = answer(&request);
                if let Some(lines) = &mut response.lines {
                    let _ = write_lines(stream, lines);
                    return;
                }
                let mut left = request.body_bytes - request.body.len() as u64;
                if let Some(intake) = response.intake.take() {
                    let HttpRequest { body_bytes, asks, .. } = request;
                    match intake::take_in(stream, &mut held, *intake, body_bytes, asks) {
                        Ok((after, unread)) => (response, left) = (after, unread),
                        Err(_) => return,
                    }
                }
                // What was not read would be taken for the next request.
                let keep_alive = request.keep_alive && left == 0 && !response.is_last;
                if write(stream, &response, keep_alive).is_err() || !keep_alive {
                    return intake::pass_over(stream, &mut held, left);
                }
            }
            Err(NoRequest::Bad(response)) => {
                let _ = write(stream, &response, false);
                return;
            }
            Err(NoRequest::End | NoRequest::Gone(_)) => return,
        }
    }
}

/// Writes one answer.
///
/// # Errors
/// What the socket gives.
pub fn write(stream: &mut impl Timed, response: &HttpResponse, keep_alive: bool) -> io::Result<()> {
    stream.limit(REQUEST_TIME_MAX)?;
    let connection = if keep_alive { "keep-alive" } else { "close" };
    let allow =
        response.allow.as_ref().map(|verbs| format!("Allow: {verbs}\r\n")).unwrap_or_default();
    let (kind, body) = match (&response.file, response.page) {
        (Some(file), _) => ("message/rfc822", &file[..]),
        (None, Some(page)) => (page.kind, page.bytes),
        (None, None) => (response.kind.unwrap_or("application/json"), response.body.as_bytes()),
    };
    let for_browsers = match response.page {
        Some(_) => format!(
            "Cache-Control: no-cache\r\nContent-Security-Policy: {CONTENT_POLICY}\r\n\
             Referrer-Policy: no-referrer\r\n"
        ),
        None => "Cache-Control: no-store\r\n".into(),
    };
    let head = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
         X-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: same-origin\r\n\
         {for_browsers}{allow}Connection: {connection}\r\n\r\n",
        response.status,
        reason(response.status),
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    for piece in body.chunks(PIECE) {
        stream.limit(REQUEST_TIME_MAX)?;
        stream.write_all(piece)?;
    }
    Ok(())
}

/// Writes lines as they come, in chunks, until they end or nobody
/// reads them. Where nothing comes for a while an empty line is written: a
/// reader that has gone is noticed so. Lines that break off have no last chunk:
/// a reader knows by that that they are not all.
///
/// # Errors
/// What the socket gives, and why they break off.
pub fn write_lines(stream: &mut impl Timed, lines: &mut Lines) -> io::Result<()> {
    stream.limit(STALL_MAX)?;
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nCache-Control: no-store\r\n\
          Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
    )?;
    while let Some(piece) = (lines.0)()? {
        stream.limit(STALL_MAX)?;
        let piece = if piece.is_empty() { b"\n" } else { &piece[..] };
        let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        stream.write_all(&chunk)?;
    }
    stream.write_all(b"0\r\n\r\n")
}

/// What stands at the start of what was read.
#[derive(Debug)]
enum Parsed {
    /// A request and its length; of one whose body is taken in piece by piece
    /// without that.
    Whole(HttpRequest, usize),
    /// Part of one, with a body of so many octets as far as is known.
    More(u64),
}

fn parse(bytes: &[u8], bodies: impl Fn(&str, &str) -> Bodies) -> Result<Parsed, NoRequest> {
    let bad = |status, why: &str| NoRequest::Bad(HttpResponse::error(status, why));
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => {
            return Ok(Parsed::More(0));
        }
        Ok(httparse::Status::Partial) => return Err(bad(431, "the request's head is too large")),
        Err(error) => return Err(bad(400, &format!("not HTTP: {error}"))),
    };
    let mut body_bytes = 0u64;
    let mut asks = false;
    let mut keep_alive = request.version == Some(1);
    let (mut hosts, mut from_browser) = (Vec::new(), false);
    for header in request.headers.iter() {
        let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
        if header.name.eq_ignore_ascii_case("content-length") {
            body_bytes = value.parse().map_err(|_| bad(400, "bad Content-Length"))?;
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(bad(501, "send the body with Content-Length"));
        } else if header.name.eq_ignore_ascii_case("connection") {
            keep_alive = !value.eq_ignore_ascii_case("close");
        } else if header.name.eq_ignore_ascii_case("expect") {
            asks = value.eq_ignore_ascii_case("100-continue");
        } else if header.name.eq_ignore_ascii_case("host") {
            hosts.push(value.to_string());
        }
        from_browser |= OF_BROWSERS.iter().any(|name| header.name.eq_ignore_ascii_case(name));
    }
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    let (most, in_memory) = match bodies(method, target) {
        Bodies::Whole(most) => (most as u64, body_bytes),
        Bodies::Pieces(most) => (most, 0),
    };
    if body_bytes > most {
        return Err(bad(413, "the request's body is too large"));
    }
    let end = head + usize::try_from(in_memory).unwrap_or(usize::MAX - head);
    if bytes.len() < end {
        return Ok(Parsed::More(body_bytes));
    }
    let request = HttpRequest {
        method: method.to_string(),
        target: target.to_string(),
        body: bytes[head..end].to_vec(),
        body_bytes,
        asks,
        keep_alive,
        host: if hosts.len() == 1 { hosts.pop() } else { None },
        from_browser,
    };
    Ok(Parsed::Whole(request, end))
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        507 => "Insufficient Storage",
        _ => "Answer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY_BYTES_MAX: usize = 1 << 20;

    fn bodies(_: &str, target: &str) -> Bodies {
        match target {
            "/file" => Bodies::Pieces(1 << 30),
            _ => Bodies::Whole(BODY_BYTES_MAX),
        }
    }

    fn whole(text: &str) -> (HttpRequest, usize) {
        match parse(text.as_bytes(), bodies).unwrap() {
            Parsed::Whole(request, used) => (request, used),
            more => panic!("{more:?}"),
        }
    }

    /// Covers: A13.2
    #[test]
    fn a_request_is_read_with_its_body_and_no_more() {
        let text = "POST /v1/queue/hold HTTP/1.1\r\nContent-Length: 12\r\n\r\n{\"all\":true}GET /";
        let (request, used) = whole(text);
        assert_eq!(request.method, "POST");
        assert_eq!(request.body, b"{\"all\":true}");
        assert!(request.keep_alive);
        assert_eq!(&text[used..], "GET /");
        assert!(!whole("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").0.keep_alive);
        assert!(!whole("GET / HTTP/1.0\r\n\r\n").0.keep_alive);
    }

    #[test]
    fn browsers_and_the_host_they_were_sent_to_are_known() {
        let asked = |fields: &str| {
            let (request, _) = whole(&format!("GET / HTTP/1.1\r\n{fields}\r\n"));
            (request.host, request.from_browser)
        };
        assert_eq!(asked("Host: localhost:1\r\n"), (Some("localhost:1".into()), false));
        assert_eq!(asked("Sec-Fetch-Site: none\r\n"), (None, true));
        assert_eq!(asked("origin: null\r\n"), (None, true));
        let bent = "Host: bent.example\r\nAccept-Language: de\r\nUser-Agent: x\r\n";
        assert_eq!(asked(bent), (Some("bent.example".into()), true));
        let curl = "Host: x\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n";
        assert_eq!(asked(curl), (Some("x".into()), false));
        assert_eq!(asked("Host: localhost\r\nHost: a.example\r\n"), (None, false));
    }

    /// Covers: A13.2
    #[test]
    fn what_is_not_whole_is_waited_for() {
        let text = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab";
        for end in 0..text.len() {
            let parsed = parse(&text.as_bytes()[..end], bodies).unwrap();
            assert!(matches!(parsed, Parsed::More(0 | 3)), "{end}: {parsed:?}");
        }
    }

    /// Covers: A13.2, B95
    #[test]
    fn bounds_hold_at_the_bound() {
        let status = |bytes: &[u8]| match parse(bytes, bodies) {
            Err(NoRequest::Bad(response)) => response.status,
            _ => 0,
        };
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(HEAD_BYTES_MAX));
        assert_eq!(status(long.as_bytes()), 431);
        let fits = format!("POST / HTTP/1.1\r\nContent-Length: {BODY_BYTES_MAX}\r\n\r\n");
        assert_eq!(status(fits.as_bytes()), 0);
        let large = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", BODY_BYTES_MAX + 1);
        assert_eq!(status(large.as_bytes()), 413);
        assert_eq!(status(b"\x16\x03\x01 hello\r\n\r\n"), 400);
        assert_eq!(status(b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"), 400);
        assert_eq!(status(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), 501);
    }
}
