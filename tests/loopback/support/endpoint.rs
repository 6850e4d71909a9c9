//! A web server for webhooks: it takes batches as it is told to, keeps what it
//! was sent, and counts as a careful receiver does, who knows a batch by its key
//! and takes none twice.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::process::run;

/// What it does with a request that it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// 200.
    Takes,
    /// 500.
    Fails,
    /// Nothing at all, until the other side gives up.
    Stalls,
    /// Takes it, begins to say so, and dies.
    DiesAnswering,
}

/// A request that was read whole.
#[derive(Clone, Debug)]
pub struct Posted {
    /// What was done with it.
    pub manner: Manner,
    /// Its head.
    pub head: String,
    /// Its body.
    pub body: String,
}

/// Makes a certificate for `localhost` that vouches for itself, and its key.
pub fn self_signed(certificate: &Path, key: &Path) {
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ]);
    openssl.args(["-days", "2", "-subj", "/CN=localhost"]);
    openssl.args(["-addext", "subjectAltName=DNS:localhost"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.arg("-out").arg(certificate).arg("-keyout").arg(key);
    run(&mut openssl, "openssl");
}

/// The server; it listens until it is closed.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

#[derive(Debug)]
struct Shared {
    manner: Mutex<Manner>,
    posted: Mutex<Vec<Posted>>,
}

impl Endpoint {
    /// A server that takes everything.
    pub fn start() -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, super::config::free_port()));
        let shared = Shared { manner: Mutex::new(Manner::Takes), posted: Mutex::default() };
        let mut endpoint = Self { address, shared: Arc::new(shared), listening: None };
        endpoint.open();
        endpoint
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}/events?from=ringpost", self.address)
    }

    /// What it does from now on.
    pub fn does(&self, manner: Manner) {
        *self.shared.manner.lock().expect("no thread of it panics") = manner;
    }

    /// Nobody listens any more: connections are refused.
    pub fn close(&mut self) {
        if let Some((over, thread)) = self.listening.take() {
            over.store(true, Ordering::Release);
            // It sleeps in accept.
            let _ = TcpStream::connect(self.address);
            thread.join().expect("the server's thread ends");
        }
    }

    /// It listens again.
    pub fn open(&mut self) {
        let listener = TcpListener::bind(self.address).expect("the port is its own");
        let (over, shared) = (Arc::new(AtomicBool::new(false)), self.shared.clone());
        let ends = over.clone();
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if ends.load(Ordering::Acquire) {
                    return;
                }
                let (shared, ends) = (shared.clone(), ends.clone());
                std::thread::spawn(move || serve(stream, &shared, &ends));
            }
        });
        self.listening = Some((over, thread));
    }

    /// Every request so far.
    pub fn posted(&self) -> Vec<Posted> {
        self.shared.posted.lock().expect("no thread of it panics").clone()
    }

    /// The lines of all batches that it has taken, each batch once.
    pub fn taken(&self) -> Vec<String> {
        let (mut seen, mut lines) = (BTreeSet::new(), Vec::new());
        for one in self.posted() {
            let takes = matches!(one.manner, Manner::Takes | Manner::DiesAnswering);
            if takes && seen.insert(one.field("Idempotency-Key").to_owned()) {
                lines.extend(one.lines());
            }
        }
        lines
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.close();
    }
}

impl Posted {
    /// The value of a field of its head.
    pub fn field(&self, name: &str) -> &str {
        let found = self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        });
        found.unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }

    /// The lines in it, as they stand there.
    pub fn lines(&self) -> Vec<String> {
        let inner = self.body.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let inner = inner.unwrap_or_else(|| panic!("no array: {}", self.body));
        inner
            .lines()
            .filter(|line| !line.is_empty())
            .map(|line| line.trim_end_matches(',').into())
            .collect()
    }
}

fn serve(mut stream: TcpStream, shared: &Shared, over: &AtomicBool) {
    let mut held = Vec::new();
    while let Some((head, body)) = request(&mut stream, &mut held) {
        if over.load(Ordering::Acquire) {
            return;
        }
        let manner = *shared.manner.lock().expect("no thread of it panics");
        shared.posted.lock().expect("no thread of it panics").push(Posted { manner, head, body });
        let said = match manner {
            Manner::Takes => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            Manner::Fails => "HTTP/1.1 500 Not today\r\nContent-Length: 0\r\n\r\n",
            Manner::Stalls => {
                let _ = stream.read(&mut [0]);
                return;
            }
            Manner::DiesAnswering => "HTTP/1.1 200 OK\r\nContent-Le",
        };
        let written = stream.write_all(said.as_bytes());
        if manner == Manner::DiesAnswering || written.is_err() {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
    }
}

/// A whole request; none when the connection ends.
fn request(stream: &mut TcpStream, held: &mut Vec<u8>) -> Option<(String, String)> {
    loop {
        let text = String::from_utf8_lossy(held);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            let length: usize = length.expect("a length").parse().expect("a number");
            if body.len() >= length {
                let (head, body) = (head.to_owned(), body[..length].to_owned());
                held.drain(..head.len() + 4 + length);
                return Some((head, body));
            }
        }
        let mut piece = vec![0; 64 << 10];
        let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        held.extend_from_slice(&piece[..count]);
    }
}
