//! The support bundle of a daemon with mail, log-ins and refusals: everything a
//! helper asks for first, and nobody's name in it.

use harness::{Rule, SinkSettings, Sinks, Stage};
use serde_json::Value;

use crate::support::{Config, Daemon, submit};

const FROM: &str = "ann.quill@corp.example";
const GONE: &str = "bob.gone@d001.example";
const LATER: &str = "eve.later@d002.example";

fn bundled(daemon: &Daemon, words: &[&str]) -> String {
    let words = [&["support", "bundle", "-"], words].concat();
    let output = daemon.verb(&words).output().expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("it speaks UTF-8")
}

/// Shows: S2.27
#[test]
fn a_bundle_tells_of_everything_and_of_nobody() {
    let rules = vec![
        Rule::reply(Stage::Rcpt, "550 5.1.1 bob.gone has left us").for_domain("d001.example"),
        Rule::reply(Stage::Rcpt, "451 4.2.1 Eve.Later is full").for_domain("d002.example"),
    ];
    let sinks = Sinks::start(SinkSettings { rules, ..SinkSettings::default() });
    let sinks = sinks.expect("a sink can be started");
    let config = Config::relay(sinks.first())
        .set("log", "level", "\"detail\"")
        .set("delivery", "retry", "[\"1h\"]")
        .route(
            "match = \"secret.example\"\nmode = \"relay\"\nhosts = [\"192.0.2.1\"]\n\
                auth = { user = \"tim\", password_file = \"tim.secret\" }",
        );
    let mut daemon = Daemon::prepare(config);
    daemon.scratch().write("tim.secret", "open sesame\n");
    daemon.launch();
    submit(daemon.address(), FROM, &[GONE, LATER]);
    daemon.until_settled(GONE, 1);
    daemon.until_settled(LATER, 1);
    daemon.until_log_is_written();
    let kept = bundled(&daemon, &[]);
    for hidden in ["ann.quill", "bob.gone", "eve.later", "sesame"] {
        assert!(!kept.to_lowercase().contains(hidden), "{hidden} is in it: {kept}");
    }
    assert!(kept.contains("d001.example") && kept.contains("corp.example"), "{kept}");
    let bundle: Value = serde_json::from_str(&kept).expect("it is JSON");
    let parts = bundle["parts"].as_object().expect("parts by name");
    for (name, part) in parts {
        assert!(!part.is_null() && part["error"].is_null(), "{name}: {part}");
    }
    // What one and the same person did is still one and the same person's.
    let lines = parts["log"]["lines"].as_array().expect("lines");
    let sender = |event: &str| {
        let line = lines.iter().find(|line| line.to_string().contains(&format!("{event}\"")));
        let text = line.unwrap_or_else(|| panic!("no {event}")).to_string();
        let at = text.find("@corp.example").expect("it has a sender");
        let begin = text[..at].rfind("user-").expect("by its number");
        text[begin..at].to_owned()
    };
    assert_eq!(sender("accepted"), sender("deferred"));
    let hidden = bundled(&daemon, &["--without-domains"]);
    for name in ["d001.example", "d002.example", "corp.example", "ringpost.example"] {
        assert!(!hidden.contains(name), "{name} is in it: {hidden}");
    }
    // Into a file that nobody else reads, and never over another.
    let file = daemon.scratch().join("bundle.json");
    let path = file.display().to_string();
    for code in [0, 1] {
        let mut verb = daemon.verb(&["support", "bundle", &path]);
        assert_eq!(verb.output().expect("the program runs").status.code(), Some(code));
    }
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
