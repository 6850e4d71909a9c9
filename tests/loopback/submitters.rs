//! Users who log in to hand mail in: by each mechanism, from outside of the
//! networks that may relay, with a file of users made by the program; wrong
//! passwords; and no secret in anything that is written.

use std::io::Write;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::support::process::{Scratch, installed, run};
use crate::support::python::python;
use crate::support::smtp_tools::{Sinking, SmtpSink};
use crate::support::{Client, Config, Daemon, PATIENCE, postfix, until};

/// An entry of the file of users, as an operator makes it.
fn entry(user: &str, password: &str) -> String {
    let mut verb = Command::new(tests::ringpost());
    verb.args(["user", "hash", user]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = verb.spawn().expect("the program is there");
    let mut stdin = child.stdin.take().expect("its input is a pipe");
    writeln!(stdin, "{password}").expect("it reads its input");
    drop(stdin);
    let output = child.wait_with_output().expect("a child can be waited for");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("an entry is text")
}

/// A daemon that nobody may relay through without a log-in.
fn daemon(sink: &SmtpSink) -> Daemon {
    let config = Config::relay(sink.address())
        .set("submission", "tls", "{ certificate = \"cert.pem\", key = \"key.pem\" }")
        .set("submission", "allow", "[]")
        .set("submission", "users", "\"users.toml\"")
        .set("submission", "wrong_passwords", "\"3/10m\"")
        .set("log", "level", "\"detail\"");
    let mut daemon = Daemon::prepare(config);
    postfix::certificate(daemon.scratch());
    let users = entry("tim", "secret of tim") + &entry("ann@x.example", "secret of ann");
    assert!(!users.contains("secret"), "{users}");
    daemon.scratch().write("users.toml", &users);
    daemon.launch();
    daemon
}

/// Logs in with smtplib by one mechanism, sends one message; prints the code of
/// the log-in, and how long it took.
const LOG_IN: &str = r#"
import base64, hashlib, hmac, json, smtplib, ssl, sys, time
host, port, trust, how, user, password, to = sys.argv[1:]
session = smtplib.SMTP(host, int(port), timeout=60)
session.ehlo()
assert not session.has_extn("auth"), "a password in the clear is asked for"
session.starttls(context=ssl.create_default_context(cafile=trust))
session.ehlo()
session.user, session.password = user, password
began = time.monotonic()
def coded(text):
    return base64.b64encode(text.encode()).decode()
def scram():
    first = "n=" + user + ",r=fyko+d2lbbFgONRv9qkxdawL"
    code, said = session.docmd("AUTH", "SCRAM-SHA-256 " + coded("n,," + first))
    server = base64.b64decode(said).decode()
    fields = dict(field.split("=", 1) for field in server.split(","))
    salt, rounds = base64.b64decode(fields["s"]), int(fields["i"])
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    key = lambda k, m: hmac.new(k, m.encode(), "sha256").digest()
    client = key(salted, "Client Key")
    last = "c=biws,r=" + fields["r"]
    message = first + "," + server + "," + last
    signature = key(hashlib.sha256(client).digest(), message)
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(client, signature))).decode()
    code, said = session.docmd(coded(last + ",p=" + proof))
    if code != 334:
        return code
    expected = base64.b64encode(key(key(salted, "Server Key"), message)).decode()
    assert base64.b64decode(said).decode() == "v=" + expected, "the server is not proved"
    return session.docmd("")[0]
try:
    if how == "SCRAM-SHA-256":
        code = scram()
    else:
        code = session.auth(how, getattr(session, "auth_" + how.lower()))[0]
except smtplib.SMTPAuthenticationError as error:
    code = error.smtp_code
took = time.monotonic() - began
refused = 0
if to:
    try:
        session.sendmail("a@source.example", [to], "Subject: hello\r\n\r\nOne line.\r\n")
    except smtplib.SMTPRecipientsRefused as error:
        refused = error.recipients[to][0]
print(json.dumps({"code": code, "took": took, "refused": refused}))
"#;

fn log_in(daemon: &Daemon, how: &str, user: &str, password: &str, to: &str) -> serde_json::Value {
    let trust = daemon.scratch().join("cert.pem").display().to_string();
    let port = daemon.address().port().to_string();
    python(LOG_IN, &["127.0.0.1", &port, &trust, how, user, password, to], b"")
}

/// Covers: A5.8, A5.9, A3.11
/// Shows: A67, S2.26, A49
#[test]
fn users_log_in_by_each_mechanism_and_nothing_shows_a_secret() {
    let sink = SmtpSink::start(Sinking::Dumping);
    let daemon = daemon(&sink);
    for (user, password) in [("tim", "secret of tim"), ("ann@x.example", "secret of ann")] {
        for how in ["SCRAM-SHA-256", "PLAIN", "LOGIN"] {
            let to = format!("{how}-{}@d001.example", &user[..3]);
            let said = log_in(&daemon, how, user, password, &to);
            assert_eq!(
                (&said["code"], &said["refused"]),
                (&235.into(), &0.into()),
                "{how}: {said}"
            );
        }
    }
    let mut swaks = Command::new(installed("swaks", "swaks"));
    swaks.args(["--tls", "--auth", "PLAIN", "--auth-user", "tim"]);
    swaks.args(["--auth-password", "secret of tim"]);
    swaks.args(["--from", "a@source.example", "--to", "swaks@d001.example", "--server"]);
    run(swaks.arg(daemon.address().to_string()), "swaks");
    daemon.until_logged("its log-in", |line| line["event"] == "log-in" && line["user"] == "tim");
    daemon.until_logged("its TLS", |line| line["event"] == "tls" && line["client"].is_string());
    // Without a log-in nobody relays, and in the clear none is taken.
    let mut client = Client::greet(daemon.address());
    client.expect("AUTH PLAIN AHRpbQBzZWNyZXQgb2YgdGlt", 538);
    client.expect("MAIL FROM:<a@source.example>", 250);
    client.expect("RCPT TO:<b@d001.example>", 550);
    sink.wait_for(7, PATIENCE);
    until("all in the dump", PATIENCE, || (sink.recipients().len() == 7).then_some(()));
    assert_eq!(sink.text().matches("(Ringpost) with ESMTPSA id").count(), 7, "{}", sink.text());
    let logs = daemon.all_logs();
    assert!(logs.contains("AUTH (log-in)") && logs.contains("\"user\":\"tim\""), "detail is on");
    let coded = ["c2VjcmV0IG9m", "AHRpbQBz", "AGFubkB4LmV4YW1wbGUA"];
    for secret in ["secret of", "SCRAM-SHA-256$"].iter().chain(&coded) {
        assert!(!logs.contains(secret), "{secret} is in a log");
    }
}

/// Covers: A5.10, B91
/// Shows: A67
#[test]
fn a_wrong_password_slows_and_is_limited_and_a_changed_file_is_obeyed() {
    let sink = SmtpSink::start(Sinking::Counting);
    let daemon = daemon(&sink);
    let first = log_in(&daemon, "PLAIN", "tim", "pencil", "b@d001.example");
    assert_eq!((&first["code"], &first["refused"]), (&535.into(), &550.into()), "{first}");
    assert!(first["took"].as_f64().is_some_and(|took| took >= 0.9), "{first}");
    let line = daemon.until_logged("the refusal", |line| line["event"] == "log-in-refused");
    assert_eq!((&line["user"], &line["client"]), (&"tim".into(), &"127.0.0.1".into()));
    // Another password for tim, from the next signal on.
    daemon.scratch().write("users.toml", &entry("tim", "pencil"));
    daemon.process().signal(Signal::HUP);
    until("the new users", PATIENCE, || {
        daemon.process().complained().contains("configuration read again").then_some(())
    });
    assert_eq!(log_in(&daemon, "PLAIN", "tim", "pencil", "b@d001.example")["code"], 235);
    assert_eq!(log_in(&daemon, "SCRAM-SHA-256", "tim", "secret of tim", "")["code"], 535);
    // Each of the shards counts for itself; in the end one has had enough.
    let mut codes = (0..32).map(|_| log_in(&daemon, "LOGIN", "nobody", "x", "")["code"].clone());
    assert!(codes.any(|code| code == 454), "nobody is put off");
    sink.wait_for(1, PATIENCE);
}

/// Sends messages until one is put off, with a client certificate; prints the
/// codes of MAIL and RCPT.
const CERTIFIED: &str = r#"
import json, smtplib, ssl, sys
host, port, trust, certificate, key, to = sys.argv[1:]
context = ssl.create_default_context(cafile=trust)
context.load_cert_chain(certificate, key)
session = smtplib.SMTP(host, int(port), timeout=60)
session.starttls(context=context)
session.ehlo()
codes = []
for number in range(8):
    code = session.mail("a@source.example")[0]
    if code == 250:
        code = session.rcpt(to)[0]
    if code == 250:
        code = session.data("Subject: by certificate\r\n\r\nOne line.\r\n")[0]
    codes.append(code)
    if code != 250:
        break
print(json.dumps(codes))
"#;

/// Shows: A67, S2.26
#[test]
fn a_client_certificate_lets_in_as_a_user_whose_limits_hold() {
    let sink = SmtpSink::start(Sinking::Counting);
    let config = Config::relay(sink.address())
        .set("", "shards", "1")
        .set("submission", "tls", "{ certificate = \"cert.pem\", key = \"key.pem\" }")
        .set("submission", "allow", "[]")
        .set("submission", "users", "\"users.toml\"");
    let mut daemon = Daemon::prepare(config);
    postfix::certificate(daemon.scratch());
    let (known, stranger) = (Scratch::new(), Scratch::new());
    postfix::certificate(&known);
    postfix::certificate(&stranger);
    let mut openssl = Command::new(installed("openssl", "openssl"));
    openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]);
    let said = run(openssl.arg(known.join("cert.pem")), "openssl");
    let digits = said.trim().rsplit('=').next().expect("a fingerprint");
    let user = format!("app = {{ certificate = \"sha256:{digits}\", messages = \"3/10m\" }}\n");
    daemon.scratch().write("users.toml", &user);
    daemon.launch();

    let trust = daemon.scratch().join("cert.pem").display().to_string();
    let port = daemon.address().port().to_string();
    let send = |who: &Scratch| {
        let files = ["cert.pem", "key.pem"].map(|name| who.join(name).display().to_string());
        let [certificate, key] = &files;
        let arguments = ["127.0.0.1", &port, &trust, certificate, key, "b@d001.example"];
        python(CERTIFIED, &arguments, b"")
    };
    assert_eq!(send(&stranger), serde_json::json!([550]));
    assert_eq!(send(&known), serde_json::json!([250, 250, 250, 450]));
    assert_eq!(send(&known), serde_json::json!([450]), "sessions share the limit");
    sink.wait_for(3, PATIENCE);
}

/// Shows: A67
#[test]
fn a_network_has_limits_of_its_own() {
    let sink = SmtpSink::start(Sinking::Counting);
    let limits = "[{ network = \"127.0.0.0/8\", recipients = \"3/10m\", connections = 2 }]";
    let config =
        Config::relay(sink.address()).set("", "shards", "1").set("submission", "limits", limits);
    let daemon = Daemon::start(config);
    let mut first = Client::greet(daemon.address());
    let second = Client::greet(daemon.address());
    let (_, refused) = Client::connect(daemon.address());
    assert_eq!(refused.code, 421, "{}", refused.text);
    first.expect("MAIL FROM:<a@source.example>", 250);
    for number in 0..3 {
        first.expect(&format!("RCPT TO:<b{number}@d001.example>"), 250);
    }
    let late = first.expect("RCPT TO:<b3@d001.example>", 450);
    assert!(late.text.contains("4.7.1"), "{}", late.text);
    // What was taken of it goes.
    first.expect("DATA", 354);
    first.expect("Subject: three\r\n\r\nOne line.\r\n.", 250);
    drop(second);
    until("a place", PATIENCE, || {
        let (mut client, greeting) = Client::connect(daemon.address());
        client.say("QUIT");
        (greeting.code == 220).then_some(())
    });
    daemon.until_empty(PATIENCE);
}
