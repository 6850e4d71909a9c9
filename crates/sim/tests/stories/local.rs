//! Local domains: mail handed to mail folders or by LMTP, whatever routes say;
//! users who are not known; disks that are full.

use std::time::Duration;

use crate::stories_support::{SENDER, world};
use sim::{Act, Fault, Host, Stage, World, minutes, seconds};

const STORE: [u8; 4] = [198, 51, 100, 30];

const QUICK: &str = "[delivery]\nretry = [\"5m\"]\njitter = \"0%\"\ndelay_notice = \"none\"\n";

fn local(deliver: &str, rest: &str) -> String {
    format!("{QUICK}[[local]]\nmatch = \"here.example\"\ndeliver = {deliver}\n{rest}\n")
}

fn folders(rest: &str) -> World {
    world(&local("{ maildir = \"/var/mail/{domain}/{user}\" }", rest), Host::new())
}

fn lmtp(rest: &str, mut store: Host) -> World {
    store.kind.lmtp = true;
    let mut world = world(&local("{ lmtp = \"/run/lmtp\" }", rest), Host::new());
    world.socket("/run/lmtp", STORE);
    world.host(STORE, store);
    world
}

/// The subject and address of what came to the sender.
fn reports(world: &mut World) -> usize {
    world.at(SENDER).got.len()
}

/// One message for two mailboxes and one far away: a file each, and one copy
/// that leaves.
///
/// Shows: S1.1, S3.3
#[test]
fn a_message_becomes_a_file_for_each_mailbox() {
    let mut world = folders("");
    world.accept(0, "a@from.example", &["Ann@here.example", "bob@here.example", "c@from.example"]);
    world.run_for(seconds(5));
    let files = &world.folders.files;
    let paths: Vec<_> = files.keys().map(|path| path.rsplit_once('/').unwrap().0).collect();
    assert_eq!(paths, ["/var/mail/here.example/ann/new", "/var/mail/here.example/bob/new"]);
    for (file, to) in files.values().zip(["Ann", "bob"]) {
        let head =
            format!("Return-Path: <a@from.example>\nDelivered-To: {to}@here.example\nReceived:");
        assert!(file.starts_with(&head), "{file}");
        assert!(file.ends_with("\n\nHello.\n.leading dot\n"), "{file}");
    }
    assert_eq!(world.at(SENDER).got.len(), 1);
    assert_eq!(world.logged("delivered").len(), 3);
    world.assert_over();
}

/// A folder that refuses costs an attempt, a full disk none; the other mailbox
/// has its mail meanwhile.
///
/// Shows: S3.3
#[test]
fn a_full_disk_is_no_attempt_and_no_bounce() {
    let mut world = folders("max_attempts = 1\n");
    world.folders.next = [Fault::Short, Fault::Refused].into();
    world.accept(0, "a@from.example", &["ann@here.example", "bob@here.example"]);
    world.run_for(seconds(5));
    let attempts: Vec<_> = world.logged("deferred").iter().map(|l| l["attempt"].clone()).collect();
    assert_eq!(attempts, [0, 1]);
    world.folders.next = [Fault::Short, Fault::Short, Fault::Short].into();
    world.run_for(minutes(3));
    assert_eq!(world.logged("deferred").len(), 5, "the full disk again and again");
    world.run_for(minutes(5));
    assert_eq!(world.folders.files.len(), 2);
    assert_eq!(reports(&mut world), 0);
    world.assert_over();
}

/// The program ends when the file is there and nobody has heard of it: the
/// mailbox has it once, because the second copy is the same file.
#[test]
fn a_crash_after_the_file_makes_no_second_one() {
    let mut world = folders("");
    world.folders.next = [Fault::Silent].into();
    let id = world.accept(0, "a@from.example", &["ann@here.example"]);
    world.run_for(seconds(1));
    let report = world.crash(1);
    assert_eq!(report.in_doubt.len(), 1);
    assert_eq!(report.in_doubt[0].message, id);
    world.run_for(seconds(5));
    assert_eq!((world.folders.asked, world.folders.files.len()), (2, 1));
    world.assert_over();
}

/// A disk that does not answer holds nothing for ever, and what may have been
/// written is in doubt.
#[test]
fn a_write_that_does_not_end_is_given_up() {
    let mut world = folders("timeout = \"30s\"\n");
    world.folders.next = [Fault::Silent, Fault::Slow(Duration::from_secs(40))].into();
    world.accept(0, "a@from.example", &["ann@here.example"]);
    world.run_for(seconds(29));
    assert_eq!(world.logged("deferred").len(), 0);
    world.run_for(seconds(2));
    assert_eq!(world.logged("deferred")[0]["in_doubt"], true);
    world.run_for(minutes(6));
    assert_eq!(world.logged("deferred").len(), 2, "an answer that comes too late is nobody's");
    world.run_for(minutes(5));
    assert_eq!(world.folders.files.len(), 1);
    world.assert_over();
}

/// Each recipient has its own answer to one message, and only who was put off
/// is tried again. No name is looked up, no other host dialled.
///
/// Shows: S3.3
#[test]
fn lmtp_answers_for_each_recipient() {
    let store = Host::new().next(Stage::Dot, Act::Say(452, "mailbox full"), 1);
    let mut world = lmtp("", store);
    world.accept(0, "a@from.example", &["ann@here.example", "bob@here.example"]);
    world.run_for(seconds(5));
    assert_eq!(world.logged("delivered").len(), 1);
    assert_eq!(world.logged("delivered")[0]["to"], "bob@here.example");
    assert_eq!(world.logged("deferred")[0]["to"], "ann@here.example");
    world.run_for(minutes(6));
    // The script keeps nothing of a message whose first recipient it puts off.
    assert_eq!(world.at(STORE).got.len(), 1);
    assert_eq!(world.at(STORE).got[0].recipients, ["ann@here.example"]);
    assert_eq!(world.logged("lookup").len(), 0);
    world.assert_over();
}

/// Its server is down, and the default way would have an exchanger: the mail
/// waits, also when an operator sends it by another route.
///
/// Shows: S1.1
#[test]
fn a_local_domain_has_no_other_way() {
    let config = format!(
        "{}[[route]]\nmatch = \"*\"\nfallback = true\n",
        local("{ smtp = \"198.51.100.30\" }", "")
    );
    let mut world = world(&config, Host::new());
    world.names.exchanger("here.example", 10, "mx.there.example", [198, 51, 100, 7]);
    world.host(STORE, Host::new().always(Stage::Connect, Act::Drop));
    world.accept(0, "a@from.example", &["ann@here.example"]);
    world.run_for(minutes(20));
    assert!(world.logged("deferred").len() >= 3);
    assert_eq!(world.logged("fallback").len() + world.logged("lookup").len(), 0);
    assert_eq!(world.at([198, 51, 100, 7]).connects.len(), 0);
    world.at(STORE).mend();
    world.run_for(minutes(6));
    assert_eq!(world.at(STORE).got.len(), 1);
    world.assert_over();
}

/// What the client is told, what becomes of the mail, and what the sender
/// hears, under each rule.
///
/// Shows: S3.5
#[test]
fn each_rule_for_unknown_users_is_carried_out() {
    for (rule, answer, store, reports_sent, held) in [
        ("\"reject\"", 550, 0, 0, 0),
        ("\"bounce\"", 250, 0, 1, 0),
        ("\"hold\"", 250, 0, 0, 1),
        ("{ forward = \"ann@here.example\" }", 250, 1, 0, 0),
    ] {
        let mut world = lmtp(&format!("users = [\"ann\"]\nunknown = {rule}\n"), Host::new());
        let ticket = world.submit(0, "a@from.example", &["eve@here.example"], "Hello.");
        world.run_for(seconds(5));
        let said = world.ticket(ticket).answer.as_ref().map(|(code, _)| *code);
        assert_eq!(said, Some(answer), "{rule}");
        assert_eq!(world.at(STORE).got.len(), store, "{rule}");
        assert_eq!(reports(&mut world), reports_sent, "{rule}");
        assert_eq!(world.status()["recipients"]["held"], held, "{rule}");
        if held == 0 {
            world.assert_over();
        }
    }
}

/// Held mail stays held over a start; released, it is handed over although
/// nobody knows the user.
///
/// Shows: S3.5
#[test]
fn mail_held_for_nobody_waits_for_an_operator() {
    let mut world = lmtp("users = [\"ann\"]\nunknown = \"hold\"\n", Host::new());
    world.accept(0, "a@from.example", &["eve@here.example"]);
    world.run_for(seconds(5));
    world.crash(1);
    world.run_for(minutes(10));
    assert_eq!(world.status()["recipients"]["held"], 1);
    assert_eq!(world.at(STORE).got.len(), 0);
    world.act(control::QueueAct::Release, None);
    world.run_for(minutes(1));
    assert_eq!(world.at(STORE).delivered_to(), ["eve@here.example"]);
    world.assert_over();
}

/// The program ends between the 250 and the report: the start makes up for it,
/// and the mailbox of nobody gets nothing.
#[test]
fn an_unknown_user_is_found_again_after_a_crash() {
    let mut world = lmtp("users = [\"ann\"]\nunknown = \"bounce\"\n", Host::new());
    let ticket = world.submit(0, "a@from.example", &["eve@here.example"], "Hello.");
    world.run_until("an answer", |world| world.ticket(ticket).answer.is_some());
    world.crash(1);
    world.run_for(minutes(1));
    assert_eq!(reports(&mut world), 1);
    assert_eq!(world.at(STORE).got.len(), 0);
    world.assert_over();
}

/// An alias put in while the program runs changes whom the next message is for,
/// and a report to an alias finds its readers.
///
/// Shows: S3.4
#[test]
fn an_alias_changes_the_next_message() {
    let with =
        |rest: &str| local("{ lmtp = \"/run/lmtp\" }", &format!("users = [\"ann\"]\n{rest}\n"));
    let mut world = lmtp("users = [\"ann\"]\n", Host::new());
    let ticket = world.submit(0, "a@from.example", &["sales@here.example"], "One.");
    world.run_for(seconds(5));
    assert_eq!(world.ticket(ticket).answer.as_ref().map(|(code, _)| *code), Some(550));
    world.configure(&with("aliases = { sales = [\"ann\", \"b@from.example\"] }"));
    world.run_for(seconds(1));
    world.accept(0, "sales@here.example", &["sales@here.example", "no@gone.example"]);
    world.run_for(seconds(5));
    let told = world.at(STORE).delivered_to();
    assert_eq!(told, ["ann@here.example", "ann@here.example"], "the mail and the report");
    assert_eq!(world.at(SENDER).delivered_to(), ["b@from.example", "b@from.example"]);
    world.assert_over();
}
