//! Postfix under load, from the machine's own package: settings, queue and
//! listener of its own, as it comes or set up for speed, durable both times.
//!
//! Never touches the machine's Postfix. It knows its name server only by
//! /etc/resolv.conf, so for delivery by MX it runs where that file is another
//! one: in a mount namespace of its own. Needs root.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use super::{Place, Running, Server, until_greeted, write};
use crate::bench::child::{Child, call};
use crate::bench::plan::Way;
use crate::bench::usage;

const MASTER: &str = "/usr/lib/postfix/sbin/master";
const POSTFIX: &str = "/usr/sbin/postfix";

/// How to talk to it.
#[derive(Debug)]
pub(super) struct Postfix {
    config: PathBuf,
}

/// Starts it on `place`, and on what its folder holds from before.
pub(super) fn start(place: &Place<'_>, tuned: bool, held: bool) -> Result<Server, String> {
    if !Path::new(MASTER).exists() {
        return Err("Postfix is not here: install Debian's package `postfix`".to_owned());
    }
    if !rustix::process::geteuid().is_root() {
        return Err("Postfix can be started by root only".to_owned());
    }
    if place.plan.way == Way::Mx && place.dns.port() != 53 {
        return Err("Postfix asks port 53 only, and that was not free".to_owned());
    }
    let config = place.folder.join("config");
    for name in ["config", "queue", "state", "log"] {
        fs::create_dir_all(place.folder.join(name)).map_err(|error| error.to_string())?;
    }
    let configuration = main_cf(place, tuned, held);
    write(&config.join("main.cf"), &configuration)?;
    write(&config.join("master.cf"), &master_cf(place.listen))?;
    let resolver = place.folder.join("resolv.conf");
    write(&resolver, &format!("nameserver {}\noptions timeout:2\n", place.dns.ip()))?;
    let state = place.folder.join("state").display().to_string();
    call(Path::new("/bin/chown"), &["postfix", &state])?;
    let words = config.display().to_string();
    // `postfix check` makes the folders of the queue.
    call(Path::new(POSTFIX), &["-c", &words, "check"])?;
    // Postfix changes who it is, and loses with that the guard that ends it
    // with this process. So the shell, which keeps it, begins a room of
    // processes, and ends the whole room with itself.
    let script = format!(
        "mount --bind {} /etc/resolv.conf && {{ {MASTER} -c {words} -s & wait; }}",
        resolver.display()
    );
    let room = ["--mount", "--pid", "--fork", "--kill-child"];
    let shell = ["--", "/bin/sh", "-c", &script];
    let arguments: Vec<String> = room.into_iter().chain(shell).map(str::to_owned).collect();
    let environment = [("MAIL_CONFIG".to_owned(), words)];
    let unshare = Path::new("/usr/bin/unshare");
    let mut child = Child::start("postfix", unshare, &arguments, &environment, &place.folder)?;
    until_greeted(place.listen, &mut child)?;
    let kind = Running::Postfix(Postfix { config });
    Ok(Server { configuration, child, stop: Signal::TERM, kind })
}

impl Postfix {
    /// Asks Postfix below `guard` to end; the guard ends with it.
    pub(super) fn stop(guard: u32) {
        let is_master = |pid: &u32| {
            fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == Path::new(MASTER))
        };
        let master = usage::tree(guard).into_iter().find(is_master);
        if let Some(pid) = master.and_then(|pid| Pid::from_raw(pid as i32)) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    pub(super) fn release(&self) -> Result<(), String> {
        let config = self.config.display().to_string();
        call(Path::new("/usr/sbin/postconf"), &["-c", &config, "-e", "defer_transports="])?;
        call(Path::new(POSTFIX), &["-c", &config, "reload"])?;
        call(Path::new("/usr/sbin/postqueue"), &["-c", &config, "-f"]).map(|_| ())
    }
}

fn main_cf(place: &Place<'_>, tuned: bool, held: bool) -> String {
    let folder = place.folder.display().to_string();
    let mut text = MAIN_CF.replace("FOLDER", &folder) + MAIN;
    match place.plan.way {
        Way::Relay => {
            text += &format!("relayhost = [{}]:{}\n", place.relay.ip(), place.relay.port());
        }
        Way::Mx => text += &format!("smtp_tcp_port = {}\n", place.port),
    }
    match &place.certificate {
        Some((certificate, key)) => {
            text += &format!(
                "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}\n\
                 smtp_tls_security_level = may\n",
                certificate.display(),
                key.display()
            );
        }
        None => text += "smtpd_tls_security_level = none\nsmtp_tls_security_level = none\n",
    }
    if tuned {
        text += TUNED;
    }
    if held {
        text += "defer_transports = smtp relay\n";
    }
    text += &place.plan.postfix;
    text
}

/// The part of a `main.cf` that keeps Postfix to a folder of its own, for which
/// `FOLDER` stands: it listens on 127.0.0.1 and passes all mail on.
pub const MAIN_CF: &str = "compatibility_level = 3.6
queue_directory = FOLDER/queue
data_directory = FOLDER/state
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = FOLDER/log/maillog
maillog_file_prefixes = FOLDER
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
smtpd_client_connection_count_limit = 0
";

/// What load tests set beside it.
const MAIN: &str = "myhostname = bench.postfix.example
message_size_limit = 52428800
smtp_host_lookup = dns
";

/// What those who run it for much mail set; nothing of it gives up a sync.
const TUNED: &str = "default_process_limit = 400
initial_destination_concurrency = 20
default_destination_concurrency_limit = 100
smtp_destination_concurrency_limit = 100
default_destination_rate_delay = 0s
smtp_connection_cache_on_demand = yes
smtp_connection_cache_time_limit = 10s
smtp_connection_reuse_count_limit = 1000
in_flow_delay = 0s
max_use = 10000
qmgr_message_active_limit = 100000
qmgr_message_recipient_limit = 200000
smtpd_peername_lookup = no
smtpd_recipient_limit = 1000
smtpd_client_connection_rate_limit = 0
smtpd_client_event_limit_exceptions = 127.0.0.0/8
enable_long_queue_ids = yes
hash_queue_names = deferred, defer, active, incoming
minimal_backoff_time = 5s
maximal_backoff_time = 60s
queue_run_delay = 5s
";

/// The text of a `master.cf`: services as Postfix comes, not chrooted, and one
/// listener.
pub fn master_cf(listen: SocketAddr) -> String {
    let mut text = format!("{listen} inet n - n - - smtpd\n");
    for service in [
        "pickup unix n - n 60 1 pickup",
        "cleanup unix n - n - 0 cleanup",
        "qmgr unix n - n 300 1 qmgr",
        "tlsmgr unix - - n 1000? 1 tlsmgr",
        "rewrite unix - - n - - trivial-rewrite",
        "bounce unix - - n - 0 bounce",
        "defer unix - - n - 0 bounce",
        "trace unix - - n - 0 bounce",
        "verify unix - - n - 1 verify",
        "flush unix n - n 1000? 0 flush",
        "proxymap unix - - n - - proxymap",
        "proxywrite unix - - n - 1 proxymap",
        "smtp unix - - n - - smtp",
        "relay unix - - n - - smtp",
        "showq unix n - n - - showq",
        "error unix - - n - - error",
        "retry unix - - n - - error",
        "discard unix - - n - - discard",
        "local unix - n n - - local",
        "virtual unix - n n - - virtual",
        "lmtp unix - - n - - lmtp",
        "anvil unix - - n - 1 anvil",
        "scache unix - - n - 1 scache",
        "postlog unix-dgram n - n - 1 postlogd",
    ] {
        text.push_str(service);
        text.push('\n');
    }
    text
}
