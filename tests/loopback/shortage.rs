//! When the machine has not enough, or not the right thing: a plain sentence
//! and the right exit code at the start, `452` and patience while running, and
//! nothing lost.
//!
//! Exit codes: 1 the answer is no, 2 wrong usage, 3 no daemon there.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use harness::{
    Act, Outcome, Rule, SinkSettings, Sinks, Source, SourceSettings, Stage, Workload, verify,
};

use crate::support::mount::Mount;
use crate::support::process::{Scratch, installed};
use crate::support::{Client, Config, Daemon, PATIENCE, Process, submit, text_to, until};

const FROM: &str = "sender@source.example";
/// The user that owns nothing.
const NOBODY: u32 = 65_534;

fn sinks() -> Sinks {
    Sinks::start(SinkSettings::default()).expect("a sink can be started")
}

/// A start that must fail: its exit code and its sentence.
fn refused(daemon: &Daemon) -> (Option<i32>, String) {
    let mut process: Process = daemon.spawn();
    let status = process.wait(PATIENCE);
    assert!(!process.said().contains("ready"), "ready, and yet it ended");
    (status.code(), process.complained())
}

/// Covers: B28
#[test]
fn a_data_folder_in_use_is_refused_by_name() {
    let sinks = sinks();
    let first = Daemon::start(Config::relay(sinks.first()));
    let second = Daemon::prepare(Config::relay(sinks.first())).with_data(first.data());
    let (code, words) = refused(&second);
    assert_eq!(code, Some(1), "{words}");
    let folder = first.data().display().to_string();
    assert!(words.contains(&folder) && words.contains("in use"), "{words}");
    submit(first.address(), FROM, &["a@d001.example"]);
    assert!(sinks.wait_for(1, PATIENCE), "the first one was disturbed");
}

#[test]
fn a_taken_port_is_refused_by_number() {
    let config = Config::relay(([127, 0, 0, 1], 9).into());
    let taken = TcpListener::bind(config.listen()).expect("the port is free");
    let daemon = Daemon::prepare(config);
    let (code, words) = refused(&daemon);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains(&daemon.address().to_string()), "{words}");
    drop(taken);
}

/// Covers: B35
#[test]
fn a_wrong_configuration_is_refused_with_place_and_reason() {
    let config = Config::new().set("delivery", "lifetime", "\"5 fortnights\"");
    let daemon = Daemon::prepare(config.set("queue", "segmnt", "\"64MiB\""));
    let (code, words) = refused(&daemon);
    assert_eq!(code, Some(1), "{words}");
    let text = fs::read_to_string(daemon.scratch().join("ringpost.toml")).expect("it was written");
    for (key, reason) in [("lifetime", "fortnights"), ("segmnt", "segment")] {
        let line = text.lines().position(|line| line.starts_with(key)).expect("it was set") + 1;
        let place = format!("{line}:");
        let place_named = words.contains(&place) || words.contains(&format!("line {line}"));
        assert!(place_named && words.contains(key) && words.contains(reason), "{line}: {words}");
    }
    let check = Command::new(tests::ringpost())
        .arg("check")
        .arg(daemon.scratch().join("ringpost.toml"))
        .output()
        .expect("the program can be run");
    assert_eq!(check.status.code(), Some(1), "{check:?}");
}

/// Covers: B35
#[test]
fn a_wrong_configuration_changes_nothing_in_a_running_daemon() {
    let sinks = sinks();
    let config = Config::relay(sinks.first());
    let mut daemon = Daemon::start(config.clone());
    daemon.configure(config.clone().set("delivery", "connections", "\"many\""));
    daemon.process().signal(rustix::process::Signal::HUP);
    let words = until("the refusal", PATIENCE, || {
        let words = daemon.process().complained();
        words.contains("stays in force").then_some(words)
    });
    assert!(words.contains("delivery.connections"), "{words}");
    submit(daemon.address(), FROM, &["a@d001.example"]);
    assert!(sinks.wait_for(1, PATIENCE), "it no longer delivers");
    daemon.configure(config.set("", "hostname", "\"renamed.example\""));
    daemon.process().signal(rustix::process::Signal::HUP);
    until("the new name in the greeting", PATIENCE, || {
        let (_, greeting) = Client::connect(daemon.address());
        greeting.text.contains("renamed.example").then_some(())
    });
}

#[test]
fn no_daemon_there_is_an_exit_code_of_its_own() {
    let daemon = Daemon::prepare(Config::new());
    let status = daemon.verb(&["status"]).output().expect("the program can be run");
    assert_eq!(status.status.code(), Some(3), "{status:?}");
    let usage = Command::new(tests::ringpost()).arg("deliver").output().expect("it can be run");
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
}

#[test]
fn refused_io_uring_is_said_plainly() {
    let python = installed("python3", "python3").display().to_string();
    let daemon = Daemon::prepare(Config::new());
    let script = daemon.scratch().write("refuse.py", REFUSE_IO_URING).display().to_string();
    let daemon = daemon.behind(&[&python, "-I", &script]);
    let (code, words) = refused(&daemon);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("io_uring"), "{words}");
}

/// Becomes the program named by its arguments, with every io_uring call
/// answered by EPERM, as a container's filter does.
const REFUSE_IO_URING: &str = r#"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def code(op, jt, jf, k):
    return struct.pack("HBBI", op, jt, jf, k)
LOAD, EQUAL, RETURN, ALLOW, EPERM = 0x20, 0x15, 0x06, 0x7fff0000, 0x00050001
calls = [425, 426, 427]
program = code(LOAD, 0, 0, 0)
for left, call in zip(range(len(calls), 0, -1), calls):
    program += code(EQUAL, left, 0, call)
program += code(RETURN, 0, 0, ALLOW) + code(RETURN, 0, 0, EPERM)
buffer = ctypes.create_string_buffer(program)
class Filter(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
filter = Filter(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(filter), 0, 0):
    sys.exit("prctl: %s" % os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
"#;

/// Covers: B97
#[test]
fn an_ordinary_user_with_8_mib_of_locked_memory_delivers() {
    let sinks = sinks();
    let mut daemon = ordinary(Config::relay(sinks.first()), 8 << 20);
    daemon.launch();
    let workload = Workload::new(500, 5, 7);
    let source = Source::run(daemon.address(), &workload, SourceSettings::default());
    let source = source.expect("a source can be started");
    assert!(sinks.wait_for(500, PATIENCE), "{:?}", source.troubles);
    assert!(verify(&workload, &source, &sinks.report()).is_exactly_once());
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.process().pid()));
    let limits = limits.expect("a running process has limits");
    let locked = limits.lines().find(|line| line.starts_with("Max locked memory"));
    assert!(locked.is_some_and(|line| line.contains("8388608")), "{limits}");
}

#[test]
fn too_little_locked_memory_is_said_plainly_or_enough() {
    let sinks = sinks();
    let daemon = ordinary(Config::relay(sinks.first()), 4_096);
    let mut process = daemon.spawn();
    let outcome = until("ready, or an end", PATIENCE, || {
        process.ended().map(Some).or_else(|| process.said().contains("ready").then_some(None))
    });
    // Newer kernels account rings otherwise, and need none of it.
    if let Some(status) = outcome {
        let words = process.complained();
        assert_eq!(status.code(), Some(1), "{words}");
        assert!(words.contains("memory") && words.contains("lock"), "{words}");
    }
}

/// A daemon that will run as an ordinary user with so much locked memory.
fn ordinary(config: Config, memlock_bytes: u64) -> Daemon {
    let daemon = Daemon::prepare(config);
    let program = daemon.scratch().join("ringpost");
    fs::copy(tests::ringpost(), &program).expect("the folder takes a copy");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is our own");
    fs::create_dir(daemon.data()).expect("the folder is our own");
    chown(daemon.data(), Some(NOBODY), Some(NOBODY)).expect("root may give a folder away");
    let limit = format!("--memlock={memlock_bytes}:{memlock_bytes}");
    daemon.with_program(&program).behind(&[
        "prlimit",
        &limit,
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ])
}

/// Covers: B24
#[test]
fn too_few_descriptors_are_said_plainly() {
    let daemon = Daemon::prepare(Config::new()).behind(&["prlimit", "--nofile=32:32"]);
    let (code, words) = refused(&daemon);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("descriptor") || words.contains("open files"), "{words}");
}

/// Covers: B24, B89
#[test]
fn at_its_descriptor_limit_it_waits_and_loses_nothing() {
    let sinks = sinks();
    // Enough to start, not enough for what the load asks for at once.
    let config = Config::relay(sinks.first()).set("delivery", "connections", "1000");
    let mut daemon = Daemon::prepare(config).behind(&["prlimit", "--nofile=1024:1024"]);
    daemon.launch();
    let workload = Workload::new(6_000, 5, 8);
    let settings = SourceSettings { sessions: 1_100, ..SourceSettings::default() };
    let source = Source::run(daemon.address(), &workload, settings).expect("it starts");
    let promised = source.promised(&workload);
    assert!(sinks.wait_for(promised, PATIENCE), "{promised}: {:?}", sinks.progress());
    daemon.until_empty(PATIENCE);
    let verdict = verify(&workload, &source, &sinks.report());
    assert!(verdict.is_exactly_once() && verdict.promised > 1_000, "{verdict:?}");
    let counted = daemon.events("failed").len() + daemon.events("expired").len();
    assert_eq!(counted, 0, "our shortage became their failure");
    submit(daemon.address(), FROM, &["after@d001.example"]);
    assert!(sinks.wait_for(promised + 1, PATIENCE), "it never recovered");
}

/// Covers: A6.1, B20
/// Shows: S1.7
#[test]
fn below_its_free_space_it_answers_452() {
    let sinks = sinks();
    let config = Config::relay(sinks.first()).set("queue", "min_free", "\"1000TiB\"");
    let mut daemon = Daemon::start(config.clone());
    let mut client = Client::greet(daemon.address());
    let reply = client.send(FROM, &["a@d001.example"], &text_to(FROM, &["a@d001.example"]));
    assert_eq!(reply.code, 452, "{}", reply.text);
    assert!(reply.text.contains("4.3.1"), "{}", reply.text);
    daemon.configure(config.set("queue", "min_free", "\"0B\""));
    daemon.process().signal(rustix::process::Signal::HUP);
    until("mail to be taken again", PATIENCE, || {
        let mut client = Client::greet(daemon.address());
        let reply = client.send(FROM, &["a@d001.example"], &text_to(FROM, &["a@d001.example"]));
        (reply.code == 250).then_some(())
    });
}

/// Covers: B20, B21, B36
/// Shows: S1.7
#[test]
fn a_full_disk_is_answered_452_and_loses_nothing() {
    // The next hop is down as a whole, so mail waits as one.
    until_the_disk_is_full(Rule::reply(Stage::Greeting, "421 4.3.2 not now"));
}

/// Covers: B21
#[test]
fn a_disk_full_of_deferrals_still_delivers_after_a_crash() {
    // Each message is refused by itself, and each refusal is put on record.
    until_the_disk_is_full(Rule::reply(Stage::Mail, "450 4.2.1 not now"));
}

/// Covers: B21
#[test]
fn a_disk_full_at_a_crash_amid_deliveries_still_delivers() {
    // Final dots are out when the crash comes, and the start must note that.
    until_the_disk_is_full(Rule::new(Stage::Dot, Act::Stall));
}

/// Mail piles up before `rule` until a disk of 40 MiB is full; after a crash
/// and without the rule all of it is delivered, and mail is taken again.
fn until_the_disk_is_full(rule: Rule) {
    let sinks = sinks();
    sinks.set_rules(vec![rule]);
    let scratch = Scratch::new();
    let mount = Mount::tmpfs(&scratch.join("disk"), "size=40m");
    let config = Config::relay(sinks.first()).set("delivery", "retry", "[\"1s\"]");
    let mut daemon = Daemon::prepare(config).with_data(&mount.path().join("data"));
    daemon.launch();
    let workload = Workload::new(40_000, 5, 9);
    let settings = SourceSettings { sessions: 20, ..SourceSettings::default() };
    let source = Source::run(daemon.address(), &workload, settings).expect("it starts");
    let promised = source.promised(&workload);
    assert!(promised > 1_000 && promised < 40_000, "{promised}: {:?}", source.troubles);
    for (text, count) in &source.troubles {
        // 452, and in the end 421 to who goes on all the same, or nothing where
        // that 421 overtook commands already sent: never a refusal for good.
        let later = text.starts_with("421 ")
            || text.starts_with("refused with 4")
            || text == "connection closed";
        assert!(later, "{count} times: {text}: {:?}", source.troubles);
    }
    assert!(source.count(Outcome::Refused(452)) > 0, "{:?}", source.troubles);
    let status = daemon.show("/v1/status");
    assert_eq!(status["messages"], promised, "{status}");
    daemon.kill();
    sinks.set_rules(Vec::new());
    daemon.launch();
    assert!(sinks.wait_for(promised, PATIENCE), "{promised}: {:?}", sinks.progress());
    // Not by the log, which lies on the same disk and drops lines then.
    until("an empty queue", PATIENCE, || (daemon.waiting() == 0).then_some(()));
    let verdict = verify(&workload, &source, &sinks.report());
    assert!(verdict.is_exactly_once(), "{verdict:?}");
    until("room again", PATIENCE, || {
        let mut client = Client::greet(daemon.address());
        let reply = client.send(FROM, &["z@d001.example"], &text_to(FROM, &["z@d001.example"]));
        (reply.code == 250).then_some(())
    });
    drop(daemon);
}
