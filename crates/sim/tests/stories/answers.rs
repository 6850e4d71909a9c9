//! What a host says, and what becomes of the mail.

use std::time::Duration;

use mail::Body;
use smtp::Extension;

use crate::stories_support::{HOST, SENDER, world};
use sim::{Act, Host, START, Stage, minutes, seconds};

const EXACT: &str = "[delivery]\nretry = [\"5m\", \"10m\"]\njitter = \"0%\"\nlifetime = \"5d\"\ndelay_notice = \"none\"\n";

/// 4xx at each command, twice: tried again after 5 and 10 minutes, not sooner,
/// and the third attempt delivers.
///
/// Covers: A2.7, B40, B52
/// Shows: S1.4, S4.2
#[test]
fn a_4xx_is_tried_again_at_its_time() {
    for stage in [Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Dot] {
        let mut world = world(EXACT, Host::new().next(stage, Act::Say(451, "later"), 2));
        world.accept(0, "a@from.example", &["b@there.example"]);
        world.run_until("delivery", |world| !world.at(HOST).got.is_empty());
        let at = world.at(HOST).got[0].at.wall.since(START);
        assert!(at >= minutes(15) && at < minutes(15) + seconds(3), "{stage:?}: {at:?}");
        world.run_for(seconds(1));
        let attempts: Vec<u64> =
            world.logged("deferred").iter().map(|l| l["attempt"].as_u64().unwrap()).collect();
        assert_eq!(attempts, [1, 2], "{stage:?}");
        assert_eq!(world.logged("delivered")[0]["attempt"], 3, "{stage:?}");
        world.assert_over();
    }
}

/// 5xx at each command: bounced at once, with one report to the sender.
///
/// Covers: A2.7, A2.33, A7.9, B41
#[test]
fn a_5xx_is_the_end_and_the_sender_hears_of_it() {
    for stage in [Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Dot] {
        let mut world = world(EXACT, Host::new().always(stage, Act::Say(550, "no")));
        world.accept(0, "a@from.example", &["b@there.example"]);
        world.run_for(seconds(10));
        assert_eq!(world.logged("failed").len(), 1, "{stage:?}");
        let report = &world.at(SENDER).got;
        assert_eq!(report.len(), 1, "{stage:?}");
        assert_eq!(
            (report[0].sender.as_str(), report[0].recipients[0].as_str()),
            ("", "a@from.example")
        );
        assert!(
            report[0].body.contains("Final-Recipient: rfc822; b@there.example"),
            "{}",
            report[0].body
        );
        world.assert_over();
    }
}

/// The host goes away or falls silent at each stage before the dot: nothing is
/// in doubt, the attempt counts, and the mail goes out later.
///
/// Covers: A2.9, B38, B39, B42
/// Shows: S2.12
#[test]
fn a_host_that_drops_or_stalls_before_the_dot_defers() {
    let stages = [
        Stage::Connect,
        Stage::Greeting,
        Stage::Ehlo,
        Stage::Mail,
        Stage::Rcpt,
        Stage::Data,
        Stage::Body,
    ];
    for stage in stages {
        for act in [Act::Drop, Act::Stall] {
            // Two: a session that sent ahead tries once more without.
            let times =
                if matches!(stage, Stage::Mail | Stage::Rcpt | Stage::Data) { 2 } else { 1 };
            let host = Host::new().next(stage, act, times).slow(100);
            let mut world = world(EXACT, host);
            world.accept(0, "a@from.example", &["b@there.example"]);
            world.run_for(minutes(60));
            assert_eq!(world.at(HOST).got.len(), 1, "{stage:?} {act:?}");
            let deferred = world.logged("deferred");
            assert_eq!(deferred.len(), 1, "{stage:?} {act:?}");
            assert_eq!(deferred[0].get("in_doubt"), None, "{stage:?} {act:?}");
            world.assert_over();
        }
    }
}

/// The 250 to the dot is lost: the recipient is in doubt, the log says so, and
/// it is sent again.
///
/// Covers: A2.10, B43
#[test]
fn a_lost_250_is_in_doubt_and_sent_again() {
    for act in [Act::LoseReply, Act::Stall] {
        let mut world = world(EXACT, Host::new().next(Stage::Dot, act, 1));
        let id = world.accept(0, "a@from.example", &["b@there.example"]);
        world.run_for(minutes(12));
        let deferred = world.logged("deferred");
        assert_eq!(deferred.len(), 1);
        assert_eq!(deferred[0]["in_doubt"], true, "{act:?}");
        assert_eq!(deferred[0]["id"], id.to_string());
        world.run_for(minutes(10));
        assert_eq!(world.logged("delivered").len(), 1, "{act:?}");
        world.assert_over();
    }
}

/// A host takes a message so slowly that its time is over a moment before its
/// end: the host does not get the rest of it while the connection closes. It would
/// have kept a copy of mail that is put off as not sent, and of every attempt
/// after that.
///
/// Covers: A2.9, A2.13
#[test]
fn a_message_whose_time_is_over_does_not_get_to_its_end() {
    let config = format!("{EXACT}timeout = {{ data_block = \"1s\" }}\n");
    let mut world = world(&config, Host::new().slow(1));
    // A thousand octets a second, and the least rate is 1024.
    world.submit(0, "a@from.example", &["b@there.example"], &"x\n".repeat(13_333));
    world.run_for(minutes(3));
    let deferred = world.logged("deferred");
    assert_eq!(deferred.len(), 1);
    assert_eq!(deferred[0].get("in_doubt"), None);
    assert_eq!(world.at(HOST).got.len(), 0, "a copy that nobody knows of");
    world.at(HOST).pace = usize::MAX;
    world.run_for(minutes(10));
    assert_eq!(world.at(HOST).got.len(), 1);
    world.assert_over();
}

/// A host says 421 in the midst of things: the mail is tried again.
///
/// Covers: A2.8, B40, B53
#[test]
fn a_421_ends_the_session_and_defers() {
    for stage in [Stage::Greeting, Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Dot] {
        let mut world = world(EXACT, Host::new().next(stage, Act::Say(421, "busy"), 1));
        world.accept(0, "a@from.example", &["b@there.example"]);
        world.run_for(minutes(30));
        assert_eq!(world.at(HOST).got.len(), 1, "{stage:?}");
        assert_eq!(world.logged("deferred").len(), 1, "{stage:?}");
        world.assert_over();
    }
}

/// A host takes two recipients in a transaction: the others go in the next one
/// at once, and it is no attempt of theirs.
/// Proves: RFC 5321 §4.5.3.1.10
/// Covers: A2.14, B50
#[test]
fn too_many_recipients_go_in_the_next_transaction() {
    let mut world = world(EXACT, Host::new());
    let full = Act::Say(452, "too many");
    world.host(HOST, Host::new().after(2, Stage::Rcpt, full));
    let to = ["a@there.example", "b@there.example", "c@there.example"];
    world.accept(0, "s@from.example", &to);
    world.run_until("two recipients", |world| world.at(HOST).got.len() == 1);
    world.at(HOST).mend();
    world.run_for(seconds(10));
    assert_eq!(world.at(HOST).delivered_to(), to);
    assert_eq!(world.logged("deferred").len(), 0);
    assert!(world.logged("delivered").iter().all(|line| line["attempt"] == 1));
    world.assert_over();
}

/// The handshake fails, stalls or breaks the connection: the same host gets the
/// mail without TLS, in the same attempt; a route that demands TLS waits.
///
/// Covers: A5.6, B64
/// Shows: A61
#[test]
fn broken_tls_is_done_without_where_that_is_allowed() {
    for act in [Act::Say(454, "handshake"), Act::Drop, Act::Stall] {
        let host = || Host::new().with_tls().always(Stage::Handshake, act);
        let mut open = world(EXACT, host());
        open.accept(0, "a@from.example", &["b@there.example"]);
        open.run_for(minutes(2));
        assert_eq!(open.at(HOST).got.len(), 1, "{act:?}");
        assert!(!open.at(HOST).got[0].tls);
        assert_eq!(open.logged("deferred").len(), 0, "{act:?}");
        open.assert_over();
        let strict = EXACT.replace("5d", "20m") + "tls = \"required\"\n";
        let mut strict = world(&strict, host());
        strict.accept(0, "", &["b@there.example"]);
        strict.run_for(minutes(25));
        assert_eq!(strict.at(HOST).got.len(), 0, "{act:?}");
        assert_eq!(strict.logged("expired").len(), 1, "{act:?}");
        strict.assert_over();
    }
}

/// A handshake fails once, and the host takes no mail without TLS: that is no
/// end for the mail that meets it, or whoever can break a handshake could have
/// all mail of a domain returned for an hour. The next attempt is made with TLS.
///
/// Proves: RFC 3207 §4.1
/// Covers: A5.6, B64
#[test]
fn a_host_that_demands_the_tls_it_failed_at_defers() {
    let demands: [(u16, &str, Stage); 3] = [
        (530, "Must issue a STARTTLS command first", Stage::Mail),
        (523, "Encryption needed", Stage::Mail),
        (530, "Must issue a STARTTLS command first", Stage::Rcpt),
    ];
    for (code, words, stage) in demands {
        let host = Host::new().with_tls().next(Stage::Handshake, Act::Stall, 1);
        let mut world = world(EXACT, host.next(stage, Act::Say(code, words), 1));
        world.accept(0, "a@from.example", &["b@there.example"]);
        world.run_for(minutes(2));
        assert_eq!(world.logged("failed").len(), 0, "{code} {stage:?}");
        assert_eq!(world.logged("deferred").len(), 1, "{code} {stage:?}");
        world.run_for(minutes(6));
        assert_eq!(world.at(HOST).got.len(), 1, "{code} {stage:?}");
        assert!(world.at(HOST).got[0].tls, "{code} {stage:?}");
        world.assert_over();
    }
    // Nothing is spared where no TLS was to be had, or it stands.
    for host in [Host::new(), Host::new().with_tls()] {
        let host = host.always(Stage::Mail, Act::Say(530, "Authentication required"));
        let mut world = world(EXACT, host);
        world.accept(0, "a@from.example", &["b@there.example"]);
        world.run_for(minutes(2));
        assert_eq!(world.logged("failed").len(), 1);
        world.assert_over();
    }
}

/// 8-bit mail to a host that takes 7 bits only is converted and delivered once,
/// whether or not its client declared what it sent; a host that takes 8 bits
/// gets it as it is, and declared.
///
/// Proves: RFC 6152 §3
/// Covers: A6.12, A6.13, B57
#[test]
fn eight_bit_mail_is_converted_for_a_host_of_seven() {
    let content = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
                   Content-Transfer-Encoding: 8bit\r\n\r\nGr\u{fc}\u{df}e\r\n.\r\n";
    for declared in [" BODY=8BITMIME", " BODY=7BIT", ""] {
        for seven in [true, false] {
            let host = Host::new();
            let host = if seven { host.without(Extension::EightBitMime) } else { host };
            let mut world = world(EXACT, host);
            let mail = format!("MAIL FROM:<a@from.example>{declared}\r\n");
            let to_say = [
                "EHLO c.example\r\n",
                &mail,
                "RCPT TO:<b@there.example>\r\n",
                "DATA\r\n",
                content,
                "QUIT\r\n",
            ];
            world.session(0, to_say.iter().map(|line| line.as_bytes().to_vec()).collect());
            world.run_for(minutes(20));
            let got = &world.at(HOST).got;
            assert_eq!(got.len(), 1);
            let (kind, end) = match seven {
                true => (Body::SevenBit, "Gr=C3=BC=C3=9Fe\r\n"),
                false => (Body::EightBit, "Gr\u{fc}\u{df}e\r\n"),
            };
            assert_eq!(got[0].kind, kind, "{declared:?}");
            assert!(got[0].body.ends_with(end), "{declared:?}: {}", got[0].body);
            assert_eq!(world.logged("delivered").len(), 1);
            world.assert_over();
        }
    }
}

/// Our own machine cannot open a socket: no attempt is counted, and the mail
/// goes out as soon as it can.
///
/// Covers: B24, B61
#[test]
fn our_own_shortage_is_nobodys_attempt() {
    let mut world = world(EXACT, Host::new().next(Stage::Connect, Act::Shortage, 30));
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(seconds(60));
    assert_eq!(world.at(HOST).got.len(), 1);
    assert_eq!(world.logged("deferred").len(), 0);
    assert_eq!(world.logged("delivered")[0]["attempt"], 1);
    assert_eq!(world.logged("shortage").len(), 30, "one try a second");
    world.assert_over();
}

/// Many messages share one connection, and a connection carries no more than
/// it may.
///
/// Shows: A21
#[test]
fn a_connection_carries_many_messages_up_to_its_bound() {
    let config = "[delivery]\nconnections = 1\nmessages_per_connection = 10\n";
    let mut world = world(config, Host::new());
    for n in 0..30 {
        world.submit(0, "a@from.example", &[&format!("{n}@there.example")], "x");
    }
    world.run_for(seconds(5));
    assert_eq!(world.at(HOST).got.len(), 30);
    assert_eq!(world.at(HOST).connects.len(), 3);
    assert_eq!(world.at(HOST).peak, 1);
    world.assert_over();
}

/// A host takes so many messages over a connection and then ends it, with 421 or
/// without a word: it gets all its mail over new ones, at once. That a connection
/// is used up says nothing of the host, and is no attempt of the mail that comes
/// next.
///
/// Covers: A2.8, B42, B53
#[test]
fn a_host_that_ends_connections_early_gets_everything_at_once() {
    for (messages, hangs_up) in [(1, false), (1, true), (7, false), (7, true)] {
        let mut host = Host::new();
        (host.kind.messages_max, host.kind.hangs_up) = (Some(messages), hangs_up);
        let mut world = world(&format!("{EXACT}connections = 1\n"), host);
        for n in 0..21 {
            world.submit(0, "a@from.example", &[&format!("{n}@there.example")], "x");
        }
        world.run_for(seconds(10));
        let told = format!("{messages} {hangs_up}");
        assert_eq!(world.at(HOST).got.len(), 21, "{told}");
        assert_eq!(world.at(HOST).connects.len(), 21 / messages as usize, "{told}");
        for event in ["deferred", "host-failed", "site-down"] {
            assert_eq!(world.logged(event).len(), 0, "{told} {event}");
        }
        world.assert_over();
    }
}

/// A host says that there is no such user and hangs up, as some do at each: other
/// mail for it goes out at once. Who refuses a recipient has answered, and his
/// site does not wait as one that nobody can reach.
///
/// Covers: A2.8, B41, B42
#[test]
fn a_host_that_refuses_a_recipient_and_hangs_up_is_up() {
    for stage in [Stage::Rcpt, Stage::Mail] {
        for ahead in [true, false] {
            let host = Host::new().next(stage, Act::SayLast(550, "no such user"), 3);
            let host = if ahead { host } else { host.without(Extension::Pipelining) };
            let mut world = world(&format!("{EXACT}connections = 1\n"), host);
            for n in 0..6 {
                world.submit(0, "", &[&format!("{n}@there.example")], "x");
            }
            world.run_for(seconds(10));
            assert_eq!(world.logged("failed").len(), 3, "{stage:?} {ahead}");
            assert_eq!(world.at(HOST).got.len(), 3, "{stage:?} {ahead}");
            for event in ["deferred", "host-failed", "site-down"] {
                assert_eq!(world.logged(event).len(), 0, "{stage:?} {ahead} {event}");
            }
            world.assert_over();
        }
    }
}

/// Mail comes just when an idle connection says goodbye: it takes another one.
#[test]
fn mail_that_meets_a_closing_connection_takes_another() {
    for late in 0..8 {
        let mut world = world(EXACT, Host::new());
        world.accept(0, "a@from.example", &["1@there.example"]);
        world.run_until("delivery", |world| world.logged("delivered").len() == 1);
        let idle = Duration::from_millis(4_990 - 13 + late);
        world.run_for(idle);
        for n in 2..5 {
            world.submit(0, "a@from.example", &[&format!("{n}@there.example")], "x");
        }
        world.run_for(seconds(5));
        assert_eq!(world.at(HOST).got.len(), 4);
        world.assert_over();
    }
}
