//! A Postfix of a story's own: its own folders and queue, one listener on
//! loopback, TLS with a certificate signed by itself, all mail to one Maildir.
//!
//! Never touches the machine's Postfix.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::bench::target::postfix::{MAIN_CF, master_cf};

use super::config::free_port;
use super::process::{Process, Scratch, guarded, installed, run};
use super::wait::{PATIENCE, until};

/// A running Postfix.
#[derive(Debug)]
pub struct Postfix {
    address: SocketAddr,
    scratch: Scratch,
    process: Process,
}

impl Postfix {
    /// Takes mail for `domains` into a Maildir.
    pub fn receiving(domains: &str) -> Self {
        Self::start(&receiving(domains))
    }

    /// Takes mail for `domains` from whoever shows a certificate of its own: the
    /// one it has itself, so that it needs no other to check it.
    pub fn knowing_clients(domains: &str) -> Self {
        let asking = "smtpd_tls_CAfile = FOLDER/cert.pem\nsmtpd_tls_req_ccert = yes\n\
                      smtpd_tls_security_level = encrypt\nsmtpd_tls_loglevel = 2\n";
        Self::start(&format!("{}{asking}", receiving(domains)))
    }

    /// Takes mail for `domains`, and speaks TLS from the first byte.
    pub fn in_tls(domains: &str) -> Self {
        Self::start(&format!("{}smtpd_tls_wrappermode = yes\n", receiving(domains)))
    }

    /// The key of its certificate.
    pub fn key(&self) -> PathBuf {
        self.scratch.join("key.pem")
    }

    /// Takes mail for `domains` from behind a proxy that says who comes.
    pub fn behind_proxy(domains: &str) -> Self {
        let proxied = "smtpd_upstream_proxy_protocol = haproxy\nmynetworks = 192.0.2.0/24\n";
        Self::start(&format!("{}{proxied}", receiving(domains)))
    }

    /// Takes mail for `domains` from whoever logs in by `mechanism`, the only
    /// one it offers, as one of `users` with the password `secret of USER`.
    pub fn demanding(mechanism: &str, domains: &str, users: &[&str]) -> Self {
        let (mechanism, users) = (mechanism.to_owned(), users.join(" "));
        Self::prepared(&format!("{}{AUTH}", receiving(domains)), |scratch| {
            // Where Debian's Postfix looks for it, whatever its settings say.
            fs::create_dir(scratch.join("config/sasl")).expect("the folder is our own");
            let database = scratch.join("users");
            let settings = format!(
                "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: {mechanism}\n\
                 sasldb_path: {}\n",
                database.display()
            );
            scratch.write("config/sasl/smtpd.conf", &settings);
            for user in users.split(' ') {
                let script = format!(
                    "printf 'secret of {user}' | exec saslpasswd2 -p -c -u \"$1\" -f \"$2\" {user}"
                );
                let mut shell = Command::new("sh");
                shell.args(["-c", &script, "sh", "mx.story.example"]).arg(&database);
                run(&mut shell, "sasl2-bin");
            }
            run(Command::new("chown").arg("postfix").arg(&database), "coreutils");
        })
    }

    /// The certificate that it shows, for its name and its address.
    pub fn certificate(&self) -> PathBuf {
        self.scratch.join("cert.pem")
    }

    /// Relays everything to `host`, with everything else as it comes.
    pub fn relaying(host: SocketAddr) -> Self {
        let (ip, port) = (host.ip(), host.port());
        Self::start(&format!("relayhost = [{ip}]:{port}\n"))
    }

    /// The same, in TLS or not at all, to a host whose certificate `trust`
    /// vouches for.
    pub fn relaying_in_tls(host: SocketAddr, trust: &Path) -> Self {
        let (ip, port, trust) = (host.ip(), host.port(), trust.display());
        Self::start(&format!(
            "relayhost = [{ip}]:{port}\nsmtp_tls_security_level = verify\n\
             smtp_tls_verify_cert_match = mx.story.example\nsmtp_tls_CAfile = {trust}\n\
             smtp_tls_loglevel = 1\n"
        ))
    }

    fn start(settings: &str) -> Self {
        Self::prepared(settings, |_| {})
    }

    /// Starts it once `prepare` has put what else it needs into its folder.
    fn prepared(settings: &str, prepare: impl FnOnce(&Scratch)) -> Self {
        let program = installed("postfix", "postfix");
        assert!(rustix::process::geteuid().is_root(), "Postfix can be started by root only");
        let scratch = Scratch::new();
        let folder = scratch.path().display().to_string();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        certificate(&scratch);
        scratch.open_folder("mail");
        for name in ["config", "queue", "state", "log"] {
            fs::create_dir(scratch.join(name)).expect("the folder is our own");
        }
        let chown = |name: &str| {
            run(Command::new("chown").arg("postfix").arg(scratch.join(name)), "coreutils");
        };
        chown("state");
        let main = format!("{MAIN_CF}{MAIN}{settings}").replace("FOLDER", &folder);
        scratch.write("config/main.cf", &main);
        scratch.write("config/master.cf", &master_cf(address));
        prepare(&scratch);
        let config = scratch.join("config");
        // `postfix check` makes the folders of the queue. The master is started
        // without its script, so that the process under guard is the master.
        run(Command::new(program).arg("-c").arg(&config).arg("check"), "postfix");
        let mut command = guarded("/usr/lib/postfix/sbin/master");
        command.arg("-c").arg(&config).arg("-s").env("MAIL_CONFIG", &config);
        let process = Process::start("postfix", scratch.path(), &mut command).ended_kindly();
        let mut postfix = Self { address, scratch, process };
        until("Postfix to listen", PATIENCE, || {
            let ended = postfix.process.ended();
            assert!(ended.is_none(), "Postfix ended: {ended:?}\n{}", postfix.words());
            TcpStream::connect(address).ok()
        });
        postfix
    }

    /// Where it takes mail.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// User and system time spent so far by all its processes.
    pub fn cpu(&self) -> Duration {
        let master = self.process.pid();
        let mut ticks = 0;
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let Some((head, rest)) = stat.rsplit_once(')') else { continue };
            let pid = head.split(' ').next().and_then(|pid| pid.parse::<u32>().ok());
            let fields: Vec<u64> = rest.split(' ').map(|it| it.parse().unwrap_or(0)).collect();
            // Behind the name: state, parent, …, then the times of the process
            // and, at the master, of the children that have ended.
            let own = fields[12] + fields[13];
            if pid == Some(master) {
                ticks += own + fields[14] + fields[15];
            } else if fields[2] == u64::from(master) {
                ticks += own;
            }
        }
        Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second())
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.scratch.join("log/maillog")).unwrap_or_default()
    }

    /// Mail delivered so far, each message whole.
    pub fn delivered(&self) -> Vec<String> {
        files(&self.scratch.join("mail/all/new"))
    }

    /// Number of messages delivered so far.
    pub fn count(&self) -> usize {
        fs::read_dir(self.scratch.join("mail/all/new")).map_or(0, Iterator::count)
    }

    fn words(&self) -> String {
        format!("{}\n{}\n{}", self.process.said(), self.process.complained(), self.log())
    }
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::read_to_string(entry.path()).ok()).collect()
}

/// Settings for mail to `domains`, all of it into one Maildir.
fn receiving(domains: &str) -> String {
    format!(
        "virtual_mailbox_domains = {domains}\n\
         virtual_mailbox_base = FOLDER/mail\n\
         virtual_mailbox_maps = static:all/\n\
         virtual_uid_maps = static:65534\n\
         virtual_gid_maps = static:65534\n\
         virtual_minimum_uid = 1\n"
    )
}

/// A certificate for `mx.story.example` and 127.0.0.1, signed by itself and
/// good for two days.
pub fn certificate(scratch: &Scratch) {
    certificate_for(scratch, 2);
}

/// The same, good for so many days.
pub fn certificate_for(scratch: &Scratch, days: u32) {
    let mut openssl = Command::new(installed("openssl", "openssl"));
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    openssl.args(["-nodes", "-days", &days.to_string(), "-subj", "/CN=mx.story.example"]);
    openssl.args(["-addext", "subjectAltName=DNS:mx.story.example,IP:127.0.0.1"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.arg("-keyout").arg(scratch.join("key.pem"));
    openssl.arg("-out").arg(scratch.join("cert.pem"));
    run(&mut openssl, "openssl");
}

/// What stories set beside what keeps it to its folder.
const MAIN: &str = "myhostname = mx.story.example
smtpd_tls_security_level = may
smtpd_tls_cert_file = FOLDER/cert.pem
smtpd_tls_key_file = FOLDER/key.pem
smtpd_tls_loglevel = 1
smtpd_tls_received_header = yes
";

/// Nobody but who has logged in may hand anything in, and nobody logs in
/// outside of TLS.
const AUTH: &str = "smtpd_sasl_auth_enable = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
smtpd_sasl_local_domain = mx.story.example
smtpd_sasl_security_options =
smtpd_tls_auth_only = yes
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
smtpd_relay_restrictions = permit_sasl_authenticated, reject
";
