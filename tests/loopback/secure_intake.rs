//! Mail handed in over TLS, by other people's clients: STARTTLS and TLS from the
//! first byte, what a stranger injects in the clear, a new certificate while
//! the daemon runs.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use rustix::process::Signal;

use crate::support::config::free_port;
use crate::support::postfix::{self, Postfix};
use crate::support::process::{Scratch, installed, run};
use crate::support::python::python;
use crate::support::smtp_tools::{Sinking, SmtpSink};
use crate::support::{Client, Config, Daemon, PATIENCE, submit, until};

/// A daemon with STARTTLS at its usual address and TLS from the first byte at
/// another, which is returned.
fn daemon(sink: &SmtpSink, mode: &str) -> (Daemon, SocketAddr) {
    let implicit = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let listen = format!(
        "[{{ address = \"{{}}\", tls = \"{mode}\" }}, \
         {{ address = \"{implicit}\", tls = \"implicit\" }}]"
    );
    let config = Config::relay(sink.address())
        .set("submission", "tls", "{ certificate = \"cert.pem\", key = \"key.pem\" }")
        .listening(&listen);
    let mut daemon = Daemon::prepare(config);
    postfix::certificate(daemon.scratch());
    daemon.launch();
    (daemon, implicit)
}

/// Sends one message by smtplib, the certificate checked; prints the subject
/// that it showed, and what EHLO said inside.
const SECURE_SMTPLIB: &str = r#"
import json, smtplib, ssl, sys
host, port, trust, how, sender, to = sys.argv[1:]
context = ssl.create_default_context(cafile=trust)
if how == "implicit":
    session = smtplib.SMTP_SSL(host, int(port), timeout=60, context=context)
else:
    session = smtplib.SMTP(host, int(port), timeout=60)
    session.ehlo()
    assert session.has_extn("starttls")
    session.starttls(context=context)
session.ehlo()
offers = sorted(session.esmtp_features)
serial = session.sock.getpeercert()["serialNumber"]
if to:
    session.sendmail(sender, [to], "Subject: by smtplib\r\n\r\nOne line.\r\n")
session.quit()
print(json.dumps({"offers": offers, "serial": serial, "version": "ok"}))
"#;

fn smtplib(daemon: &Daemon, to: SocketAddr, how: &str, recipient: &str) -> serde_json::Value {
    let trust = daemon.scratch().join("cert.pem").display().to_string();
    let (host, port) = (to.ip().to_string(), to.port().to_string());
    python(SECURE_SMTPLIB, &[&host, &port, &trust, how, "a@source.example", recipient], b"")
}

/// Covers: A3.6, A3.11, A5.1, A5.2
/// Shows: S2.26, A49
#[test]
fn other_peoples_clients_hand_mail_in_over_tls() {
    let sink = SmtpSink::start(Sinking::Dumping);
    let (daemon, implicit) = daemon(&sink, "opportunistic");
    for (how, to) in [("starttls", daemon.address()), ("implicit", implicit)] {
        let said = smtplib(&daemon, to, how, &format!("smtplib-{how}@d001.example"));
        let offers = said["offers"].to_string();
        assert!(offers.contains("pipelining") && !offers.contains("starttls"), "{offers}");
        let mut swaks = Command::new(installed("swaks", "swaks"));
        swaks.arg(if how == "starttls" { "--tls" } else { "--tls-on-connect" });
        swaks.args(["--from", "a@source.example", "--to", &format!("swaks-{how}@d001.example")]);
        run(
            swaks.args(["--server", &to.ip().to_string(), "--port", &to.port().to_string()]),
            "swaks",
        );
    }
    let postfix = Postfix::relaying_in_tls(daemon.address(), &daemon.scratch().join("cert.pem"));
    submit(postfix.address(), "a@source.example", &["postfix@d001.example"]);
    submit(daemon.address(), "a@source.example", &["clear@d001.example"]);
    sink.wait_for(6, PATIENCE);
    until("all in the dump", PATIENCE, || (sink.recipients().len() == 6).then_some(()));
    let text = sink.text();
    assert_eq!(text.matches("by ringpost.example (Ringpost) with ESMTPS id").count(), 5, "{text}");
    assert_eq!(text.matches("by ringpost.example (Ringpost) with ESMTP id").count(), 1);
    assert!(postfix.log().contains("Verified TLS connection established"), "{}", postfix.log());
    assert_eq!(daemon.show("/v1/status")["counters"]["clients_secured"], 5);
}

/// Covers: A5.1
/// Shows: S2.26
#[test]
fn where_tls_is_required_no_mail_is_taken_in_the_clear() {
    let sink = SmtpSink::start(Sinking::Counting);
    let (daemon, _) = daemon(&sink, "required");
    let mut client = Client::greet(daemon.address());
    client.expect("MAIL FROM:<a@source.example>", 530);
    client.expect("QUIT", 221);
    smtplib(&daemon, daemon.address(), "starttls", "b@d001.example");
    sink.wait_for(1, PATIENCE);
}

/// What a stranger in between sends ahead of the handshake, in one packet with
/// STARTTLS: prints the replies in the clear, and the first reply inside TLS.
const INJECTION: &str = r#"
import json, socket, ssl, sys
host, port, trust, ahead = sys.argv[1:]
raw = socket.create_connection((host, int(port)), timeout=60)
file = raw.makefile("rb")
def reply():
    lines = []
    while True:
        line = file.readline().decode()
        lines.append(line)
        if line[3:4] != "-":
            return "".join(lines)
reply()
raw.sendall(b"EHLO evil.example\r\n"); reply()
raw.sendall(b"STARTTLS\r\n" + ahead.replace("|", "\r\n").encode())
clear = reply()
context = ssl.create_default_context(cafile=trust)
secure = context.wrap_socket(raw, server_hostname=host)
file = secure.makefile("rb")
secure.sendall(b"NOOP\r\nMAIL FROM:<a@b.example>\r\n")
print(json.dumps({"clear": clear, "first": reply(), "second": reply()}))
"#;

/// Proves: RFC 3207 §6
/// Covers: A5.3
#[test]
fn commands_injected_in_the_clear_are_never_run_nor_answered() {
    let sink = SmtpSink::start(Sinking::Counting);
    let (daemon, _) = daemon(&sink, "opportunistic");
    let trust = daemon.scratch().join("cert.pem").display().to_string();
    let port = daemon.address().port().to_string();
    for ahead in
        ["RSET|", "EHLO evil.example|MAIL FROM:<evil@b.example>|RCPT TO:<x@y.example>|", "RSE"]
    {
        let said = python(INJECTION, &["127.0.0.1", &port, &trust, ahead], b"");
        assert!(said["clear"].as_str().expect("a reply").starts_with("220 "), "{said}");
        assert!(said["first"].as_str().expect("a reply").starts_with("250 2.0.0"), "{said}");
        // Not even that somebody said EHLO is known.
        assert!(said["second"].as_str().expect("a reply").starts_with("503 "), "{said}");
    }
}

/// Covers: B35
/// Shows: S0.10
#[test]
fn a_new_certificate_takes_effect_on_a_signal_and_a_broken_one_does_not() {
    let sink = SmtpSink::start(Sinking::Counting);
    let (daemon, implicit) = daemon(&sink, "opportunistic");
    let first = smtplib(&daemon, implicit, "implicit", "")["serial"].clone();
    // A key of its own, beside a certificate of another.
    let other = Scratch::new();
    postfix::certificate(&other);
    let key = std::fs::read_to_string(daemon.scratch().join("key.pem")).expect("the old key");
    let new_key = std::fs::read_to_string(other.join("key.pem")).expect("the new key");
    let new = std::fs::read_to_string(other.join("cert.pem")).expect("the new certificate");
    daemon.scratch().write("key.pem", &new_key);
    daemon.process().signal(Signal::HUP);
    until("the refusal", PATIENCE, || {
        daemon.process().complained().contains("cannot be used").then_some(())
    });
    assert_eq!(smtplib(&daemon, implicit, "implicit", "")["serial"], first);
    daemon.scratch().write("cert.pem", &new);
    daemon.process().signal(Signal::HUP);
    until("the new certificate", PATIENCE, || {
        daemon.process().complained().contains("configuration read again").then_some(())
    });
    assert_ne!(key, new_key);
    assert_ne!(smtplib(&daemon, implicit, "implicit", "")["serial"], first);
}

/// One message through a listener behind a proxy, as the proxy sends it: the
/// header and what follows in one packet; prints the reply to the last line, or
/// nothing when the connection ended.
const BEHIND_PROXY: &str = r#"
import json, socket, ssl, struct, sys
host, port, trust, how, source, to = sys.argv[1:]
raw = socket.create_connection((host, int(port)), timeout=60, source_address=(source, 0))
header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", 12)
header += socket.inet_aton("192.0.2.77") + socket.inet_aton("127.0.0.1") + struct.pack("!HH", 4711, 25)
def give_up():
    print(json.dumps(""))
    sys.exit()
try:
    if how == "none":
        raw.sendall(b"EHLO c\r\n")
        stream = raw
    elif how == "plain":
        raw.sendall(header + b"EHLO c\r\n")
        stream = raw
    else:
        # The client's first words go out in the same packet as the header.
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=trust)
        tls = context.wrap_bio(incoming, outgoing, server_hostname=host)
        first = header
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(first + outgoing.read())
                first = b""
                incoming.write(raw.recv(65536))
        raw.sendall(outgoing.read())
        class Stream:
            def sendall(self, data):
                tls.write(data)
                raw.sendall(outgoing.read())
            def recv(self, size):
                while True:
                    try:
                        return tls.read(size)
                    except ssl.SSLWantReadError:
                        incoming.write(raw.recv(65536))
        stream = Stream()
        stream.sendall(b"EHLO c\r\n")
    said = b""
    def until(code):
        global said
        while not any(line.startswith(code + b" ") for line in said.split(b"\r\n")):
            more = stream.recv(4096)
            if not more:
                give_up()
            said += more
        last, said = said, b""
        return last.decode()
    until(b"220"); said = b""
    stream.sendall(b"MAIL FROM:<a@source.example>\r\nRCPT TO:<" + to.encode() + b">\r\nDATA\r\n")
    until(b"354")
    stream.sendall(b"Subject: proxied\r\n\r\nOne line.\r\n.\r\n")
    print(json.dumps(until(b"250")))
except (ConnectionError, ssl.SSLError):
    give_up()
"#;

/// Covers: A3.7
/// Shows: A57
#[test]
fn behind_a_listed_proxy_the_clients_own_address_counts() {
    let sink = SmtpSink::start(Sinking::Dumping);
    let implicit = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let listen = format!(
        "[{{ address = \"{{}}\", proxies = \"127.0.0.1\" }}, {{ address = \"{implicit}\", \
         tls = \"implicit\", proxies = \"127.0.0.1\" }}]"
    );
    let config = Config::relay(sink.address())
        .set("submission", "tls", "{ certificate = \"cert.pem\", key = \"key.pem\" }")
        .set("submission", "allow", "[\"192.0.2.77\"]")
        .listening(&listen);
    let mut daemon = Daemon::prepare(config);
    postfix::certificate(daemon.scratch());
    daemon.launch();
    let trust = daemon.scratch().join("cert.pem").display().to_string();
    let send = |to: SocketAddr, how: &str, source: &str| {
        let port = to.port().to_string();
        let recipient = format!("{how}@d001.example");
        python(BEHIND_PROXY, &["127.0.0.1", &port, &trust, how, source, &recipient], b"")
    };
    for (to, how) in [(daemon.address(), "plain"), (implicit, "tls")] {
        let said = send(to, how, "127.0.0.1");
        assert!(said.as_str().is_some_and(|said| said.contains("250 2.0.0 Ok")), "{how}: {said}");
    }
    // Neither a client that is no proxy nor a proxy without a header is heard.
    assert_eq!(send(daemon.address(), "plain", "127.0.0.2"), "");
    assert_eq!(send(daemon.address(), "none", "127.0.0.1"), "");
    sink.wait_for(2, PATIENCE);
    until("both in the dump", PATIENCE, || (sink.recipients().len() == 2).then_some(()));
    assert_eq!(sink.text().matches("([192.0.2.77])").count(), 2, "{}", sink.text());
    let line = daemon.until_logged("the stranger", |line| line["event"] == "proxy-refused");
    assert!(line["error"].as_str().is_some_and(|why| why.contains("not a proxy")), "{line}");
}
