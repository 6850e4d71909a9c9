//! A Dovecot of a story's own that speaks LMTP and nothing else: its own
//! folders, a Unix socket and a port on loopback, any user at all with a
//! Maildir.
//!
//! Never touches the machine's Dovecot.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use super::config::free_port;
use super::process::{Process, Scratch, guarded, installed};
use super::wait::{PATIENCE, until};

/// A running Dovecot.
#[derive(Debug)]
pub struct Dovecot {
    address: SocketAddr,
    scratch: Scratch,
    _process: Process,
}

impl Dovecot {
    /// Keeps mail for everybody but `full`, whose quota is used up.
    pub fn start() -> Self {
        let program = installed("dovecot", "dovecot-lmtpd");
        let scratch = Scratch::new();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let folder = scratch.path().display().to_string();
        // Its processes have users of their own, which must reach all of it.
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(scratch.path(), open).expect("the folder is our own");
        scratch.write("users", USERS);
        for folder in ["mail", "homes"] {
            scratch.open_folder(folder);
        }
        let settings = SETTINGS.replace("FOLDER", &folder);
        let settings = settings.replace("PORT", &address.port().to_string());
        let file = scratch.write("dovecot.conf", &settings);
        let mut command = guarded(program);
        command.arg("-F").arg("-c").arg(file);
        let mut process = Process::start("dovecot", scratch.path(), &mut command);
        let socket = scratch.join("lmtp");
        until("dovecot to listen", PATIENCE, || {
            let ended = process.ended();
            assert!(ended.is_none(), "dovecot: {ended:?}: {}", process.complained());
            UnixStream::connect(&socket).ok()?;
            TcpStream::connect(address).ok()
        });
        Self { address, scratch, _process: process.ended_kindly() }
    }

    /// The port where it speaks LMTP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The Unix socket where it does.
    pub fn socket(&self) -> PathBuf {
        self.scratch.join("lmtp")
    }

    /// The Maildir of a user.
    pub fn maildir(&self, user: &str) -> PathBuf {
        self.scratch.join("mail").join(user)
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.scratch.join("log")).unwrap_or_default()
    }
}

const USERS: &str = "ann:::::::\nbob:::::::\nfull:::::::userdb_quota_rule=*:bytes=1\n";

const SETTINGS: &str = "\
protocols = lmtp
base_dir = FOLDER/run
state_dir = FOLDER/state
log_path = FOLDER/log
ssl = no
listen = 127.0.0.1
mail_location = maildir:FOLDER/mail/%n
mail_uid = mail
mail_gid = mail
mail_home = FOLDER/homes/%n
first_valid_uid = 1
first_valid_gid = 1
mail_plugins = quota
default_internal_user = dovecot
default_login_user = dovenull
passdb {
  driver = passwd-file
  args = username_format=%n FOLDER/users
}
userdb {
  driver = passwd-file
  args = username_format=%n FOLDER/users
}
plugin {
  quota = maildir:User quota
}
service lmtp {
  unix_listener FOLDER/lmtp {
    mode = 0666
  }
  inet_listener lmtp {
    address = 127.0.0.1
    port = PORT
  }
}
";
