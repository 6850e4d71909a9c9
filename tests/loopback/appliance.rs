//! The appliance's orders, with a first process that the story plays: what the
//! verbs ask for lies in the folder, and what becomes of it is told.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::process::run;
use crate::support::{Config, Daemon, PATIENCE, until};

/// The first process, as far as the daemon sees it.
struct First {
    folder: PathBuf,
}

impl First {
    fn of(daemon: &Daemon) -> Self {
        let first = Self { folder: daemon.scratch().join("appliance") };
        first.says(&[("version", "1.0.0"), ("boot_id", "one"), ("network", "dhcp")]);
        first
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes its state as a whole.
    fn says(&self, values: &[(&str, &str)]) {
        let lines: String =
            values.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        fs::write(self.file("state.part"), lines).expect("the folder takes files");
        fs::rename(self.file("state.part"), self.file("state")).expect("within a folder");
    }

    /// Waits for an order, and takes it up.
    fn takes(&self, name: &str) -> Vec<u8> {
        let bytes = until(name, PATIENCE, || fs::read(self.file(name)).ok());
        fs::remove_file(self.file(name)).expect("it is there");
        bytes
    }
}

fn begun(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs")
}

/// How a verb ended: whether well, and what it said last.
fn ended(child: Child) -> (bool, String) {
    let output = child.wait_with_output().expect("it is a child");
    let words = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    (output.status.success(), words)
}

fn update_file(daemon: &Daemon, bytes: usize) -> (PathBuf, Vec<u8>) {
    let content: Vec<u8> = (0..bytes).map(|n| (n * 7 + n / 251) as u8).collect();
    let path = daemon.scratch().join("ringpost.update");
    fs::write(&path, &content).expect("the folder takes files");
    (path, content)
}

fn verb(daemon: &Daemon, words: &[&str], path: &Path) -> Command {
    let mut verb = daemon.verb(words);
    verb.arg(path);
    verb
}

/// An update of the size of a real one goes through in pieces, and the verb says
/// what became of it: a refusal, and a version that runs and is good.
#[test]
fn an_update_is_sent_whole_and_its_outcome_is_told() {
    let mut daemon = Daemon::prepare(Config::new()).of_appliance();
    daemon.launch();
    let first = First::of(&daemon);
    let (path, content) = update_file(&daemon, 30 << 20);
    let before = daemon.process().memory("VmHWM");
    let sending = begun(&mut verb(&daemon, &["appliance", "update"], &path));
    until("the update", PATIENCE, || first.file("update.new").exists().then_some(()));
    assert_eq!(daemon.show("/v1/appliance")["waiting"], json!(["update"]));
    // A second one, meanwhile.
    let (good, said) = ended(begun(&mut verb(&daemon, &["appliance", "update"], &path)));
    assert!(!good && said.contains("waits to be looked at"), "{said}");
    first.says(&[("boot_id", "one"), ("update_outcome", "refused: another key signed it")]);
    assert!(first.takes("update.new") == content, "it came as it was sent");
    let (good, said) = ended(sending);
    assert!(!good && said.contains("refused: another key signed it"), "{said}");
    let grown = daemon.process().memory("VmHWM").saturating_sub(before);
    assert!(grown < 20 << 20, "it went through memory: {grown} octets");

    let sending = begun(&mut verb(&daemon, &["appliance", "update"], &path));
    until("the update", PATIENCE, || first.file("update.new").exists().then_some(()));
    first.says(&[("boot_id", "one"), ("update_outcome", "installed: 1.1.0")]);
    first.takes("update.new");
    // It starts anew: away for a moment, and back.
    daemon.terminate();
    first.says(&[
        ("version", "1.1.0"),
        ("boot_id", "two"),
        ("blessed", "yes"),
        ("update_outcome", "installed: 1.1.0"),
    ]);
    daemon.launch();
    let (good, said) = ended(sending);
    assert!(good && said.contains("version 1.1.0 runs, and is found good"), "{said}");
    // curl does the same, and hears at once what is not wanted.
    fs::write(first.file("update.new"), "waits").expect("the folder takes files");
    let socket = daemon.data().join("control.sock");
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--unix-socket"]).arg(socket).arg("-T").arg(&path);
    let said = run(curl.arg("http://localhost/v1/appliance/update"), "curl");
    assert!(said.contains("waits to be looked at"), "{said}");
}

/// Settings of the network are tried, confirmed, and refused, each told.
#[test]
fn settings_of_the_network_are_tried_and_confirmed() {
    let mut daemon = Daemon::prepare(Config::new()).of_appliance();
    daemon.launch();
    let first = First::of(&daemon);
    let path = daemon.scratch().write("network.conf", "address = 192.0.2.10/24\n");
    let set = |confirm: &str| {
        begun(verb(&daemon, &["appliance", "network", "set"], &path).args(["--confirm", confirm]))
    };
    let early = daemon.ask("POST", "/v1/appliance/network/confirm", "");
    assert_eq!(early.0, 409, "{}", early.1);
    let setting = set("2m");
    let order = first.takes("network.new");
    assert_eq!(order, b"confirm = 120\naddress = 192.0.2.10/24\n");
    first.says(&[
        ("network", "trial"),
        ("network_trial_until", "1790000120"),
        ("network_file", "address = 192.0.2.10/24\\n"),
        ("network_outcome", "on trial"),
    ]);
    let (good, said) = ended(setting);
    assert!(good && said.contains("undone unless"), "{said}");
    let shown = run(&mut daemon.verb(&["appliance", "network", "show"]), "ringpost");
    assert!(shown.starts_with("address = 192.0.2.10/24\n# on trial until 2026-"), "{shown}");
    let confirming = begun(&mut daemon.verb(&["appliance", "network", "confirm"]));
    first.takes("network.confirm");
    first.says(&[("network", "fixed"), ("network_outcome", "confirmed")]);
    let (good, said) = ended(confirming);
    assert!(good && said.contains("confirmed"), "{said}");
    let setting = set("1m");
    first.takes("network.new");
    first.says(&[("network", "fixed"), ("network_outcome", "refused: line 1 says nothing")]);
    let (good, said) = ended(setting);
    assert!(!good && said.contains("line 1 says nothing"), "{said}");
}

/// How the machine went down lies on its disk, where nobody comes without a
/// shell: the verbs tell of it.
///
/// Shows: S2.27
#[test]
fn the_last_panic_is_told_and_is_in_the_support_bundle() {
    let mut daemon = Daemon::prepare(Config::new()).of_appliance();
    daemon.launch();
    let first = First::of(&daemon);
    let status = |daemon: &Daemon| run(&mut daemon.verb(&["appliance", "status"]), "ringpost");
    let shown = status(&daemon);
    assert!(shown.contains("last panic       -\n"), "{shown}");
    first.says(&[("version", "1.0.0"), ("last_panic_at", "1790000000")]);
    let shown = status(&daemon);
    assert!(shown.contains("last panic       2026-09-21T14:13:20.000Z\n"), "{shown}");
    daemon.scratch().write("last-panic", "version 1.0.0\nkilled by signal 6\nat the disco\n");
    daemon.scratch().write("last-reboot", "the daemon ended too often\n");
    let text = run(&mut daemon.verb(&["support", "bundle", "-"]), "ringpost");
    let bundle: Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(bundle["parts"]["appliance"]["version"], "1.0.0");
    let words = &bundle["machine"]["last_words"];
    let panic = words["last-panic"]["words"].as_str().expect("it is there");
    assert!(panic.ends_with("killed by signal 6\nat the disco\n"), "{panic}");
    assert_eq!(words["last-reboot"]["words"], "the daemon ended too often\n");
}

/// Nobody resets another machine than the one that was meant, and what is no
/// appliance says so.
#[test]
fn a_reset_names_the_machine_and_a_system_of_ones_own_takes_no_orders() {
    let mut daemon = Daemon::prepare(Config::new()).of_appliance();
    daemon.launch();
    let first = First::of(&daemon);
    let reset = |name: &str| {
        let words = ["appliance", "reset", "--queue", "keep", "--name", name];
        ended(begun(&mut daemon.verb(&words)))
    };
    let (good, said) = reset("other.example");
    assert!(!good && said.contains("this is ringpost.example"), "{said}");
    assert!(!first.file("reset.new").exists());
    assert!(reset("ringpost.example").0);
    assert_eq!(first.takes("reset.new"), b"queue = keep\n");
    run(&mut daemon.verb(&["appliance", "restart"]), "ringpost");
    assert_eq!(first.takes("restart.new"), b"");
    let shown = run(&mut daemon.verb(&["appliance", "status"]), "ringpost");
    assert!(shown.contains("version          1.0.0\n"), "{shown}");
    let line = daemon.until_logged("the order", |line| {
        line["request"].as_str().is_some_and(|it| it.starts_with("appliance reset"))
    });
    assert!(line["uid"].is_u64(), "{line}");

    let plain = Daemon::start(Config::new());
    let (status, said) = plain.ask("GET", "/v1/appliance", "");
    let told: &Value = &said["error"];
    assert!(status == 404 && told.to_string().contains("not an appliance"), "{said}");
    let (status, _) = plain.ask("PUT", "/v1/appliance/update", "x");
    assert_eq!(status, 404);
}
