//! Which next hop gets the mail, and what comes of mail that it cannot take.

use std::time::Duration;

use smtp::Extension;

use crate::stories_support::{HOST, NewHost, SENDER, world};
use sim::{Act, Host, Stage, World, minutes, seconds};

const EXACT: &str = "[delivery]\nretry = [\"5m\"]\njitter = \"0%\"\nlifetime = \"5d\"\n\
                     delay_notice = \"none\"\n";
const SPARE: [u8; 4] = [198, 51, 100, 8];

/// One exchanger with two addresses, the first of them dead or out of order:
/// the second gets the mail within the same attempt.
///
/// Proves: RFC 5321 §5.1
/// Covers: A2.20, B38
#[test]
fn the_second_address_of_a_host_stands_in() {
    for act in [Act::Drop, Act::Stall] {
        for stage in [Stage::Connect, Stage::Greeting] {
            let mut world = world(EXACT, Host::new().always(stage, act));
            world.names.address("mx.there.example", SPARE);
            world.host(SPARE, Host::new());
            world.accept(0, "a@from.example", &["b@there.example"]);
            world.run_for(minutes(10));
            assert_eq!(world.at(SPARE).delivered_to(), ["b@there.example"], "{stage:?} {act:?}");
            assert_eq!(world.logged("delivered")[0]["attempt"], 1, "{stage:?} {act:?}");
            assert_eq!(world.logged("deferred").len(), 0, "{stage:?} {act:?}");
            world.assert_over();
        }
    }
}

/// Each host says that it takes no mail: it comes back with the words of the
/// last one, after all were asked.
///
/// Proves: RFC 5321 §3.1
/// Covers: A2.2, B41
#[test]
fn mail_that_no_host_takes_comes_back() {
    let refusing = || Host::new().always(Stage::Greeting, Act::Say(554, "no mail here"));
    let mut world = world(EXACT, refusing());
    world.names.exchanger("there.example", 20, "mx2.there.example", SPARE);
    world.host(SPARE, refusing());
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(seconds(10));
    assert_eq!(world.at(HOST).connects.len(), 1);
    assert_eq!(world.at(SPARE).connects.len(), 1);
    assert_eq!(world.logged("failed").len(), 1);
    assert!(world.at(SENDER).got[0].body.contains("554"), "{}", world.at(SENDER).got[0].body);
    world.assert_over();
}

/// We are the domain's only exchanger, by name: 5.4.6, and nobody is dialled.
///
/// Proves: RFC 5321 §5.1
/// Covers: A2.26, A4.4, B59
/// Shows: S1.15
#[test]
fn mail_that_would_come_back_to_us_is_returned() {
    let mut world = world("", Host::new());
    for (domain, mx) in [("loop.example", "mail.sender.example"), ("mail.sender.example", "")] {
        if mx.is_empty() {
            world.names.address(domain, SPARE);
        } else {
            world.names.exchanger(domain, 10, mx, SPARE);
        }
        world.host(SPARE, Host::new());
        world.accept(0, "a@from.example", &[&format!("b@{domain}")]);
        world.run_for(seconds(10));
        let report = world.at(SENDER).got.pop().expect("a report");
        assert!(report.body.contains("\r\nStatus: 5.4.6\r\n"), "{domain}: {}", report.body);
        assert_eq!(world.at(SPARE).connects.len(), 0, "{domain}");
    }
    world.assert_over();
}

/// An address literal is its own next hop: no question is asked, and what may
/// not be dialled for an MX may not be for a literal.
///
/// Proves: RFC 5321 §4.1.3, RFC 5321 §5.1
/// Covers: A1.14, A2.30, A2.34, B79
#[test]
fn a_literal_asks_nobody_and_leads_nowhere_inside() {
    let mut world = World::new(1, "");
    for ip in [HOST, [127, 0, 0, 1], [10, 1, 2, 3], [169, 254, 169, 254]] {
        world.host(ip, Host::new());
        let [a, b, c, d] = ip;
        world.accept(0, "", &[&format!("b@[{a}.{b}.{c}.{d}]")]);
    }
    world.accept(0, "", &["b@[IPv6:::1]"]);
    world.accept(0, "", &["b@[IPv6:::ffff:127.0.0.1]"]);
    world.run_for(seconds(10));
    assert_eq!(world.at(HOST).delivered_to(), ["b@[198.51.100.7]"]);
    assert_eq!(world.network.dialled.len(), 1, "{:?}", world.network.dialled);
    assert_eq!(world.logged("failed").len(), 5);
    assert_eq!(world.names.asked, [""; 0]);
    world.assert_over();
}

/// The next hop cannot take the message as it is, and says so in its EHLO: the
/// mail comes back at once with the reason, and no byte of it was sent.
///
/// Proves: RFC 1870 §6.2, RFC 6531 §3.5, RFC 6152 §3
/// Covers: A4.4, A6.3, A6.12, A6.15, B56, B57
#[test]
fn what_the_next_hop_cannot_take_is_returned() {
    let small = || Host::new().with_size(1_000);
    let seven = || Host::new().without(Extension::EightBitMime);
    let ascii = || Host::new().without(Extension::SmtpUtf8);
    let large = "x\r\n".repeat(500);
    let parts = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
                 --b\r\n\r\nGr\u{fc}\u{df}e\r\n--b--\r\n";
    let cases: [(NewHost, &str, &str, &str, &str); 4] = [
        (small, "", "b@there.example", &large, "5.3.4"),
        (seven, " BODY=8BITMIME", "b@there.example", parts, "5.6.3"),
        (ascii, " SMTPUTF8", "j\u{f6}rg@there.example", "Subject: x\r\n\r\nx\r\n", "5.6.7"),
        (ascii, " SMTPUTF8", "b@there.example", "Subject: \u{fc}\r\n\r\nx\r\n", "5.6.7"),
    ];
    for (host, parameters, to, content, status) in cases {
        let mut world = world(EXACT, host());
        let said = [
            "EHLO client.example\r\n".to_owned(),
            format!("MAIL FROM:<a@from.example>{parameters}\r\n"),
            format!("RCPT TO:<{to}>\r\n"),
            "DATA\r\n".to_owned(),
            format!("{content}.\r\n"),
            "QUIT\r\n".to_owned(),
        ];
        world.session(0, said.map(String::into_bytes).into());
        world.run_for(seconds(10));
        assert_eq!(world.at(HOST).got.len(), 0, "{status}");
        let failed = world.logged("failed");
        assert_eq!(failed.len(), 1, "{status}");
        assert_eq!(failed[0]["status"], status);
        let report = &world.at(SENDER).got;
        assert_eq!(report.len(), 1, "{status}");
        assert!(
            report[0].body.contains(&format!("\r\nStatus: {status}\r\n")),
            "{}",
            report[0].body
        );
        world.assert_over();
    }
}

/// Some clients ask for SMTPUTF8 with whatever they send. What has nothing but
/// ASCII in it needs none, and a host without it gets the mail like any other:
/// it came back before, all of it.
///
/// Proves: RFC 6531 §3.2
/// Covers: A6.15, B57
#[test]
fn ascii_mail_needs_no_smtputf8_whatever_its_client_asked_for() {
    let hosts: [NewHost; 2] = [
        || Host::new().without(Extension::SmtpUtf8),
        || Host::new().without(Extension::SmtpUtf8).without(Extension::EightBitMime),
    ];
    for host in hosts {
        for parameters in [" SMTPUTF8", " BODY=8BITMIME SMTPUTF8"] {
            let mut world = world(EXACT, host());
            let said = [
                "EHLO client.example\r\n".to_owned(),
                format!("MAIL FROM:<a@from.example>{parameters}\r\n"),
                "RCPT TO:<b@there.example>\r\n".to_owned(),
                "DATA\r\n".to_owned(),
                "Subject: x\r\n\r\nx\r\n.\r\n".to_owned(),
                "QUIT\r\n".to_owned(),
            ];
            world.session(0, said.map(String::into_bytes).into());
            world.run_for(seconds(10));
            assert_eq!(world.logged("failed").len(), 0, "{parameters}");
            assert_eq!(world.at(HOST).delivered_to(), ["b@there.example"], "{parameters}");
            world.assert_over();
        }
    }
}

/// The dots that quote dots on the wire are no part of a message's size: mail
/// that the next hop has room for is not returned for them.
///
/// Proves: RFC 1870 §5
/// Covers: A6.3, B56
#[test]
fn stuffed_dots_do_not_count() {
    for (room, taken) in [(1_300, true), (1_100, false)] {
        let mut world = world(EXACT, Host::new().with_size(room));
        // 900 octets as meant, 1200 on the wire; the fields in front take 250.
        let content = format!("\r\n{}.\r\n", "..\r\n".repeat(300));
        let said = [
            "EHLO client.example\r\n",
            "MAIL FROM:<a@from.example>\r\n",
            "RCPT TO:<b@there.example>\r\n",
            "DATA\r\n",
            &content,
            "QUIT\r\n",
        ];
        world.session(0, said.map(|line| line.as_bytes().to_vec()).into());
        world.run_for(seconds(10));
        let got = &world.at(HOST).got;
        assert_eq!(got.len(), usize::from(taken), "{room}");
        assert!(got.iter().all(|got| got.body.len() > 1_300), "the wire has more");
        assert_eq!(world.logged("failed").len(), usize::from(!taken), "{room}");
        world.assert_over();
    }
}

/// A host that takes two connections at a time and says 421 to more: it gets
/// all its mail, and is not pestered meanwhile.
///
/// Covers: A2.8, B53
#[test]
fn a_host_that_limits_its_connections_gets_everything() {
    let config = "[delivery]\nconnections = 20\nmessages_per_connection = 20\nretry = [\"5m\"]\n";
    let mut world = world(config, Host::new().slow(100).with_connections(2));
    for n in 0..400 {
        world.submit(0, "a@from.example", &[&format!("{n}@there.example")], "x");
    }
    world.run_for(minutes(60));
    assert_eq!(world.at(HOST).got.len(), 400);
    assert_eq!(world.logged("failed").len() + world.logged("expired").len(), 0);
    let connects = world.at(HOST).connects.len();
    assert!(connects < 200, "{connects} connections for 20 that would do");
    world.assert_over();
}

/// Four destinations that never answer, or answer a byte's worth at a time, each
/// with more mail than connections: the others' mail goes out as if they were
/// not there.
///
/// Covers: B54
#[test]
fn slow_destinations_hold_up_nobody_else() {
    let mut world = world("[delivery]\nconnections = 4\n", Host::new());
    let slow: [(u8, Host); 4] = [
        (21, Host::new().always(Stage::Connect, Act::Stall)),
        (22, Host::new().always(Stage::Greeting, Act::Stall)),
        (23, Host::new().always(Stage::Dot, Act::Stall)),
        (24, Host::new().slow(1)),
    ];
    for (last, host) in slow {
        let domain = format!("d{last}.example");
        world.names.exchanger(&domain, 10, &format!("mx.{domain}"), [198, 51, 100, last]);
        world.host([198, 51, 100, last], host);
        for n in 0..50 {
            world.submit(0, "", &[&format!("{n}@{domain}")], &"x\n".repeat(2_000));
        }
    }
    world.run_for(seconds(2));
    let began = world.now.mono;
    for n in 0..200 {
        world.submit(0, "", &[&format!("{n}@there.example")], "x");
    }
    world.run_until("the others' mail", |world| world.at(HOST).got.len() == 200);
    let took = world.now.mono.since(began);
    assert!(took < seconds(2), "{took:?} for 200 messages to a host that takes all");
    world.act(control::QueueAct::Remove, None);
}

/// A bit flips in the body of waiting mail: it is held and said so, and never
/// sent; other mail goes on.
///
/// Covers: B17
#[test]
fn a_damaged_body_is_held_and_never_sent() {
    let mut world = world(EXACT, Host::new().next(Stage::Rcpt, Act::Say(450, "later"), 2));
    let bad = world.accept(0, "a@from.example", &["b@there.example"]);
    world.accept(0, "a@from.example", &["c@there.example"]);
    world.run_for(seconds(10));
    let segment = world.medium.bytes_mut(bad.segment);
    let at = bad.offset as usize;
    let body = segment[at..].windows(6).position(|bytes| bytes == b"Hello.");
    segment[at + body.expect("the body is in its record")] ^= 0x20;
    world.run_for(minutes(30));
    assert_eq!(world.at(HOST).delivered_to(), ["c@there.example"]);
    assert_eq!(world.logged("quarantined").len(), 1);
    let rows = world.rows();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((&rows[0]["id"], &rows[0]["state"]), (&bad.to_string().into(), &"held".into()));
    world.act(control::QueueAct::Remove, Some(bad));
    world.assert_over();
}

/// The wall clock is set ahead by a year, or back by one: waiting mail neither
/// ends nor is forgotten, and goes out at its time.
///
/// Covers: B31
#[test]
fn a_clock_that_jumps_ends_no_mail_and_stops_none() {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    for ahead in [true, false] {
        let mut world = world(EXACT, Host::new().next(Stage::Rcpt, Act::Say(450, "later"), 3));
        world.accept(0, "a@from.example", &["b@there.example"]);
        world.run_for(minutes(1));
        let wall = world.now.wall;
        world.now.wall = if ahead { wall + YEAR } else { wall - YEAR };
        world.run_for(minutes(17));
        assert_eq!(world.logged("expired").len(), 0, "{ahead}");
        assert_eq!(world.at(HOST).delivered_to(), ["b@there.example"], "{ahead}");
        world.assert_over();
    }
}

/// The clock was a year ahead, and is put right while the program is not
/// running: what was put off until then is tried within one wait of the retry
/// list, and what nobody takes still ends with its lifetime.
///
/// Covers: B31
#[test]
fn a_clock_that_is_put_back_over_a_restart_stalls_nothing() {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    let mut world = world(EXACT, Host::new().next(Stage::Rcpt, Act::Say(450, "later"), 3));
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(minutes(1));
    assert_eq!(world.at(HOST).delivered_to(), [""; 0]);
    world.crash(1);
    let wall = world.now.wall;
    world.now.wall = wall - YEAR;
    world.run_for(minutes(17));
    assert_eq!(world.at(HOST).delivered_to(), ["b@there.example"]);
    world.assert_over();
}

/// The same with mail that nobody takes: it ends five days after the start, not
/// a year after that.
///
/// Covers: B31
#[test]
fn a_clock_that_is_put_back_over_a_restart_lets_mail_end() {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    let mut world = world(EXACT, Host::new().always(Stage::Rcpt, Act::Say(450, "later")));
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(minutes(1));
    world.crash(1);
    let wall = world.now.wall;
    world.now.wall = wall - YEAR;
    world.run_for(minutes(5 * 24 * 60 - 10));
    assert_eq!(world.logged("expired").len(), 0);
    world.run_for(minutes(20));
    assert_eq!(world.logged("expired").len(), 1);
}

/// A preferred exchanger that an operator pinned as down is passed over; the
/// list names what was learned of both; unpinned, it is preferred again.
///
/// Shows: S3.17
#[test]
fn a_host_pinned_as_down_is_passed_over() {
    let mut world = world("", Host::new());
    world.names.exchanger("there.example", 20, "mx2.there.example", SPARE);
    world.host(SPARE, Host::new());
    let pin = |world: &mut World, pin| {
        let address = (HOST, 25).into();
        let answer = world.command(control::Request::HostsPin { address, pin });
        assert_eq!(answer.status, 200, "{:?}", answer.body);
    };
    pin(&mut world, Some(control::api::Pin::Down));
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(minutes(10));
    assert_eq!((world.at(HOST).got.len(), world.at(SPARE).got.len()), (0, 1));
    let hosts = world.command(control::Request::HostsList(10)).body["hosts"].clone();
    assert_eq!(hosts[0]["pinned"], "down");
    assert_eq!(hosts[0]["down"], "pinned as down");
    assert!(hosts[1]["last_good"].is_string(), "{hosts}");
    pin(&mut world, None);
    world.accept(0, "a@from.example", &["c@there.example"]);
    world.run_for(minutes(1));
    assert_eq!(world.at(HOST).got.len(), 1);
    world.assert_over();
}
