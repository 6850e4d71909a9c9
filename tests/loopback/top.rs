//! `ringpost top` in a real terminal: what stands there, what keys do, what
//! becomes of it when the window or the daemon changes, and how it leaves.

use std::fs;

use harness::{Rule, SinkSettings, Sinks, Stage};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::process::run;
use crate::support::terminal::Terminal;
use crate::support::{Config, Daemon, PATIENCE, submit, until};

const FROM: &str = "sender@from.example";
const WORDS: &str = "451 4.7.1 come back tomorrow";

/// A daemon with one message that its relay puts off.
fn daemon() -> (Daemon, Sinks) {
    let rules = vec![Rule::reply(Stage::Rcpt, WORDS).for_domain("later.example")];
    let sinks = Sinks::start(SinkSettings { rules, ..SinkSettings::default() });
    let sinks = sinks.expect("a sink can be started");
    let config = Config::relay(sinks.first()).set("delivery", "retry", "[\"1h\"]");
    let daemon = Daemon::start(config);
    submit(daemon.address(), FROM, &["a@later.example"]);
    daemon.until_settled("a@later.example", 1);
    (daemon, sinks)
}

/// The words that start it, for a shell.
fn words(daemon: &Daemon) -> String {
    let verb = daemon.verb(&["top"]);
    let words = std::iter::once(verb.get_program()).chain(verb.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Shows: A40
#[test]
fn top_is_worked_with_in_a_real_terminal() {
    let (mut daemon, _sinks) = daemon();
    let terminal = Terminal::start(120, 30);
    terminal.line(&words(&daemon));
    let shown = |screen: &str| screen.contains(" sites 1 ") && screen.contains(WORDS);
    let screen = terminal.until("the site that has mail", shown);
    assert!(screen.contains("ringpost.example") && screen.contains("LAST TROUBLE"), "{screen}");
    terminal.press("?");
    terminal.until("the keys explained", |it| it.contains("stop delivery to the chosen site"));
    terminal.press("x");
    terminal.press("/");
    terminal.press("nobody");
    terminal.press("Enter");
    terminal.until("no site of that name", |it| it.contains(" sites 0 /nobody "));
    terminal.press("Escape");
    terminal.until("all sites again", shown);
    // Stopped, not stopped, tried now: each asked about first.
    terminal.press("s");
    terminal.until("a question", |it| it.contains("Stop delivery to ") && it.contains("y/n"));
    terminal.press("n");
    terminal.until("nothing done", |it| it.contains("q quit"));
    let orders = || daemon.show("/v1/suspensions")["suspensions"].as_array().map(Vec::len);
    assert_eq!(orders(), Some(0));
    for (key, count) in [("s", 1), ("r", 0)] {
        terminal.press(key);
        terminal.until("a question", |it| it.contains("y/n"));
        terminal.press("y");
        until("the order", PATIENCE, || (orders() == Some(count)).then_some(()));
    }
    terminal.press("f");
    terminal.until("a question", |it| it.contains("Try the 1 recipients"));
    terminal.press("y");
    daemon.until_settled("a@later.example", 2);
    // Another size, then a daemon that goes and comes back.
    terminal.resize(70, 20);
    terminal.until("the narrower screen", |it| {
        let fits = it.lines().all(|line| line.chars().count() <= 70);
        fits && it.contains(" sites 1 ") && it.contains("q quit") && !it.contains("LAST TROUBLE")
    });
    daemon.kill();
    terminal.until("that it is waited for", |it| it.contains("waiting for the daemon"));
    daemon.launch();
    terminal.until("that it is back", |it| {
        it.contains(" sites 1 ") && !it.contains("waiting for the daemon")
    });
    terminal.press("q");
    terminal.until("the shell", |it| !it.contains(" sites 1 "));
    let settings = terminal.settings();
    assert!(settings.contains(" icanon") && settings.contains(" echo "), "{settings}");
}

/// Ended from outside it leaves the terminal as it was, too.
///
/// Shows: A40
#[test]
fn top_gives_the_terminal_back_when_it_is_ended() {
    let (daemon, _sinks) = daemon();
    let terminal = Terminal::start(100, 30);
    let named = terminal.join("pid");
    for signal in [Signal::TERM, Signal::HUP] {
        let _ = fs::remove_file(&named);
        let pid = named.display();
        terminal.line(&format!("sh -c 'echo $$ > {pid}; exec {}'", words(&daemon)));
        terminal.until("its screen", |it| it.contains(" sites 1 ") && it.contains("q quit"));
        let number = fs::read_to_string(&named).expect("the shell wrote it");
        let number = number.trim().parse().ok().and_then(Pid::from_raw);
        kill_process(number.expect("a process has a number"), signal).expect("it is ours");
        terminal.until("the shell", |it| !it.contains(" sites 1 "));
        let settings = terminal.settings();
        assert!(settings.contains(" icanon") && settings.contains(" echo "), "{settings}");
    }
}

/// One frame for a pipe.
///
/// Shows: A40
#[test]
fn one_frame_is_printed_for_pipes() {
    let (daemon, _sinks) = daemon();
    let text = run(daemon.verb(&["top", "--once"]).env("COLUMNS", "120"), "ringpost");
    assert!(text.starts_with("ringpost  ringpost.example  up "), "{text}");
    assert!(text.contains(" sites 1 ") && text.contains(WORDS), "{text}");
    assert!(!text.contains('\u{1b}') && text.lines().all(|line| line.chars().count() <= 120));
    let piped = daemon.verb(&["top"]).output().expect("the program runs");
    assert_eq!(piped.status.code(), Some(2), "without a terminal it says so");
}
