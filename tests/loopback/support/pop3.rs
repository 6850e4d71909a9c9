//! A Dovecot of a story's own that serves POP3 on loopback: plain with STLS at
//! one port, TLS from the first byte at another, one user.
//!
//! Never touches the machine's Dovecot.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;

use super::config::free_port;
use super::process::{Process, Scratch, guarded, installed};
use super::wait::{PATIENCE, until};

/// A running POP3 server.
#[derive(Debug)]
pub struct Pop3 {
    plain: SocketAddr,
    in_tls: SocketAddr,
    scratch: Scratch,
    _process: Process,
}

impl Pop3 {
    /// Serves `tim` with `password`, and proves itself by this certificate.
    pub fn start(password: &str, certificate: &Path, key: &Path) -> Self {
        let program = installed("dovecot", "dovecot-pop3d");
        assert!(rustix::process::geteuid().is_root(), "Dovecot can be started by root only");
        let scratch = Scratch::new();
        let address = || SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let (plain, in_tls) = (address(), address());
        scratch.open_folder("mail");
        scratch.write(
            "users",
            &format!("tim:{{PLAIN}}{password}:65534:65534::{}/mail\n", scratch.path().display()),
        );
        let settings = SETTINGS
            .replace("FOLDER", &scratch.path().display().to_string())
            .replace("CERTIFICATE", &certificate.display().to_string())
            .replace("KEY", &key.display().to_string())
            .replace("PLAIN_PORT", &plain.port().to_string())
            .replace("TLS_PORT", &in_tls.port().to_string());
        let file = scratch.write("dovecot.conf", &settings);
        let mut command = guarded(program);
        command.arg("-F").arg("-c").arg(file);
        let mut process = Process::start("dovecot", scratch.path(), &mut command);
        until("the POP3 server to listen", PATIENCE, || {
            let ended = process.ended();
            assert!(ended.is_none(), "dovecot: {ended:?}: {}", process.complained());
            let both = [plain, in_tls].map(|address| TcpStream::connect(address).is_ok());
            (both == [true, true]).then_some(())
        });
        Self { plain, in_tls, scratch, _process: process }
    }

    /// Where it offers STLS.
    pub fn plain(&self) -> SocketAddr {
        self.plain
    }

    /// Where it speaks TLS from the first byte.
    pub fn in_tls(&self) -> SocketAddr {
        self.in_tls
    }

    /// How often somebody logged in.
    pub fn log_ins(&self) -> usize {
        let log = fs::read_to_string(self.scratch.join("log")).unwrap_or_default();
        log.matches("pop3-login: Info: Login: user=<tim>").count()
    }
}

const SETTINGS: &str = "\
protocols = pop3
listen = 127.0.0.1
base_dir = FOLDER/run
state_dir = FOLDER/state
log_path = FOLDER/log
ssl = yes
ssl_cert = <CERTIFICATE
ssl_key = <KEY
disable_plaintext_auth = yes
mail_location = maildir:~/Maildir
passdb {
  driver = passwd-file
  args = FOLDER/users
}
userdb {
  driver = passwd-file
  args = FOLDER/users
}
service pop3-login {
  chroot =
  inet_listener pop3 {
    port = PLAIN_PORT
  }
  inet_listener pop3s {
    port = TLS_PORT
    ssl = yes
  }
}
service anvil {
  chroot =
}
";
