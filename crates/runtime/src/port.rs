//! A TCP port that speaks HTTP to whoever may connect: blocking threads, bounded
//! in number, apart from the executors. Listens where the policy in force says,
//! and follows it when that changes.
//!
//! Never decides what is answered, but that it is busy. Invariants: so many connections at once and
//! no more; each request has one deadline.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::StartError;
use crate::http::{self, HttpResponse};

/// How often the policy is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Where the policy in force wants the port, if anywhere.
pub type Wanted = Box<dyn Fn() -> Option<SocketAddr> + Send>;
/// What serves a client, to its end.
pub(crate) type Serving = Arc<dyn Fn(TcpStream) + Send + Sync>;
/// Takes a complaint: the port is wanted where nothing can listen now.
pub(crate) type Complaining = Box<dyn Fn(StartError) + Send>;

/// What a port is for.
pub(crate) struct Service {
    /// The name of its threads.
    pub(crate) name: &'static str,
    /// Connections served at once; more are answered 503.
    pub(crate) connections_max: usize,
    /// What those are told.
    pub(crate) busy: &'static str,
    /// It listens nowhere but on loopback.
    pub(crate) is_private: bool,
    pub(crate) serving: Serving,
}

/// The port. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Port {
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Port {
    /// Listens where `wanted` says, now and whenever it says otherwise.
    ///
    /// # Errors
    /// [`StartError::LocalListen`] when nothing can listen there now,
    /// [`StartError::LocalThread`] when no thread can be started.
    pub(crate) fn start(
        service: Service,
        wanted: Wanted,
        complain: Complaining,
    ) -> Result<Self, StartError> {
        let (name, at) = (service.name, wanted());
        let listener = at.map(|at| service.listen(at).map_err(refused(at))).transpose()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        let served = Arc::default();
        let mut listening = Listening { service, at, listener, served, complain };
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
    service: Service,
    /// Where it was wanted last; without a listener that did not work.
    at: Option<SocketAddr>,
    listener: Option<TcpListener>,
    served: Arc<AtomicUsize>,
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
        match self.service.listen(address) {
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
        let Service { name, connections_max, busy, ref serving, .. } = self.service;
        let _ = stream.set_nonblocking(false);
        if self.served.fetch_add(1, Ordering::AcqRel) >= connections_max {
            self.served.fetch_sub(1, Ordering::AcqRel);
            let _ = http::write(&mut stream, &HttpResponse::error(503, busy), false);
            return;
        }
        let (serving, count) = (serving.clone(), self.served.clone());
        let spawned = std::thread::Builder::new().name(name.into()).spawn(move || {
            serving(stream);
            count.fetch_sub(1, Ordering::AcqRel);
        });
        if spawned.is_err() {
            self.served.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Service {
    fn listen(&self, address: SocketAddr) -> io::Result<TcpListener> {
        if self.is_private && !address.ip().is_loopback() {
            return Err(io::Error::other("others reach this address"));
        }
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }
}

fn refused(address: SocketAddr) -> impl Fn(io::Error) -> StartError {
    move |error| StartError::LocalListen { address, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::Mutex;

    use super::*;
    use crate::http::HttpRequest;

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

    fn service(answer: fn(&HttpRequest) -> HttpResponse) -> Service {
        let serving = Arc::new(move |mut stream| http::converse(&mut stream, 0, answer));
        Service { name: "test-port", connections_max: 16, busy: "", is_private: false, serving }
    }

    /// Covers: B95
    #[test]
    fn a_port_answers_and_moves_and_ends() {
        let (first, second) = (free(), free());
        let wanted = Arc::new(Mutex::new(Some(first)));
        let says = wanted.clone();
        let service = service(|request| {
            HttpResponse::json(200, &serde_json::json!({ "asked": request.target }))
        });
        let wants = Box::new(move || *says.lock().unwrap());
        let port = Port::start(service, wants, Box::new(|_| {})).unwrap();
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
        let service = service(|_| HttpResponse::error(404, ""));
        let refused = Port::start(service, Box::new(move || Some(address)), Box::new(|_| {}));
        assert!(refused.unwrap_err().to_string().contains(&address.to_string()));
    }
}
