//! A small HTTP/1.1 server side for the control socket: one request in, one
//! response out, again on the same connection if the client wants that.
//!
//! Knows no path and no verb's meaning. Invariants: head and body are bounded;
//! each request has one deadline, however slowly its bytes come.
//!
//! Read first: RFC 9112 §3, RFC 9112 §6.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use crate::page::{CONTENT_POLICY, PageFile};

/// Bytes of a request's head.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// What browsers say and others do not. The first two are missing where a page
/// asks its own server in the clear, as one under a bent name does; the third
/// no script can leave out.
const OF_BROWSERS: [&str; 3] = ["origin", "sec-fetch-site", "accept-language"];
/// Time for a whole request to arrive, and for its answer to be taken.
pub const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

/// Time for which a reader of lines may take none.
const STALL_MAX: Duration = Duration::from_secs(60);

/// A whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path with its query.
    pub target: String,
    /// Empty, or what came with it.
    pub body: Vec<u8>,
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
    pub allow: Option<String>,
    /// A message, instead of the JSON text.
    pub file: Option<Vec<u8>>,
    /// A file of the web page, instead of the JSON text.
    pub page: Option<&'static PageFile>,
    /// What the text is, where it is not JSON.
    pub kind: Option<&'static str>,
    /// Lines as they come, instead of both.
    pub lines: Option<Lines>,
}

/// Lines of JSON that come with time: what has come, nothing where nothing has
/// for a while, `None` at the end.
pub struct Lines(pub Box<dyn FnMut() -> Option<Vec<u8>> + Send>);

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
    /// Limits the next read or write.
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
        Self { status, body, allow: None, file: None, page: None, kind: None, lines: None }
    }

    /// An answer with a file of the web page.
    pub fn page(file: &'static PageFile) -> Self {
        Self { page: Some(file), ..Self::json(200, &serde_json::Value::Null) }
    }

    /// An answer with a text of another kind.
    pub fn text(kind: &'static str, body: String) -> Self {
        Self { body, kind: Some(kind), ..Self::json(200, &serde_json::Value::Null) }
    }

    /// An answer that goes on until one of both ends it.
    pub fn lines(lines: impl FnMut() -> Option<Vec<u8>> + Send + 'static) -> Self {
        let lines = Some(Lines(Box::new(lines)));
        Self { lines, ..Self::json(200, &serde_json::Value::Null) }
    }
}

/// Reads one request with a body of at most `body_bytes_max` bytes; `held` keeps
/// what came beyond it.
///
/// # Errors
/// [`NoRequest`].
pub fn read(
    stream: &mut impl Timed,
    held: &mut Vec<u8>,
    body_bytes_max: usize,
) -> Result<HttpRequest, NoRequest> {
    let until = Instant::now() + REQUEST_TIME_MAX;
    loop {
        if let Some((request, used)) = parse(held, body_bytes_max)? {
            held.drain(..used);
            return Ok(request);
        }
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
    body_bytes_max: usize,
    answer: impl Fn(&HttpRequest) -> HttpResponse,
) {
    let mut held = Vec::new();
    loop {
        match read(stream, &mut held, body_bytes_max) {
            Ok(request) => {
                let mut response = answer(&request);
                if let Some(lines) = &mut response.lines {
                    let _ = write_lines(stream, lines);
                    return;
                }
                let goes_on = write(stream, &response, request.keep_alive).is_ok();
                if !goes_on || !request.keep_alive {
                    return;
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
    stream.write_all(body)
}

/// Writes lines as they come, in chunks, until they end or nobody
/// reads them. Where nothing comes for a while an empty line is written: a
/// reader that has gone is noticed so.
///
/// # Errors
/// What the socket gives.
pub fn write_lines(stream: &mut impl Timed, lines: &mut Lines) -> io::Result<()> {
    stream.limit(STALL_MAX)?;
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nCache-Control: no-store\r\n\
          Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
    )?;
    while let Some(piece) = (lines.0)() {
        let piece = if piece.is_empty() { b"\n" } else { &piece[..] };
        let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        stream.write_all(&chunk)?;
    }
    stream.write_all(b"0\r\n\r\n")
}

/// A request at the start of `bytes` and its length, if it is whole.
fn parse(bytes: &[u8], body_bytes_max: usize) -> Result<Option<(HttpRequest, usize)>, NoRequest> {
    let bad = |status, why: &str| NoRequest::Bad(HttpResponse::error(status, why));
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(bad(431, "the request's head is too large")),
        Err(error) => return Err(bad(400, &format!("not HTTP: {error}"))),
    };
    let mut body_bytes = 0usize;
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
        } else if header.name.eq_ignore_ascii_case("host") {
            hosts.push(value.to_string());
        }
        from_browser |= OF_BROWSERS.iter().any(|name| header.name.eq_ignore_ascii_case(name));
    }
    if body_bytes > body_bytes_max {
        return Err(bad(413, "the request's body is too large"));
    }
    let end = head + body_bytes;
    if bytes.len() < end {
        return Ok(None);
    }
    let request = HttpRequest {
        method: request.method.unwrap_or_default().to_string(),
        target: request.path.unwrap_or_default().to_string(),
        body: bytes[head..end].to_vec(),
        keep_alive,
        host: if hosts.len() == 1 { hosts.pop() } else { None },
        from_browser,
    };
    Ok(Some((request, end)))
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
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

    fn whole(text: &str) -> (HttpRequest, usize) {
        parse(text.as_bytes(), BODY_BYTES_MAX).unwrap().unwrap()
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
            assert!(parse(&text.as_bytes()[..end], BODY_BYTES_MAX).unwrap().is_none(), "{end}");
        }
    }

    /// Covers: A13.2, B95
    #[test]
    fn bounds_hold_at_the_bound() {
        let status = |bytes: &[u8]| match parse(bytes, BODY_BYTES_MAX) {
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
