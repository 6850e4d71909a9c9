//! Histories with reports: one that keeps the rules, and one for each that is
//! broken.

use std::sync::Arc;

use super::*;
use crate::observation::{Addressee, Left, Letter, LogLine};
use crate::oracle::play::{FROM, Play, TO, id};

/// What a report of a story says.
struct Says<'a> {
    to: &'a str,
    about: &'a str,
    action: &'a str,
    status: &'a str,
    extra: &'a str,
    envid: &'a str,
    full: bool,
    unique: u32,
}

const FAILED: Says<'_> = Says {
    to: FROM,
    about: TO,
    action: "failed",
    status: "5.1.1",
    extra: "",
    envid: "",
    full: false,
    unique: 1,
};

fn came(play: &mut Play, says: &Says<'_>) {
    let Says { about, action, status, extra, envid, unique, .. } = says;
    let kind = if says.full { "message/rfc822" } else { "text/rfc822-headers" };
    let text = format!(
        "Message-ID: <{unique}@x>\r\nContent-Type: multipart/report; boundary=\"b\"\r\n\r\n\
         --b\r\nContent-Type: message/delivery-status\r\n\r\n{envid}Reporting-MTA: dns; x\r\n\r\n\
         {extra}Final-Recipient: rfc822; {about}\r\nAction: {action}\r\nStatus: {status}\r\n\r\n\
         --b\r\nContent-Type: {kind}\r\n\r\nX-Story: 1\r\n\r\n--b--\r\n"
    );
    play.copy_as(9, |copy| Taken {
        sender: "".into(),
        to: vec![Addressee::new(says.to)],
        content: text.into_bytes().into(),
        ..copy
    });
}

fn sent(make: impl FnOnce(Letter) -> Letter) -> Play {
    let mut play = Play::of(Reports::default());
    play.rules(|_| ());
    play.handed_as(1, make);
    play.answered(1, 250);
    play.dialled(9);
    play
}

fn with(change: impl FnOnce(&mut Addressee)) -> Play {
    let mut to = Addressee::new(TO);
    change(&mut to);
    sent(|letter| Letter { to: vec![to], ..letter })
}

fn failed() -> Play {
    let mut play = with(|_| ());
    play.line("failed", TO, 1, "550 no");
    play
}

fn over(play: &mut Play) {
    play.see(Observation::Over { left: Left::default() });
}

#[test]
fn one_report_of_one_failure_is_fine() {
    let mut play = failed();
    came(&mut play, &FAILED);
    // A second copy of the same report is for another oracle.
    came(&mut play, &FAILED);
    over(&mut play);
    play.fine();
}

#[test]
fn a_missing_report_is_caught_and_a_lost_one_is_not_missing() {
    let mut play = failed();
    let mut lost = play.again();
    over(&mut play);
    play.caught("never told");
    let about = |line| LogLine { id: Some(id(1)), report: Some(id(7)), ..line };
    lost.line_with("report", FROM, 0, "", about);
    let of_report = |line| LogLine { id: Some(id(7)), ..line };
    lost.line_with("failed", FROM, 1, "550 no", of_report);
    over(&mut lost);
    lost.fine();
}

#[test]
fn a_second_report_is_caught() {
    let mut play = failed();
    came(&mut play, &FAILED);
    came(&mut play, &Says { unique: 2, ..FAILED });
    play.caught("a second report");
}

#[test]
fn a_report_of_what_did_not_fail_is_caught() {
    let mut play = with(|_| ());
    let mut early = play.again();
    came(&mut early, &FAILED);
    early.caught("the log does not tell");
    play.delivery(1, 1, &[TO]);
    play.line("delivered", TO, 1, "250 ok");
    let mut success = play.again();
    came(&mut success, &Says { action: "relayed", status: "2.0.0", ..FAILED });
    success.caught("NOTIFY forbids");
    came(&mut play, &FAILED);
    play.caught("the log does not tell");
}

#[test]
fn nobody_who_wants_silence_is_told() {
    for asked in [notify::NEVER, notify::SUCCESS, notify::DELAY] {
        let mut play = with(|to| to.notify = asked);
        play.line("failed", TO, 1, "550 no");
        let mut silent = play.again();
        over(&mut silent);
        silent.fine();
        came(&mut play, &FAILED);
        play.caught("NOTIFY forbids");
    }
    let mut play = sent(|letter| Letter { sender: "".into(), ..letter });
    play.line("failed", TO, 1, "550 no");
    came(&mut play, &FAILED);
    play.caught("without a sender");
}

#[test]
fn a_success_is_reported_where_the_next_host_will_not() {
    for dsn in [true, false] {
        let mut play = with(|to| to.notify = notify::SUCCESS);
        play.dialled(1);
        play.envelope(1, &[TO]);
        let content: Arc<[u8]> = crate::oracle::play::content(1);
        let to = vec![Addressee::new(TO)];
        play.copy_as(1, |copy| Taken { to, content, dsn, ..copy });
        play.said(1, crate::observation::Verb::Dot, 250);
        play.line("delivered", TO, 1, "250 ok");
        let mut untold = play.again();
        over(&mut untold);
        if dsn {
            untold.fine()
        } else {
            untold.caught("never told")
        }
        came(&mut play, &Says { action: "relayed", status: "2.0.0", ..FAILED });
        over(&mut play);
        if dsn { play.caught("next host's duty") } else { play.fine() }
    }
}

#[test]
fn a_report_goes_to_whom_the_rules_say() {
    let mut play = failed();
    came(&mut play, &Says { to: "x@from.example", ..FAILED });
    play.caught("not to be told");
    let mut play = Play::of(Reports::default());
    play.rules(|rules| {
        (rules.failure, rules.delay, rules.success) = (Told::Nobody, Told::Nobody, Told::Nobody);
    });
    play.after(10).accepted(1, &[TO]);
    play.dialled(9);
    play.line("failed", TO, 1, "550 no");
    let mut silent = play.again();
    over(&mut silent);
    silent.fine();
    came(&mut play, &FAILED);
    play.caught("not to be told");
}

#[test]
fn parameters_are_obeyed() {
    let mut play = sent(|letter| Letter { envid: Some("e+2Bx".into()), ret: b'F', ..letter });
    play.line("failed", TO, 1, "550 no");
    let right = Says { envid: "Original-Envelope-Id: e+x\r\n", full: true, ..FAILED };
    let mut obeyed = play.again();
    came(&mut obeyed, &right);
    obeyed.fine();
    let mut other = play.again();
    came(&mut other, &Says { envid: "", ..right });
    other.caught("another ENVID");
    came(&mut play, &Says { full: false, ..right });
    play.caught("as asked for");
    let mut play = failed();
    came(&mut play, &Says { full: true, ..FAILED });
    play.caught("nobody asked");
    let mut play = with(|to| to.orcpt = Some("rfc822;o@x".into()));
    play.line("failed", TO, 1, "550 no");
    let mut obeyed = play.again();
    came(&mut obeyed, &Says { extra: "Original-Recipient: rfc822; o@x\r\n", ..FAILED });
    obeyed.fine();
    came(&mut play, &FAILED);
    play.caught("another ORCPT");
}

#[test]
fn a_status_fits_its_action() {
    let mut play = failed();
    came(&mut play, &Says { status: "2.0.0", ..FAILED });
    play.caught("does not fit");
    let mut play = with(|_| ());
    let mut right = play.again();
    came(&mut right, &Says { action: "delayed", status: "4.4.7", ..FAILED });
    right.fine();
    came(&mut play, &Says { action: "delayed", status: "5.4.7", ..FAILED });
    play.caught("does not fit");
    let mut play = failed();
    came(&mut play, &Says { action: "lost", ..FAILED });
    play.caught("that there is not");
}

#[test]
fn strange_mail_is_caught() {
    let mut play = failed();
    came(&mut play, &Says { about: "x@one.example", ..FAILED });
    play.caught("no recipient of it");
    let mut play = failed();
    let content: Arc<[u8]> = Arc::from(&b"Subject: x\r\n\r\nHello\r\n"[..]);
    play.copy_as(9, |copy| Taken { to: vec![Addressee::new(FROM)], content, ..copy });
    play.caught("neither");
    let mut play = failed();
    let about = |line| LogLine { id: Some(id(1)), report: Some(id(7)), ..line };
    play.line_with("report", FROM, 0, "", about);
    let of_report = |line| LogLine { id: Some(id(7)), report: Some(id(8)), ..line };
    play.line_with("report", FROM, 0, "", of_report);
    play.caught("a report about a report");
}
