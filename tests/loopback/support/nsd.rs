//! NSD, an authoritative name server, with zones of a story's own.
//!
//! A zone that it should have from a primary server that is not there is
//! answered with SERVFAIL; an answer too long for a datagram is cut short.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use super::config::free_port;
use super::process::{Process, Scratch, guarded, installed};
use super::wait::{PATIENCE, until};

/// A running server.
#[derive(Debug)]
pub struct Nsd {
    address: SocketAddr,
    _process: Process,
    _scratch: Scratch,
}

const HEAD: &str =
    "$TTL 300\n@ IN SOA ns hostmaster 1 60 60 60 60\n  IN NS ns\nns IN A 127.0.0.1\n";

impl Nsd {
    /// Serves each of `zones` (its name, its records in master file form), and
    /// SERVFAIL for each of `broken`.
    pub fn start(zones: &[(&str, &str)], broken: &[&str]) -> Self {
        let program = installed("nsd", "nsd");
        let scratch = Scratch::new();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let (folder, port) = (scratch.path().display(), address.port());
        let mut config = format!(
            "server:\n ip-address: 127.0.0.1@{port}\n username: \"\"\n chroot: \"\"\n\
             \x20zonesdir: \"{folder}\"\n pidfile: \"{folder}/nsd.pid\"\n database: \"\"\n\
             \x20xfrdfile: \"{folder}/xfrd.state\"\n xfrdir: \"{folder}\"\n\
             \x20zonelistfile: \"{folder}/zone.list\"\n server-count: 1\n rrl-ratelimit: 0\n\
             remote-control:\n control-enable: no\n"
        );
        for (name, records) in zones {
            let file = scratch.write(&format!("{name}.zone"), &format!("{HEAD}{records}\n"));
            writeln!(config, "zone:\n name: \"{name}\"\n zonefile: \"{}\"", file.display())
                .expect("a String takes everything");
        }
        let nobody = free_port();
        for name in broken {
            writeln!(config, "zone:\n name: \"{name}\"\n request-xfr: 127.0.0.1@{nobody} NOKEY")
                .expect("a String takes everything");
        }
        let config = scratch.write("nsd.conf", &config);
        let mut command = guarded(program);
        command.arg("-d").arg("-c").arg(config);
        let process = Process::start("nsd", scratch.path(), &mut command).ended_kindly();
        let nsd = Self { address, _process: process, _scratch: scratch };
        for (name, _) in zones {
            until(&format!("{name} to be served"), PATIENCE, || {
                nsd.dig(&[name, "SOA"]).contains("hostmaster").then_some(())
            });
        }
        nsd
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What dig, another program's resolver, makes of a question.
    pub fn dig(&self, question: &[&str]) -> String {
        let mut dig = Command::new(installed("dig", "bind9-dnsutils"));
        dig.args(["+tries=1", "+time=2", "@127.0.0.1", "-p", &self.address.port().to_string()]);
        let output = dig.args(question).output().expect("an installed program can be run");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
