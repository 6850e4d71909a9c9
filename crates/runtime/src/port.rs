//! A TCP port that speaks HTTP to whoever may connect: blocking threads, bounded
//! in number, apart from the executors. Listens where the policy in force says,
//! and follows it when that changes.
//!
//! Never decides what is answered. Invariants: so many connections at once and
//! no more; each request has one deadline.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::StartError;
use crate::http::{self, HttpRequest, HttpResponse, NoRequest, Timed};

/// Connections served at once; more are answered 503.
pub const CONNECTIONS_MAX: usize = 16;
/// How often the policy is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Nothing that is asked here brings anything along.
const BODY_BYTES_MAX: usize = 0;

/// Where the policy in force wants the port, if anywhere.
pub(crate) type Wanted = Box<dyn Fn() -> Option<SocketAddr> + Send>;
/// What answers a request.
pub(crate) type Answering = Arc<dyn Fn(&HttpRequest) -> HttpResponse + Send + Sync>;
/// Takes a complaint: the port is wanted where nothing can listen now.
pub(crate) type Complaining = Box<dyn Fn(StartError) + Send>;

/// The port. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Port {
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Port {
    /// Listens where `wanted` says, now and whenever it says otherwise; `name` is
    /// that of its threads.
    ///
    /// # Errors
    /// [`StartError::LocalListen`] when nothing can listen there now,
    /// [`StartError::LocalThread`] when no thread can be started.
    pub(crate) fn start(
        name: &'static str,
        wanted: Wanted,
        answering: Answering,
        complain: Complaining,
    ) -> Result<Self, StartError> {
        let at = wanted();
        let listener = at.map(|address| listen(address).map_err(refused(address))).transpose()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        let served = Arc::default();
        let mut listening = Listening { name, at, listener, served, answering, complain };
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            while !stop.load(Ordering::Acquire) {
                listening.follow(wanted());
                listening.serve_one();
            }
        });
        let failed = |e: io::Error| StartError::LocalThread { what: name, reason: e.to_string() };
        let thread = thread.map_err(failed)?;
        Ok(Self { stopping, thread: Some(thread) })
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Listening {
    name: &'static str,
    /// Where it was wanted last; without a listener that did not work.
    at: Option<SocketAddr>,
    listener: Option<TcpListener>,
    served: Arc<AtomicUsize>,
    answering: Answering,
    complain: Complaining,
}

impl Listening {
    /// Moves to where it is wanted now. What cannot be done is said once, and
    /// tried again: somebody else may have the port for a while.
    fn follow(&mut self, wanted: Option<SocketAddr>) {
        let moved = wanted != self.at;
        if moved {
            (self.at, self.listener) = (wanted, None);
        }
        let (Some(address), None) = (wanted, &self.listener) else { return };
        match listen(address) {
            Ok(listener) => self.listener = Some(listener),
            Err(error) if moved => (self.complain)(refused(address)(error)),
            Err(_) => {}
        }
    }

    /// Serves a client if one comes within [`LOOK_EVERY`].
    fn serve_one(&self) {
        let Some(listener) = &self.listener else { return std::thread::sleep(LOOK_EVERY) };
        let mut ready = [PollFd::new(listener, PollFlags::IN)];
        let time = Timespec { tv_sec: 0, tv_nsec: LOOK_EVERY.subsec_nanos().into() };
        if !matches!(poll(&mut ready, Some(&time)), Ok(count) if count > 0) {
            return;
        }
        let Ok((mut stream, _)) = listener.accept() else {
            // Gone again, or out of descriptors: do not spin on it.
            return std::thread::sleep(Duration::from_millis(50));
        };
        let _ = stream.set_nonblocking(false);
        if self.served.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
            self.served.fetch_sub(1, Ordering::AcqRel);
            let busy = HttpResponse::error(503, "too many connections to this port");
            let _ = http::write(&mut stream, &busy, false);
            return;
        }
        let (answering, count) = (self.answering.clone(), self.served.clone());
        let spawned = std::thread::Builder::new().name(self.name.into()).spawn(move || {
            converse(&mut stream, &answering);
            count.fetch_sub(1, Ordering::AcqRel);
        });
        if spawned.is_err() {
            self.served.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Answers one client until it is done.
fn converse(stream: &mut impl Timed, answering: &Answering) {
    let mut held = Vec::new();
    loop {
        match http::read(stream, &mut held, BODY_BYTES_MAX) {
            Ok(request) => {
                let response = answering(&request);
                let goes_on = http::write(stream, &response, request.keep_alive).is_ok();
                if !goes_on || !request.keep_alive {
                    return;
                }
            }
            Err(NoRequest::Bad(response)) => {
                let _ = http::write(stream, &response, false);
                return;
            }
            Err(NoRequest::End | NoRequest::Gone(_)) => return,
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn refused(address: SocketAddr) -> impl Fn(io::Error) -> StartError {
    move |error| StartError::LocalListen { address, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::Mutex;

    use super::*;

    fn ask(address: SocketAddr, request: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn free() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    /// Covers: B95
    #[test]
    fn a_port_answers_and_moves_and_ends() {
        let (first, second) = (free(), free());
        let wanted = Arc::new(Mutex::new(Some(first)));
        let says = wanted.clone();
        let answering: Answering = Arc::new(|request| {
            HttpResponse::json(200, &serde_json::json!({ "asked": request.target }))
        });
        let wants = Box::new(move || *says.lock().unwrap());
        let port = Port::start("test-port", wants, answering, Box::new(|_| {})).unwrap();
        let get = "GET /x HTTP/1.1\r\nConnection: close\r\n\r\n";
        assert!(ask(first, get).unwrap().contains(r#"{"asked":"/x"}"#));
        let post = "POST /x HTTP/1.1\r\nContent-Length: 1\r\n\r\ny";
        assert!(ask(first, post).unwrap().starts_with("HTTP/1.1 413"), "nothing is brought along");
        *wanted.lock().unwrap() = Some(second);
        while ask(second, get).is_err() {
            std::thread::yield_now();
        }
        assert!(ask(first, get).is_err());
        drop(port);
        assert!(ask(second, get).is_err());
    }

    #[test]
    fn an_address_that_is_taken_is_told() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let answering: Answering = Arc::new(|_| HttpResponse::error(404, ""));
        let refused =
            Port::start("test-port", Box::new(move || Some(address)), answering, Box::new(|_| {}));
        assert!(refused.unwrap_err().to_string().contains(&address.to_string()));
    }
}
