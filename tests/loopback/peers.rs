//! The peers themselves, one against the other, without the daemon: what the
//! other stories lean on holds by itself, so that a failure there is the
//! daemon's.

use std::process::Command;
use std::time::Duration;

use crate::support::nsd::Nsd;
use crate::support::postfix::Postfix;
use crate::support::process::{installed, run};
use crate::support::smtp_tools::{Load, Sinking, SmtpSink};
use crate::support::{PATIENCE, submit, until};

#[test]
fn smtp_sink_writes_down_what_smtp_source_sends() {
    let sink = SmtpSink::start(Sinking::Dumping);
    let load = Load { messages: 200, bytes: 2_048, sessions: 10 };
    load.send(sink.address(), PATIENCE);
    sink.wait_for(200, PATIENCE);
    let recipients = sink.recipients();
    assert_eq!(recipients.len(), 200);
    assert!(recipients.values().all(|times| *times == 1));
}

#[test]
fn nsd_answers_fails_and_cuts_short() {
    let mut many = String::new();
    for number in 0..80 {
        many.push_str(&format!("many IN MX 10 a-host-with-a-long-name-{number:03}\n"));
    }
    let records = format!("one IN MX 10 mx\nmx IN A 127.0.3.1\n{many}");
    let nsd = Nsd::start(&[("story.example", &records)], &["broken.example"]);
    assert!(nsd.dig(&["one.story.example", "MX"]).contains("10 mx.story.example."));
    assert!(nsd.dig(&["none.story.example", "MX"]).contains("status: NXDOMAIN"));
    assert!(nsd.dig(&["x.broken.example", "MX"]).contains("status: SERVFAIL"));
    let short = nsd.dig(&["+ignore", "+bufsize=1232", "many.story.example", "MX"]);
    assert!(short.lines().any(|line| line.contains("flags:") && line.contains(" tc")), "{short}");
    let whole = nsd.dig(&["+tcp", "many.story.example", "MX"]);
    assert_eq!(whole.matches("IN\tMX\t10").count(), 80, "{whole}");
}

#[test]
fn postfix_takes_mail_with_tls_into_its_maildir() {
    let postfix = Postfix::receiving("d001.example");
    let mut swaks = Command::new(installed("swaks", "swaks"));
    swaks.args(["--tls", "--from", "a@source.example", "--to", "b@d001.example", "--server"]);
    run(swaks.arg(postfix.address().to_string()), "swaks");
    submit(postfix.address(), "a@source.example", &["c@d001.example"]);
    until("two messages", Duration::from_secs(30), || (postfix.count() == 2).then_some(()));
    let delivered = postfix.delivered();
    assert_eq!(delivered.iter().filter(|text| text.contains("using TLSv1.3")).count(), 1);
    assert!(postfix.log().contains("Anonymous TLS connection established"));
}

#[test]
fn postfix_relays_what_smtp_source_sends() {
    let sink = SmtpSink::start(Sinking::Counting);
    let postfix = Postfix::relaying(sink.address());
    Load { messages: 100, bytes: 2_048, sessions: 10 }.send(postfix.address(), PATIENCE);
    sink.wait_for(100, PATIENCE);
    assert!(!postfix.cpu().is_zero(), "100 messages for nothing");
}
