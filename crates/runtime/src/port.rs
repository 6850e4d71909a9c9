//! TCP ports that speak HTTP to whoever may connect: blocking threads, bounded
//! in number, apart from the executors. They listen where the policy in force
//! says, and follow it when that changes. An address that the machine does not
//! have is waited for.
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
pub(crate) type Wanted = Box<dyn Fn() -> Vec<SocketAddr> + Send>;
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
    /// What those are told; empty: nothing, as what is said would be garbage.
    pub(crate) busy: &'static str,
    /// It listens nowhere but on loopback.
    pub(crate) is_private: bool,
    /// An address that cannot be had at the start is waited for, whatever the
    /// reason.
    pub(crate) waits: bool,
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
    /// [`StartError::LocalListen`] when nothing can listen there now, unless the
    /// service waits or only the machine lacks the address;
    /// [`StartError::LocalThread`] when no thread can be started.
    pub(crate) fn start(
        service: Service,
        wanted: Wanted,
        complain: Complaining,
    ) -> Result<Self, StartError> {
        let name = service.name;
        let mut doors = Vec::new();
        for address in wanted() {
            let listener = match service.listen(address) {
                Ok(listener) => Some(listener),
                Err(error) if service.waits || error.kind() == io::ErrorKind::AddrNotAvailable => {
                    complain(refused(address)(error));
                    None
                }
                Err(error) => return Err(refused(address)(error)),
            };
            doors.push(Door { address, listener });
        }
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        let served = Arc::default();
        let mut listening = Listening { service, doors, served, complain };
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            while !stop.load(Ordering::Acquire) {
                listening.follow(wanted());
                listening.serve_some();
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

/// Where it was wanted last; without a listener that did not work.
struct Door {
    address: SocketAddr,
    listener: Option<TcpListener>,
}

struct Listening {
    service: Service,
    doors: Vec<Door>,
    served: Arc<AtomicUsize>,
    complain: Complaining,
}

impl Listening {
    /// Moves to where it is wanted now. What cannot be done is said once, and
    /// tried again: somebody else may have the port for a while.
    fn follow(&mut self, wanted: Vec<SocketAddr>) {
        self.doors.retain(|door| wanted.contains(&door.address));
        for address in wanted {
            let known = self.doors.iter().position(|door| door.address == address);
            let place = known.unwrap_or_else(|| {
                self.doors.push(Door { address, listener: None });
                self.doors.len() - 1
            });
            if self.doors[place].listener.is_some() {
                continue;
            }
            match self.service.listen(address) {
                Ok(listener) => self.doors[place].listener = Some(listener),
                Err(error) if known.is_none() => (self.complain)(refused(address)(error)),
                Err(_) => {}
            }
        }
    }

    /// Serves clients, one of each address, if any come within [`LOOK_EVERY`].
    fn serve_some(&self) {
        let open: Vec<&TcpListener> =
            self.doors.iter().filter_map(|door| door.listener.as_ref()).collect();
        if open.is_empty() {
            return std::thread::sleep(LOOK_EVERY);
        }
        let mut asked: Vec<_> =
            open.iter().map(|listener| PollFd::new(*listener, PollFlags::IN)).collect();
        let time = Timespec { tv_sec: 0, tv_nsec: LOOK_EVERY.subsec_nanos().into() };
        if !matches!(poll(&mut asked, Some(&time)), Ok(count) if count > 0) {
            return;
        }
        let ready = asked.iter().map(|asked| !asked.revents().is_empty());
        open.iter().zip(ready).filter(|(_, ready)| *ready).for_each(|(open, _)| self.serve(open));
    }

    fn serve(&self, listener: &TcpListener) {
        let Ok((mut stream, _)) = listener.accept() else {
            // Gone again, or out of descriptors: do not spin on it.
            return std::thread::sleep(Duration::from_millis(50));
        };
        let Service { name, connections_max, busy, ref serving, .. } = self.service;
        let _ = stream.set_nonblocking(false);
        if self.served.fetch_add(1, Ordering::AcqRel) >= connections_max {
            self.served.fetch_sub(1, Ordering::AcqRel);
            if !busy.is_empty() {
                let _ = http::write(&mut stream, &HttpResponse::error(503, busy), false);
            }
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
        let bodies = |_: &str, _: &str| http::Bodies::Whole(0);
        let serving = Arc::new(move |mut stream| http::converse(&mut stream, bodies, answer));
        let name = "test-port";
        Service { name, connections_max: 16, busy: "", is_private: false, waits: false, serving }
    }

    /// Covers: B95
    #[test]
    fn a_port_answers_and_moves_and_ends() {
        let (first, second) = (free(), free());
        let wanted = Arc::new(Mutex::new(vec![first]));
        let says = wanted.clone();
        let service = service(|request| {
            HttpResponse::json(200, &serde_json::json!({ "asked": request.target }))
        });
        let wants = Box::new(move || says.lock().unwrap().clone());
        let port = Port::start(service, wants, Box::new(|_| {})).unwrap();
        let get = "GET /x HTTP/1.1\r\nConnection: close\r\n\r\n";
        assert!(ask(first, get).unwrap().contains(r#"{"asked":"/x"}"#));
        let post = "POST /x HTTP/1.1\r\nContent-Length: 1\r\n\r\ny";
        assert!(ask(first, post).unwrap().starts_with("HTTP/1.1 413"), "nothing is brought along");
        *wanted.lock().unwrap() = vec![first, second];
        while ask(second, get).is_err() {
            std::thread::yield_now();
        }
        assert!(ask(first, get).is_ok(), "it is at both");
        *wanted.lock().unwrap() = vec![second];
        while ask(first, get).is_ok() {
            std::thread::yield_now();
        }
        drop(port);
        assert!(ask(second, get).is_err());
    }

    #[test]
    fn an_address_that_is_taken_is_told() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let service = service(|_| HttpResponse::error(404, ""));
        let refused = Port::start(service, Box::new(move || vec![address]), Box::new(|_| {}));
        assert!(refused.unwrap_err().to_string().contains(&address.to_string()));
    }

    #[test]
    fn an_address_that_the_machine_lacks_is_told_and_waited_for() {
        let (tell, told) = std::sync::mpsc::channel();
        let complain = Box::new(move |error: StartError| tell.send(error.to_string()).unwrap());
        let service = service(|_| HttpResponse::error(404, ""));
        let lacked = "192.0.2.3:9".parse().unwrap();
        let _port = Port::start(service, Box::new(move || vec![lacked]), complain).unwrap();
        assert!(told.recv().unwrap().contains("192.0.2.3:9"));
    }

    #[test]
    fn a_service_that_waits_gets_its_address_when_it_is_free() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let waits = Service { waits: true, ..service(|_| HttpResponse::error(404, "")) };
        let (tell, told) = std::sync::mpsc::channel();
        let complain = Box::new(move |error: StartError| tell.send(error.to_string()).unwrap());
        let _port = Port::start(waits, Box::new(move || vec![address]), complain).unwrap();
        assert!(told.recv().unwrap().contains(&address.to_string()));
        drop(taken);
        while ask(address, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n").is_err() {
            std::thread::yield_now();
        }
        assert!(told.try_recv().is_err(), "told once");
    }
}
