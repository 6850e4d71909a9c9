//! Reports to senders, and the end of mail that cannot be delivered.

use crate::stories_support::{HOST, NewHost, SENDER, world};
use sim::{Act, Host, START, Stage, World, minutes, seconds};

const SHORT: &str = "[delivery]\nretry = [\"5m\"]\njitter = \"0%\"\nlifetime = \"1h\"\n\
                     delay_notice = \"none\"\n";

/// The lifetime ends while every attempt is refused, while the host is dead,
/// and while the name server fails: one report, within a second of the hour.
///
/// Covers: A2.18, A2.32, A7.13, B60
/// Shows: S1.5, S2.10
#[test]
fn mail_ends_with_its_lifetime_and_one_report() {
    let hosts = [
        Host::new().always(Stage::Rcpt, Act::Say(451, "later")),
        Host::new().always(Stage::Connect, Act::Drop),
        Host::new().always(Stage::Connect, Act::Stall),
    ];
    for (n, host) in hosts.into_iter().enumerate() {
        let mut world = world(SHORT, host);
        world.accept(0, "a@from.example", &["b@there.example", "c@there.example"]);
        world.run_until("the end", |world| world.logged("expired").len() == 2);
        let at = world.now.wall.since(START);
        assert!(at >= minutes(60) && at < minutes(60) + seconds(31), "case {n}: {at:?}");
        world.run_for(seconds(10));
        assert_eq!(world.at(SENDER).got.len(), 1, "case {n}: one report for both");
        let report = world.at(SENDER).got[0].clone();
        assert_eq!(report.sender, "", "case {n}");
        assert!(report.body.contains("Final-Recipient: rfc822; b@there.example"));
        assert!(report.body.contains("Final-Recipient: rfc822; c@there.example"));
        world.assert_over();
    }
}

/// Attempts used up: the third attempt is the last where two retries are
/// allowed.
///
/// Shows: S4.1
#[test]
fn mail_ends_with_its_attempts() {
    let config = SHORT.replace("\"1h\"", "\"5d\"\nmax_attempts = 2");
    let mut world = world(&config, Host::new().always(Stage::Rcpt, Act::Say(451, "later")));
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(minutes(30));
    assert_eq!(world.at(HOST).connects.len(), 3);
    assert_eq!(world.logged("expired").len(), 1);
    assert_eq!(world.at(SENDER).got.len(), 1);
    world.assert_over();
}

/// A null sender gets no report, and neither does a report.
/// Proves: RFC 5321 §6.1
/// Covers: A1.33, A2.33, A7.14, A7.15, B58
#[test]
fn nobody_is_told_of_mail_from_nobody() {
    let mut world = world(SHORT, Host::new().always(Stage::Rcpt, Act::Say(550, "no")));
    world.accept(0, "", &["b@there.example"]);
    world.run_for(seconds(10));
    assert_eq!(world.logged("failed").len(), 1);
    assert_eq!(world.logged("report").len(), 0);
    // A report that cannot be delivered itself.
    world.host(SENDER, Host::new().always(Stage::Rcpt, Act::Say(550, "no")));
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(seconds(10));
    assert_eq!(world.logged("failed").len(), 3);
    assert_eq!(world.logged("report").len(), 1);
    world.assert_over();
}

/// The sender's domain is owned by another shard than the recipient's.
#[test]
fn a_report_finds_its_way_over_shards() {
    for shard in [0, 1] {
        let mut world = World::new(2, SHORT);
        world.names.exchanger("there.example", 10, "mx.there.example", HOST);
        world.names.exchanger("from.example", 10, "mx.from.example", SENDER);
        world.host(HOST, Host::new().always(Stage::Rcpt, Act::Say(550, "no")));
        world.host(SENDER, Host::new());
        world.accept(shard, "a@from.example", &["b@there.example"]);
        world.run_for(seconds(10));
        assert_eq!(world.at(SENDER).delivered_to(), ["a@from.example"]);
        world.assert_over();
    }
}

/// Some recipients fail and some succeed: the report names the failed ones
/// only.
///
/// Covers: A7.13, B50
#[test]
fn a_report_names_those_it_is_about() {
    let mut world = world(SHORT, Host::new().next(Stage::Rcpt, Act::Say(550, "no"), 1));
    world.accept(0, "a@from.example", &["b@there.example", "c@there.example"]);
    world.run_for(seconds(10));
    assert_eq!(world.at(HOST).delivered_to(), ["c@there.example"]);
    let report = &world.at(SENDER).got[0].body;
    assert!(report.contains("Final-Recipient: rfc822; b@there.example"));
    assert!(!report.contains("Final-Recipient: rfc822; c@there.example"));
    world.assert_over();
}

/// Mail that is late is told of once.
///
/// Covers: A7.7
#[test]
fn a_delay_is_told_of_once() {
    let config = SHORT.replace("\"none\"", "\"20m\"");
    let mut world = world(&config, Host::new().next(Stage::Rcpt, Act::Say(451, "later"), 8));
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(minutes(55));
    assert_eq!(world.at(HOST).got.len(), 1);
    let reports: Vec<String> = world.at(SENDER).got.iter().map(|got| got.body.clone()).collect();
    assert_eq!(reports.len(), 1);
    assert!(reports[0].contains("Action: delayed"), "{}", reports[0]);
    world.assert_over();
}

/// NOTIFY decides who hears of what: of nothing, of the end, of a delay, of
/// success where the next hop cannot tell; to one that can the duty is passed.
///
/// Proves: RFC 3461 §4.1, RFC 3461 §5.2.1, RFC 3461 §5.2.2, RFC 3461 §5.2.5
/// Covers: A7.4, A7.5, A7.6, A7.7
#[test]
fn notify_is_obeyed() {
    let config = SHORT.replace("\"none\"", "\"20m\"");
    let refusing = || Host::new().always(Stage::Rcpt, Act::Say(550, "no"));
    let putting_off = || Host::new().always(Stage::Rcpt, Act::Say(451, "later"));
    let without_dsn = || Host::new().without(smtp::Extension::Dsn);
    let cases: [(NewHost, &str, &[&str]); 11] = [
        (refusing, "NEVER", &[]),
        (refusing, "FAILURE", &["failed"]),
        (refusing, "SUCCESS,DELAY", &[]),
        (putting_off, "NEVER", &[]),
        (putting_off, "DELAY", &["delayed"]),
        (putting_off, "FAILURE", &["failed"]),
        (putting_off, "FAILURE,DELAY", &["delayed", "failed"]),
        (without_dsn, "NEVER", &[]),
        (without_dsn, "FAILURE,DELAY", &[]),
        (without_dsn, "SUCCESS", &["relayed"]),
        (Host::new, "SUCCESS", &[]),
    ];
    for (host, notify, actions) in cases {
        let mut world = world(&config, host());
        let rcpt = format!("RCPT TO:<b@there.example> NOTIFY={notify}\r\n");
        let to_say = [
            "EHLO c.example\r\n",
            "MAIL FROM:<a@from.example>\r\n",
            &rcpt,
            "DATA\r\n",
            "x\r\n.\r\n",
            "QUIT\r\n",
        ];
        world.session(0, to_say.iter().map(|line| line.as_bytes().to_vec()).collect());
        world.run_for(minutes(61));
        let reports = world.at(SENDER).got.iter();
        let told: Vec<&str> = reports.map(|got| field(&got.body, "Action")).collect();
        assert_eq!(told, actions, "{notify}");
        if let Some(got) = world.at(HOST).got.first() {
            let expected = if actions.is_empty() && notify == "SUCCESS" { notify } else { "" };
            assert_eq!(got.notify[0].to_string(), expected);
        }
        world.assert_over();
    }
}

/// The value of a field that stands in a report once.
fn field<'a>(report: &'a str, name: &str) -> &'a str {
    let mark = format!("\r\n{name}: ");
    let (_, rest) = report.split_once(&mark).unwrap_or_else(|| panic!("no {name} in {report}"));
    assert!(!rest.contains(&mark), "{name} stands there twice: {report}");
    rest.split("\r\n").next().expect("a split has a first part")
}

/// Reports are told apart and ask for none of their own; what ran out of attempts
/// failed with the code of what it met last, what ran out of time with 4.4.7.
///
/// Proves: RFC 3461 §6.1, RFC 5322 §3.6.4, RFC 3464 §2.3.4
/// Covers: A3.5, A4.4, A7.9, A7.12
/// Shows: S4.2
#[test]
fn each_report_is_one_of_its_own_kind() {
    let cases: [(NewHost, &str); 4] = [
        (|| Host::new().always(Stage::Connect, Act::Drop), "4.4.1"),
        (|| Host::new().always(Stage::Greeting, Act::Drop), "4.4.2"),
        (|| Host::new().always(Stage::Rcpt, Act::Say(450, "busy")), "4.0.0"),
        (|| Host::new().always(Stage::Rcpt, Act::Say(550, "no")), "5.0.0"),
    ];
    for (host, status) in cases {
        let mut world = world(&format!("{SHORT}max_attempts = 1\n"), host());
        world.names.fail("lost.example", true);
        for to in ["b@there.example", "c@there.example", "d@lost.example"] {
            world.accept(0, "a@from.example", &[to]);
        }
        world.run_for(minutes(70));
        let got = &world.at(SENDER).got;
        assert_eq!(got.len(), 3);
        let mut ids = std::collections::BTreeSet::new();
        for report in got {
            assert_eq!((report.sender.as_str(), report.recipients.len()), ("", 1));
            assert_eq!(report.notify, [mail::Notify::NEVER]);
            let (header, _) = report.body.split_once("\r\n\r\n").expect("a header ends");
            assert!(ids.insert(field(header, "Message-ID").to_owned()), "{header}");
            let lost = report.body.contains("d@lost.example");
            let expected = if lost { "4.4.7" } else { status };
            assert_eq!(field(&report.body, "Status"), expected, "{}", report.body);
            assert_eq!(field(&report.body, "Action"), "failed");
        }
        world.assert_over();
    }
}

/// Where the postmaster's mail goes.
const DESK: [u8; 4] = [198, 51, 100, 98];

/// Each of the four kinds of report is switched by itself, for one route or for
/// all, to the sender, to the postmaster or to nobody.
///
/// Shows: S1.8, S2.10
#[test]
fn each_route_says_who_is_told_of_what() {
    let refusing = || Host::new().always(Stage::Rcpt, Act::Say(550, "no"));
    let putting_off = || Host::new().always(Stage::Rcpt, Act::Say(451, "later"));
    let late = || Host::new().next(Stage::Rcpt, Act::Say(451, "later"), 8);
    let without_dsn = || Host::new().without(smtp::Extension::Dsn);
    let kinds: [(NewHost, &str, &str); 4] = [
        (refusing, "failure", "failed"),
        (putting_off, "expiry", "failed"),
        (late, "delay", "delayed"),
        (without_dsn, "success", "relayed"),
    ];
    let notify = "RCPT TO:<b@there.example> NOTIFY=FAILURE,DELAY,SUCCESS\r\n";
    for (host, kind, action) in kinds {
        for (to, told, desk) in [("sender", 1, 0), ("postmaster", 0, 1), ("none", 0, 0)] {
            let others = if to == "none" { "sender" } else { "none" };
            let of_all = ["failure", "expiry", "delay", "success"];
            let of_all = of_all.map(|kind| format!("{kind} = \"{others}\"\n")).concat();
            let mut world = world(
                &format!(
                    "{}[dsn]\npostmaster = \"help@desk.example\"\n{of_all}\
                     [[route]]\nmatch = \"there.example\"\ndsn = {{ {kind} = \"{to}\" }}\n",
                    SHORT.replace("\"none\"", if kind == "delay" { "\"20m\"" } else { "\"none\"" }),
                ),
                host(),
            );
            world.names.exchanger("desk.example", 10, "mx.desk.example", DESK);
            world.host(DESK, Host::new());
            let say = ["EHLO c.example\r\n", "MAIL FROM:<a@from.example>\r\n", notify];
            let say = say.into_iter().chain(["DATA\r\n", "x\r\n.\r\n", "QUIT\r\n"]);
            world.session(0, say.map(|line| line.as_bytes().to_vec()).collect());
            world.run_for(minutes(65));
            let count = |host: &Host| {
                host.got.iter().filter(|got| field(&got.body, "Action") == action).count()
            };
            let (to_sender, to_desk) = (count(world.at(SENDER)), count(world.at(DESK)));
            assert_eq!((to_sender, to_desk), (told, desk), "{kind} to {to}");
            world.assert_over();
        }
    }
}

/// One message for three domains whose routes say different things of reports:
/// those who are told are told of their own alone, in one report each.
///
/// Shows: S1.8
#[test]
fn a_message_for_several_routes_is_told_by_the_rules_of_each() {
    let config = format!(
        "{SHORT}[dsn]\npostmaster = \"help@desk.example\"\n\
         [[route]]\nmatch = \"quiet.example\"\ndsn = {{ failure = \"none\" }}\n\
         [[route]]\nmatch = \"office.example\"\ndsn = {{ failure = \"postmaster\" }}\n"
    );
    let mut world = world(&config, Host::new().always(Stage::Rcpt, Act::Say(550, "no")));
    for domain in ["quiet.example", "office.example"] {
        world.names.mx(domain, 10, "mx.there.example");
    }
    world.names.exchanger("desk.example", 10, "mx.desk.example", DESK);
    world.host(DESK, Host::new());
    let to = ["b@there.example", "c@quiet.example", "d@office.example", "e@there.example"];
    world.accept(0, "a@from.example", &to);
    world.run_for(minutes(2));
    assert_eq!(world.logged("failed").len(), 4);
    let mut told = Vec::new();
    for host in [SENDER, DESK] {
        let got = &world.at(host).got;
        told.push(to.map(|to| got.iter().filter(|got| got.body.contains(to)).count()));
    }
    assert_eq!(told, [[1, 0, 0, 1], [0, 0, 1, 0]]);
    world.assert_over();
}
