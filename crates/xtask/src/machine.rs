//! What the tests need on the machine beyond Rust: real mail programs and a
//! real name server to talk to. Root on Debian gets them installed; anybody
//! else is told what is missing.
//!
//! Never lets a package start its service: the tests start their own, on
//! loopback and in folders of their own.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

/// What the tests talk to.
const PROGRAMS: [Program; 19] = [
    ("cc", "gcc", "builds the cryptography"),
    ("dpkg-deb", "dpkg", "packs the Debian package"),
    ("postfix", "postfix", "a real mail server to relay to"),
    ("smtp-source", "postfix", "a load source that is not ours"),
    ("saslpasswd2", "sasl2-bin libsasl2-modules", "log-ins at that mail server"),
    ("nsd", "nsd", "a real name server"),
    ("swaks", "swaks", "an SMTP client that is not ours"),
    ("Net::SSLeay", "libnet-ssleay-perl", "TLS for that client"),
    ("curl", "curl", "an SMTP and HTTP client that is not ours"),
    ("python3", "python3", "smtplib, and the reader of failure reports"),
    ("openssl", "openssl", "certificates for the mail server"),
    ("microsocks", "microsocks", "a SOCKS server to leave through"),
    ("dovecot", "dovecot-pop3d dovecot-lmtpd", "a real mail store, by POP3 and LMTP"),
    ("chromium", "chromium", "a real browser for the web page"),
    ("tmux", "tmux", "a real terminal for `ringpost top`"),
    ("rsyslogd", "rsyslog rsyslog-gnutls", "a real syslog server, with TLS"),
    ("prometheus", "prometheus", "reads the daemon's numbers, and checks the rules"),
    ("dig", "bind9-dnsutils", "asks the name server before the tests do"),
    ("ip", "iproute2", "gives addresses to a network of the daemon's own"),
];

/// Says to Debian's packages which of their services may start.
const POLICY: &str = "/usr/sbin/policy-rc.d";
const NOTHING_STARTS: &str =
    "#!/bin/sh\n# Written by `cargo xtask`: no service starts.\nexit 101\n";

/// A program or a module of Perl, the Debian packages it takes, and what it is
/// needed for.
pub type Program = (&'static str, &'static str, &'static str);

/// Installs what the tests need and is missing, or says what it is.
pub fn prepare() {
    provide(&PROGRAMS, "tests that talk to them will fail");
}

/// Installs those of `programs` that are missing; where it cannot, says which
/// they are and what follows from that.
pub fn provide(programs: &[Program], else_: &str) {
    let missing: Vec<_> = programs.iter().filter(|(program, _, _)| !is_there(program)).collect();
    if missing.is_empty() {
        return;
    }
    let mut packages: Vec<&str> =
        missing.iter().flat_map(|(_, names, _)| names.split(" ")).collect();
    packages.dedup();
    if is_root() && is_there("apt-get") {
        println!("installing {}", packages.join(" "));
        match install(&packages) {
            Ok(()) => return,
            Err(error) => println!("apt-get: {error}"),
        }
    }
    println!("These programs are missing; {else_}:");
    for (program, package, purpose) in missing {
        println!("  {program:<12} {purpose} (Debian: {package})");
    }
}

fn is_there(program: &str) -> bool {
    if program.contains("::") {
        let mut perl = Command::new("perl");
        let tried = perl.arg(format!("-M{program}")).args(["-e", "1"]).stderr(Stdio::null());
        return tried.status().is_ok_and(|status| status.success());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let administrators = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(Into::into);
    std::env::split_paths(&path).chain(administrators).any(|folder| folder.join(program).exists())
}

fn is_root() -> bool {
    // The owner of this process's own folder in /proc is its effective user.
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

fn install(packages: &[&str]) -> io::Result<()> {
    let _quiet = NothingStarts::new()?;
    if packages.contains(&"postfix") {
        preseed()?;
    }
    apt_get(&["update"])?;
    let mut words = vec!["install", "--yes", "--no-install-recommends"];
    words.extend_from_slice(packages);
    apt_get(&words)
}

/// Answers the question that postfix would ask: leave it without a
/// configuration of its own.
fn preseed() -> io::Result<()> {
    let mut child = Command::new("debconf-set-selections").stdin(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(b"postfix postfix/main_mailer_type select No configuration\n")?;
    }
    succeeded(child.wait()?)
}

fn apt_get(words: &[&str]) -> io::Result<()> {
    let status = Command::new("apt-get")
        .args(["-q", "-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=120"])
        .args(words)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .status()?;
    succeeded(status)
}

fn succeeded(status: std::process::ExitStatus) -> io::Result<()> {
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("ended with {status}"))) }
}

/// While it lives no package starts a service. A policy that was there before
/// stays, whatever it says.
struct NothingStarts {
    ours: bool,
}

impl NothingStarts {
    fn new() -> io::Result<Self> {
        let ours = !Path::new(POLICY).exists();
        if ours {
            fs::write(POLICY, NOTHING_STARTS)?;
            fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { ours })
    }
}

impl Drop for NothingStarts {
    fn drop(&mut self) {
        if self.ours && fs::remove_file(POLICY).is_err() {
            println!("{POLICY} could not be removed: no service will start on this machine");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_modules_are_there_or_not() {
        for (name, is) in [("sh", true), ("no-such-program", false), ("No::Such::Module", false)] {
            assert_eq!(is_there(name), is, "{name}");
        }
        // Whoever runs this without Perl has no modules of it.
        assert_eq!(is_there("File::Spec"), is_there("perl"));
    }
}
