//! A machine that does not have the addresses that its configuration names: it
//! was moved, has no cable, or its lease has not come. In a network of the
//! daemon's own, where nothing reaches beyond.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::process::{installed, run};
use crate::support::{Config, Daemon, PATIENCE, until};

const ADDRESS: &str = "192.0.2.10";
/// Becomes the daemon, in a network with nothing but loopback.
const ALONE: [&str; 9] = [
    "unshare",
    "--map-root-user",
    "--net",
    "setpriv",
    "--pdeathsig=KILL",
    "sh",
    "-c",
    "ip link set lo up && exec \"$@\"",
    "sh",
];

/// A command in the network of the daemon.
fn beside(daemon: &Daemon, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    let process = daemon.process().pid().to_string();
    command.args(["--target", &process, "--user", "--net", "--preserve-credentials", "--"]);
    command.arg(program);
    command
}

/// An appliance at 192.0.2.10 was moved to another address: all looked well, as
/// its sockets were bound. After the next start of the machine it ended five
/// times, started anew, and so on for ever, with nobody to talk to.
#[test]
fn a_daemon_whose_machine_lacks_its_addresses_is_ready_says_so_and_takes_mail_once_it_has_them() {
    installed("ip", "iproute2");
    let at = |port: u16| format!("{ADDRESS}:{port}");
    let config = Config::new()
        .listening(&format!("[\"{}\", \"[2001:db8::10]:25\"]", at(25)))
        .set("submission", "allow", "[\"192.0.2.0/24\"]")
        .set("metrics", "listen", &format!("\"{}\"", at(9100)))
        .set("metrics", "anywhere", "true");
    let mut daemon = Daemon::prepare(config).behind(&ALONE);
    daemon.launch();
    let complaints = daemon.process().complained();
    assert!(complaints.contains("an address that this machine does not have"), "{complaints}");
    let missing = |daemon: &Daemon| daemon.show("/v1/status")["missing_addresses"].clone();
    assert_eq!(missing(&daemon), json!([at(25), "[2001:db8::10]:25", at(9100)]));
    let config = daemon.scratch().join("ringpost.toml");
    let output =
        Command::new(tests::ringpost()).arg("check").arg(&config).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("submission.listen names"), "{said}");
    for port in [25, 9100] {
        daemon.until_logged("a warning", |line| {
            let about = line["reason"].as_str().is_some_and(|why| why.contains(&at(port)));
            line["event"] == "shortage" && about
        });
    }

    run(beside(&daemon, "ip").args(["address", "add", ADDRESS, "dev", "lo"]), "ip");
    assert_eq!(missing(&daemon), json!(["[2001:db8::10]:25"]));
    let mail = daemon.scratch().write("mail", "Subject: moved\r\n\r\nHere again.\r\n");
    let mut curl = beside(&daemon, "curl");
    curl.args(["-sS", "--mail-from", "a@source.example", "--mail-rcpt", "b@d001.example"]);
    run(curl.arg("-T").arg(&mail).arg(format!("smtp://{}", at(25))), "curl");
    assert_eq!(daemon.waiting(), 1);
    until("numbers", PATIENCE, || {
        let mut curl = beside(&daemon, "curl");
        curl.args(["-sS", &format!("http://{}/ready", at(9100))]).stderr(Stdio::null());
        let output = curl.output().expect("curl runs");
        String::from_utf8_lossy(&output.stdout).contains("\"ready\":true").then_some(())
    });
}
