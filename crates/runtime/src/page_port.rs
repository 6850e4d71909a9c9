//! The page's port: where a browser on this machine, or at the end of a tunnel,
//! finds the web page. Blocking threads, bounded in number.
//!
//! Listens where the policy in force says, and follows it when that changes.
//! Invariants: never on an address that others reach; nothing asked here
//! changes anything.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::control_socket::{Door, Handler, Peer, converse};
use crate::http::{self, HttpResponse};

/// Connections served at once; more are answered 503. A browser holds up to six
/// for one page.
pub const CONNECTIONS_MAX: usize = 48;
/// How often the policy is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Where the policy in force wants the page, if anywhere.
pub type Wanted = Box<dyn Fn() -> Option<SocketAddr> + Send>;

/// Who hears of a place where nothing can listen, in a sentence.
pub type Complain = Box<dyn Fn(&str) + Send>;

/// The port. Dropping it ends it.
#[derive(Debug)]
pub struct PagePort {
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl PagePort {
    /// Listens where `wanted` says, now and whenever it says otherwise.
    ///
    /// # Errors
    /// Nothing can listen there now, with the address in the text.
    pub fn start(wanted: Wanted, handler: Handler, complain: Complain) -> io::Result<Self> {
        let first = wanted();
        let listener = first.map(listen).transpose()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        let mut port = Port { at: first, listener, served: Arc::default(), handler };
        let thread = std::thread::Builder::new().name("page".into()).spawn(move || {
            while !stop.load(Ordering::Acquire) {
                if let Err(error) = port.follow(wanted()) {
                    complain(&format!("the page: {error}; tried again"));
                }
                port.serve_one();
            }
        })?;
        Ok(Self { stopping, thread: Some(thread) })
    }
}

impl Drop for PagePort {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Port {
    /// Where it was wanted last; without a listener that did not work.
    at: Option<SocketAddr>,
    listener: Option<TcpListener>,
    served: Arc<AtomicUsize>,
    handler: Handler,
}

impl Port {
    /// Moves to where it is wanted now. What cannot be done is said once.
    fn follow(&mut self, wanted: Option<SocketAddr>) -> io::Result<()> {
        if wanted == self.at {
            // Somebody else may have had the port meanwhile.
            if let (Some(address), None) = (wanted, &self.listener) {
                self.listener = listen(address).ok();
            }
            return Ok(());
        }
        self.at = wanted;
        self.listener = None;
        self.listener = wanted.map(listen).transpose()?;
        Ok(())
    }

    /// Serves a client if one comes within [`LOOK_EVERY`].
    fn serve_one(&self) {
        let Some(listener) = &self.listener else { return std::thread::sleep(LOOK_EVERY) };
        let mut ready = [PollFd::new(listener, PollFlags::IN)];
        let time = Timespec { tv_sec: 0, tv_nsec: LOOK_EVERY.subsec_nanos().into() };
        if !matches!(poll(&mut ready, Some(&time)), Ok(count) if count > 0) {
            return;
        }
        let Ok((stream, _)) = listener.accept() else {
            // Gone again, or out of descriptors: do not spin on it.
            return std::thread::sleep(Duration::from_millis(50));
        };
        let _ = stream.set_nonblocking(false);
        self.serve(stream);
    }

    fn serve(&self, mut stream: TcpStream) {
        if self.served.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
            self.served.fetch_sub(1, Ordering::AcqRel);
            let busy = HttpResponse::error(503, "too many connections to the page");
            let _ = http::write(&mut stream, &busy, false);
            return;
        }
        let (handler, count) = (self.handler.clone(), self.served.clone());
        // Nobody is known by a port; nothing here is done in anybody's name.
        let peer = Peer { pid: 0, uid: u32::MAX };
        let spawned = std::thread::Builder::new().name("page-peer".into()).spawn(move || {
            let _ = stream.set_nodelay(true);
            converse(&mut stream, Door::Page, peer, &handler);
            count.fetch_sub(1, Ordering::AcqRel);
        });
        if spawned.is_err() {
            self.served.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let told = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
    if !address.ip().is_loopback() {
        return Err(told(io::Error::other("others reach this address")));
    }
    let listener = TcpListener::bind(address).map_err(told)?;
    listener.set_nonblocking(true).map_err(told)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::Mutex;

    use super::*;

    fn free() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    fn ask(address: SocketAddr, target: &str, host: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Shows: A88
    #[test]
    fn the_port_follows_the_policy_and_answers_the_page_alone() {
        let (one, other) = (free(), free());
        let wanted = Arc::new(Mutex::new(Some(one)));
        let asked = wanted.clone();
        let handler: Handler =
            Arc::new(|_, _| HttpResponse::json(200, &serde_json::json!({ "fine": true })));
        let wish = Box::new(move || *asked.lock().unwrap());
        let port = PagePort::start(wish, handler, Box::new(|_| {})).unwrap();
        let page = ask(one, "/", "localhost").unwrap();
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
        assert!(page.contains("default-src 'none'") && page.contains("nosniff"), "{page}");
        assert!(ask(one, "/v1/status", "localhost").unwrap().contains("fine"));
        assert!(ask(one, "/v1/status", "bent.example").unwrap().starts_with("HTTP/1.1 403"));
        *wanted.lock().unwrap() = Some(other);
        let begun = std::time::Instant::now();
        while ask(other, "/", "localhost").is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "it never moved");
            std::thread::yield_now();
        }
        assert!(ask(one, "/", "localhost").is_err());
        drop(port);
        assert!(ask(other, "/", "localhost").is_err());
    }

    #[test]
    fn what_others_reach_is_refused() {
        let handler: Handler = Arc::new(|_, _| HttpResponse::error(500, ""));
        let wanted = Box::new(|| Some("192.0.2.1:8025".parse().unwrap()));
        let error = PagePort::start(wanted, handler, Box::new(|_| {})).unwrap_err();
        assert!(error.to_string().contains("others reach"), "{error}");
    }
}
