//! Reports to senders in an operator's own words, through a real Postfix and
//! read by Python.

use std::process::Command;

use crate::support::postfix::Postfix;
use crate::support::python::report;
use crate::support::{Config, Daemon, PATIENCE, submit, until};

const TEMPLATE: &str =
    "Subject: Post von {hostname}: {kind}\n\nGrüße an {to},\n\n{details}\n\nUnser Zeichen: {id}\n";

/// Shows: S1.9
#[test]
fn a_report_has_the_operators_words_and_a_bad_template_changes_nothing() {
    let postfix = Postfix::receiving("source.example");
    let nobody = crate::support::config::free_port();
    let config = Config::relay(postfix.address())
        .set("dsn", "template", "\"words.txt\"")
        .set("dsn", "from", "\"postbote@ringpost.example\"")
        .route(&format!(
            "match = \"d001.example\"\nhosts = [\"127.0.0.1:{nobody}\"]\nfallback = false\n\
             on_failure = \"bounce\""
        ));
    let mut daemon = Daemon::prepare(config);
    daemon.scratch().write("words.txt", TEMPLATE);
    daemon.launch();
    submit(daemon.address(), "a@source.example", &["b@d001.example"]);
    until("the report", PATIENCE, || (postfix.count() == 1).then_some(()));
    let text = postfix.delivered().remove(0);
    assert!(text.contains("Subject: Post von ringpost.example: failed"), "{text}");
    assert!(text.contains("From: Mail Delivery System <postbote@ringpost.example>"), "{text}");
    assert!(text.contains("Gr=C3=BC=C3=9Fe an a@source.example,"), "{text}");
    assert!(text.contains("<b@d001.example>") && text.contains("Unser Zeichen: "), "{text}");
    let read = report(text.as_bytes());
    assert_eq!(read["fields"][1]["action"], "failed", "{read}");
    assert_eq!(read["fields"][1]["final-recipient"], "rfc822; b@d001.example", "{read}");

    // One with a fault is refused with its place, and the old one goes on.
    daemon.scratch().write("words.txt", "Liebe {sender},\n{details}\n");
    let file = daemon.scratch().path().join("ringpost.toml");
    let checked = Command::new(tests::ringpost()).arg("check").arg(file).output().expect("it runs");
    let said = String::from_utf8_lossy(&checked.stdout) + String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(
        said.contains(
            "dsn.template names \"words.txt\", which is no template: line 1 names {sender}"
        ),
        "{said}"
    );
    daemon.process().signal(rustix::process::Signal::HUP);
    submit(daemon.address(), "a@source.example", &["c@d001.example"]);
    until("the second report", PATIENCE, || (postfix.count() == 2).then_some(()));
    assert!(postfix.delivered().iter().all(|text| text.contains("Unser Zeichen: ")));
}
