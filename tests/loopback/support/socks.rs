//! MicroSocks, a SOCKS5 server that leaves from an address of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use super::config::free_port;
use super::process::{Process, Scratch, guarded, installed};
use super::wait::{PATIENCE, until};

/// A running server, for whoever knows the password.
#[derive(Debug)]
pub struct Socks {
    address: SocketAddr,
    _process: Process,
    _scratch: Scratch,
}

impl Socks {
    /// Serves `user` with `password`, and leaves from `from`.
    pub fn start(user: &str, password: &str, from: &str) -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())), user, password, from)
    }

    /// The same, listening at `address`.
    pub fn start_at(address: SocketAddr, user: &str, password: &str, from: &str) -> Self {
        let scratch = Scratch::new();
        let mut command = guarded(installed("microsocks", "microsocks"));
        command.args(["-i", &address.ip().to_string(), "-p", &address.port().to_string()]);
        command.args(["-u", user, "-P", password, "-b", from]);
        let mut process = Process::start("microsocks", scratch.path(), &mut command);
        until("the SOCKS server to listen", PATIENCE, || {
            let ended = process.ended();
            assert!(ended.is_none(), "microsocks: {ended:?}: {}", process.complained());
            TcpStream::connect(address).ok()
        });
        Self { address, _process: process, _scratch: scratch }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
