//! The control sockets: Unix sockets that speak HTTP and JSON. Blocking
//! threads, bounded in number, apart from the executors.
//!
//! Never decides what a request means: [`control::Request`] is parsed, handed
//! to the handler, and its answer written. Invariants: who connected is known
//! by peer credentials and told to the handler; the socket for reading takes
//! nothing that changes anything, and so does every socket from a browser,
//! which anybody's page may have sent; the page's port answers nothing but what
//! its page asks.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use control::api::{FILE_BYTES_MAX, REQUEST_BYTES_MAX};
use control::{ApiError, Request};
use eventlog::{Field, Line};

use crate::http::{self, Bodies, HttpRequest, HttpResponse, Timed};
use crate::page;

/// Connections served at once; more are answered 503.
pub const CONNECTIONS_MAX: usize = 16;

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process of this machine.
    Local {
        /// Process id when it connected; a hint.
        pid: i32,
        /// User id; reliable.
        uid: u32,
    },
    /// Somebody elsewhere, by certificate.
    Remote {
        /// Where from.
        address: IpAddr,
        /// Whom the certificate was made out to; reliable.
        certificate: Arc<str>,
    },
}

/// How much a client may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// Everything.
    All,
    /// What changes nothing.
    Reading,
    /// What the web page asks, by a client that was sent to loopback.
    Page,
    /// Everything, by a client that has proved who it is and knows who we are.
    Remote,
}

/// What answers requests.
pub type Handler = Arc<dyn Fn(Request, Peer) -> HttpResponse + Send + Sync>;

/// A listening control socket. Dropping it ends it and removes the file.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ControlSocket {
    /// Listens at `path` with file mode `mode`; a socket left over there is
    /// replaced, anything else is not. With `read_only`, requests that change
    /// something are answered 403.
    ///
    /// # Errors
    /// When the socket cannot be made, with the path in the text.
    pub fn serve(path: &Path, mode: u32, read_only: bool, handler: Handler) -> io::Result<Self> {
        let told = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        let left_over = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
        if left_over {
            fs::remove_file(path).map_err(told)?;
        }
        let listener = UnixListener::bind(path).map_err(told)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(told)?;
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        let door = if read_only { Door::Reading } else { Door::All };
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || accept(&listener, &stop, door, &handler))
            .map_err(told)?;
        Ok(Self { path: path.into(), stopping, thread: Some(thread) })
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // The accepting thread sleeps in accept; a connection wakes it.
        let woken = UnixStream::connect(&self.path).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
        let _ = fs::remove_file(&self.path);
    }
}

fn accept(listener: &UnixListener, stopping: &AtomicBool, door: Door, handler: &Handler) {
    let served = Arc::new(AtomicUsize::new(0));
    loop {
        let accepted = listener.accept();
        if stopping.load(Ordering::Acquire) {
            return;
        }
        let Ok((mut stream, _)) = accepted else {
            // Out of descriptors, most likely: do not spin on it.
            std::thread::sleep(std::time::Duration::from_millis(50));
            continue;
        };
        if served.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
            served.fetch_sub(1, Ordering::AcqRel);
            let busy = HttpResponse::error(503, "too many connections to the control socket");
            let _ = http::write(&mut stream, &busy, false);
            continue;
        }
        let (handler, count) = (handler.clone(), served.clone());
        let spawned = std::thread::Builder::new().name("control-peer".into()).spawn(move || {
            if let Some(peer) = peer_of(&stream) {
                converse(&mut stream, door, &peer, &handler);
            }
            count.fetch_sub(1, Ordering::AcqRel);
        });
        if spawned.is_err() {
            served.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

fn peer_of(stream: &UnixStream) -> Option<Peer> {
    let cred = rustix::net::sockopt::socket_peercred(stream).ok()?;
    Some(Peer::Local { pid: cred.pid.as_raw_nonzero().get(), uid: cred.uid.as_raw() })
}

impl Peer {
    /// Who acts, in the fields of the log.
    pub(crate) fn in_log(&self, line: Line) -> Line {
        match self {
            Self::Local { pid, uid } => {
                line.number(Field::Uid, *uid).number(Field::Pid, (*pid).max(0).cast_unsigned())
            }
            Self::Remote { certificate, .. } => line.text(Field::Certificate, certificate),
        }
    }
}

/// `over the control socket from uid 0`
impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local { uid, .. } => write!(f, "over the control socket from uid {uid}"),
            Self::Remote { address, certificate } => {
                write!(f, "over the control port from {address} by {certificate}")
            }
        }
    }
}

/// Answers one client until it is done.
pub(crate) fn converse(stream: &mut impl Timed, door: Door, peer: &Peer, handler: &Handler) {
    // Nothing that reads only brings much along.
    let takes_much = matches!(door, Door::All | Door::Remote);
    let body_bytes_max = if takes_much { FILE_BYTES_MAX } else { REQUEST_BYTES_MAX };
    let bodies = |method: &str, target: &str| match control::api::pieces(method, target) {
        Some(most) if takes_much => Bodies::Pieces(most),
        _ => Bodies::Whole(body_bytes_max),
    };
    http::converse(stream, bodies, |request| answer(request, door, peer, handler));
}

fn answer(request: &HttpRequest, door: Door, peer: &Peer, handler: &Handler) -> HttpResponse {
    let browser = door == Door::Page || request.from_browser;
    let is_bent = !request.host.as_deref().is_some_and(page::is_loopback_host);
    // Under a bent name our certificate is none.
    if browser && is_bent && door != Door::Remote {
        return HttpResponse::error(403, "ask for it as localhost or 127.0.0.1");
    }
    if let Some(file) = page::file(&request.target) {
        if request.method == "GET" {
            return HttpResponse::page(file);
        }
        let refused = HttpResponse::error(405, "use GET here");
        return HttpResponse { allow: Some("GET".into()), ..refused };
    }
    match Request::parse(&request.method, &request.target, &request.body) {
        Ok(parsed) if door == Door::Page && !parsed.is_for_page() => {
            HttpResponse::error(403, "the page's port answers only what the page shows")
        }
        Ok(parsed) if door == Door::Reading && !parsed.reads_only() => {
            HttpResponse::error(403, "this socket is for reading only")
        }
        Ok(parsed) if browser && !parsed.reads_only() => {
            HttpResponse::error(403, "a browser changes nothing here")
        }
        Ok(parsed) => handler(parsed, peer.clone()),
        Err(error) => refusal(&error),
    }
}

fn refusal(error: &ApiError) -> HttpResponse {
    let allow = error.allow().map(Into::into);
    HttpResponse { allow, ..HttpResponse::error(error.status(), &error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn ask(path: &Path, request: &str) -> String {
        let mut stream = UnixStream::connect(path).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn echo() -> Handler {
        Arc::new(|request, peer| {
            let said =
                serde_json::json!({ "request": format!("{request:?}"), "by": peer.to_string() });
            HttpResponse::json(200, &said)
        })
    }

    /// Covers: A13.2, B95
    #[test]
    fn requests_are_parsed_answered_and_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let socket = ControlSocket::serve(&path, 0o660, false, echo()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let close = "HTTP/1.1\r\nConnection: close\r\n\r\n";
        let good = ask(&path, &format!("GET /v1/status {close}"));
        assert!(good.starts_with("HTTP/1.1 200 OK\r\n"), "{good}");
        assert!(good.contains("Status"), "{good}");
        assert!(ask(&path, &format!("GET /v1/nothing {close}")).contains("404"));
        assert!(ask(&path, &format!("DELETE /v1/status {close}")).contains("Allow: GET"));
        drop(socket);
        assert!(!path.exists());
    }

    /// Covers: B95
    #[test]
    fn the_socket_for_reading_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("status.sock");
        let _socket = ControlSocket::serve(&path, 0o660, true, echo()).unwrap();
        let body = "{\"all\":true}";
        let request = format!(
            "POST /v1/queue/remove HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        assert!(ask(&path, &request).starts_with("HTTP/1.1 403"));
    }

    /// A page of anybody's may make a browser send requests here, by way of a
    /// tunnel for instance, under a name that was bent to point here.
    ///
    /// Covers: B95
    /// Shows: A88
    #[test]
    fn a_browser_reads_and_only_under_a_name_of_loopback() {
        let asked = |door, method: &str, target: &str, host: &str, from_browser| {
            let request = HttpRequest {
                method: method.into(),
                target: target.into(),
                body: if method == "POST" { b"{\"all\":true}".to_vec() } else { Vec::new() },
                body_bytes: 0,
                asks: false,
                keep_alive: false,
                host: Some(host.into()),
                from_browser,
            };
            answer(&request, door, &Peer::Local { pid: 1, uid: 1 }, &echo()).status
        };
        let status = "/v1/status";
        assert_eq!(asked(Door::All, "GET", status, "x", false), 200, "curl says any name");
        assert_eq!(asked(Door::All, "GET", status, "x", true), 403);
        assert_eq!(asked(Door::All, "GET", status, "localhost:8025", true), 200);
        assert_eq!(asked(Door::All, "POST", "/v1/queue/remove", "localhost:8025", true), 403);
        assert_eq!(asked(Door::All, "POST", "/v1/queue/remove", "x", false), 200);
        assert_eq!(asked(Door::Page, "GET", status, "127.0.0.1:8025", false), 200);
        assert_eq!(asked(Door::Page, "GET", status, "rebound.example:8025", false), 403);
        assert_eq!(asked(Door::Page, "GET", "/", "rebound.example", false), 403);
        assert_eq!(asked(Door::Page, "POST", "/v1/queue/remove", "127.0.0.1", false), 403);
        assert_eq!(asked(Door::Page, "GET", "/v1/credentials", "127.0.0.1", false), 403);
        assert_eq!(asked(Door::Page, "GET", "/v1/queue/0000000000001/file", "[::1]", false), 403);
        assert_eq!(asked(Door::Page, "GET", "/v1/config/diff", "[::1]", false), 403);
        assert_eq!(asked(Door::Page, "GET", "/v1/config/diff?from=1&to=2", "[::1]", false), 200);
        assert_eq!(asked(Door::Page, "GET", "/page/app.js", "[::1]:8025", false), 200);
        assert_eq!(asked(Door::Page, "HEAD", "/page/app.js", "[::1]:8025", false), 405);
        assert_eq!(asked(Door::Remote, "GET", status, "mx.example:8026", true), 200);
        assert_eq!(asked(Door::Remote, "POST", "/v1/queue/remove", "mx.example", true), 403);
        assert_eq!(asked(Door::Remote, "POST", "/v1/queue/remove", "mx.example", false), 200);
    }

    /// Covers: B95
    #[test]
    fn a_stale_socket_is_replaced_and_a_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        drop(UnixListener::bind(&path).unwrap());
        let socket = ControlSocket::serve(&path, 0o660, false, echo()).unwrap();
        drop(socket);
        fs::write(&path, "precious").unwrap();
        assert!(ControlSocket::serve(&path, 0o660, false, echo()).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        // Nor is anything made where a link leads that somebody put there.
        let elsewhere = folder.path().join("elsewhere");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(ControlSocket::serve(&path, 0o660, false, echo()).is_err());
        assert!(!elsewhere.exists() && path.is_symlink());
    }
}
