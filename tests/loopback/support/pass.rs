//! A TCP port that passes everything on to another one, and remembers by what
//! names those who came through it said EHLO.
//!
//! Never looks at anything behind the first line.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// A port that passes on. Its threads end with the connections they serve.
#[derive(Debug)]
pub struct Pass {
    address: SocketAddr,
    names: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Pass {
    /// Passes on to `to`.
    ///
    /// # Panics
    /// No port is free.
    pub fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let names = Arc::new(Mutex::new(BTreeMap::new()));
        let heard = names.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let heard = heard.clone();
                std::thread::spawn(move || pass(near, to, &heard));
            }
        });
        Self { address, names }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The names said so far, each with how often.
    pub fn names(&self) -> BTreeMap<String, u64> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn pass(near: TcpStream, to: SocketAddr, names: &Mutex<BTreeMap<String, u64>>) -> io::Result<()> {
    let mut far = TcpStream::connect(to)?;
    let (mut back, mut forth) = (far.try_clone()?, near.try_clone()?);
    std::thread::spawn(move || {
        let ended = io::copy(&mut back, &mut forth);
        let _ = forth.shutdown(Shutdown::Write);
        ended
    });
    let mut near = BufReader::new(near);
    let mut first = String::new();
    near.read_line(&mut first)?;
    if let Some(name) = first.trim_end().strip_prefix("EHLO ") {
        let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
        *names.entry(name.to_owned()).or_default() += 1;
    }
    far.write_all(first.as_bytes())?;
    io::copy(&mut near, &mut far)?;
    far.shutdown(Shutdown::Write)
}
