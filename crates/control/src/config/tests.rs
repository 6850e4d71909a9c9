//! Configurations as an operator writes them, good and bad.

use std::time::Duration;

use mail::{Address, Host};

use super::*;
use crate::mode::{Mode, Smarthost, TlsMode, Trust};
use crate::policy::{Family, InDoubt, InDoubtPolicy, LogLevel};
use crate::remote::Authority;
use crate::reports::NotifyTo;
use crate::submission::Listener;

fn machine() -> Domain {
    Domain::parse("box.example").unwrap()
}

fn policy(text: &str) -> Policy {
    match Config::parse(text, &machine()) {
        Ok(config) => {
            assert_eq!(config.warnings, [], "{text}");
            config.policy
        }
        Err(refused) => panic!("{refused}\n{text}"),
    }
}

fn refused(text: &str) -> Vec<String> {
    let refused = Config::parse(text, &machine()).expect_err(text);
    refused.diagnostics.iter().map(Diagnostic::to_string).collect()
}

fn warnings(text: &str) -> Vec<String> {
    let config = Config::parse(text, &machine()).unwrap_or_else(|error| panic!("{error}"));
    config.warnings.iter().map(Diagnostic::to_string).collect()
}

fn roots(file: &str, certificates: &[u8]) -> Trust {
    let (file, certificates) = (file.into(), certificates.into());
    Trust::Pem(Authority { file, certificates }.into())
}

/// The file of the reference, without the keys of later versions.
const REFERENCE: &str = r#"
hostname = "mail.example.com"
shards = 4

[submission]
listen = ["127.0.0.1:2525", "[::1]:2525"]
allow = ["127.0.0.0/8", "::1/128"]
max_message = "50MiB"
max_recipients = 1000

[queue]
segment = "64MiB"
max_bytes = "100GiB"
max_messages = 10_000_000
min_free = "2GiB"
in_doubt = "power"
in_doubt_policy = "hold"

[delivery]
mode = "relay"
hosts = ["smtp.isp.example:587", { host = "backup.isp.example", port = 465, tls = "implicit" }]
port = 25
tls = "required"
trust = "/etc/ssl/isp.pem"
retry = ["5m", "10m", "20m", "40m", "1h"]
jitter = "0%"
lifetime = "5d"
max_attempts = 5
timeout = { connect = "20s", tls = "30s", data_done = "11m" }
connections = 20
messages_per_connection = 100
rate = "1000/1m"
on_failure = "hold"
fallback = false
delay_notice = "none"
schedule = { zone = "europe/berlin", windows = ["sat,sun 00:00-24:00", "MON-FRI 22:00-06:00"] }

[[route]]
match = "*.dept.example.com"
schedule = "immediately"
mode = "relay"
hosts = ["10.0.0.5:25"]
tls = "none"
lifetime = "30d"
rate = "none"

[[route]]
match = "example.org"
mode = "independent"
timeout = "12m"

[egress]
source = ["192.0.2.7"]
permit = ["10.0.0.0/8"]
family = "ipv4-first"

[dns]
servers = ["192.0.2.53:53", "192.0.2.54"]
timeout = "2s"

[dsn]
failure = "postmaster"
delay = "none"
from = "daemon@example.com"

[log]
level = "detail"
max_bytes = "1GiB"
"#;

#[test]
fn an_empty_file_works() {
    let policy = policy("");
    assert_eq!(policy, Policy::new(machine()));
    assert_eq!(policy.submission.listen, [Listener::plain("127.0.0.1:2525".parse().unwrap())]);
    assert_eq!(policy.default_way().mode, Mode::Independent);
    assert_eq!(policy.dsn.postmaster.to_string(), "postmaster@box.example");
}

#[test]
fn the_reference_is_read() {
    let policy = policy(REFERENCE);
    assert_eq!(policy.hostname.as_str(), "mail.example.com");
    assert_eq!(policy.shards, Some(4));
    assert_eq!(policy.submission.listen.len(), 2);
    assert_eq!(policy.queue.in_doubt, InDoubt::Power);
    assert_eq!(policy.queue.in_doubt_policy, InDoubtPolicy::Hold);
    assert_eq!(policy.egress.family, Family::Ipv4First);
    assert!(policy.egress.permits("10.1.2.3".parse().unwrap()));
    assert!(!policy.egress.permits("11.1.2.3".parse().unwrap()));
    assert!(policy.submission.may_relay("::1".parse().unwrap()));
    assert_eq!(policy.dns.servers[1], "192.0.2.54:53".parse().unwrap());
    assert_eq!(policy.dsn.reports.failure, NotifyTo::Postmaster);
    assert_eq!(policy.dsn.from.to_string(), "daemon@example.com");
    assert_eq!(policy.dsn.postmaster.to_string(), "postmaster@mail.example.com");
    assert_eq!((policy.log.level, policy.log.max_bytes), (LogLevel::Detail, 1 << 30));
    let way = policy.default_way();
    let host = |name: &str, port, tls| Smarthost {
        host: Host::parse(name).unwrap(),
        port,
        tls,
        trust: roots("/etc/ssl/isp.pem", UNREAD),
        identity: None,
        auth: None,
        by_sender: false,
        pop: None,
    };
    let hosts = [
        host("smtp.isp.example", 587, TlsMode::Required),
        host("backup.isp.example", 465, TlsMode::Implicit),
    ];
    assert_eq!(way.mode, Mode::Relay(hosts.into()));
    assert_eq!(way.trust, roots("/etc/ssl/isp.pem", UNREAD));
    assert_eq!(way.max_attempts, 5);
    assert_eq!(way.timeouts.connect, Duration::from_secs(20));
    assert_eq!(way.timeouts.mail, Duration::from_secs(300), "unset phases keep their default");
    assert_eq!(way.delay_notice, None);
    let schedule = way.schedule.as_ref().map(|table| table.to_string());
    let shown = "sat-sun 00:00-24:00, mon-fri 22:00-06:00 (Europe/Berlin)";
    assert_eq!(schedule.as_deref(), Some(shown));
    assert_eq!(policy.timetables().len(), 1);
    assert!(!way.fallback);
}

#[test]
fn a_route_is_laid_over_the_default_way() {
    let policy = policy(REFERENCE);
    let route = |to: &str| policy.route(&Address::parse(to, false).unwrap());
    let way = route("a@x.dept.example.com");
    assert_eq!((way.index.0, &*way.name), (1, "*.dept.example.com"));
    let Mode::Relay(hosts) = &way.mode else { panic!("{way:?}") };
    assert_eq!(hosts[0].host, Host::Literal("10.0.0.5".parse().unwrap()));
    assert_eq!((hosts[0].port, hosts[0].tls), (25, TlsMode::None));
    assert_eq!(way.lifetime, Duration::from_secs(30 * 86_400));
    assert_eq!(way.schedule, None);
    assert_eq!(way.max_attempts, 5, "what the route does not set comes from the default");
    assert_eq!(way.rate, None);
    assert!(way.own_limits);
    let way = route("a@example.org");
    assert_eq!((way.index.0, &way.mode), (2, &Mode::Independent));
    assert_eq!(way.timeouts.quit, Duration::from_secs(720));
    assert!(way.rate.is_some());
    assert!(!way.own_limits);
    let way = route("a@example.net");
    assert_eq!((way.index.0, &*way.name), (0, "default"));
}

#[test]
fn what_is_shown_reads_back_the_same() {
    let ignoring = REFERENCE.replace("[delivery]", "[delivery]\nroutes_in_relay_mode = \"ignore\"");
    for text in ["", REFERENCE, &ignoring] {
        let policy = policy(text);
        let shown = policy.effective_toml();
        let again = Config::parse(&shown, &Domain::parse("other.example").unwrap());
        let again = again.unwrap_or_else(|error| panic!("{error}\n{shown}")).policy;
        assert_eq!(again, policy, "{shown}");
        assert_eq!(again.effective_toml(), shown);
    }
}

/// Covers: A6.16
#[test]
fn all_errors_are_reported_at_once_in_order_with_their_places() {
    let text = "hostname = \"mail..example\"\n\
                [submission]\n\
                max_message = \"50 megs\"\n\
                  listn = []\n\
                [delivery]\n\
                retry = [\"5m\", 10]\n\
                lifetime = \"0s\"\n\
                [[route]]\n\
                match = \"a*b\"\n\
                [dns]\n\
                timeout = \"1h\"\n";
    assert_eq!(
        refused(text),
        [
            "line 1, column 12: hostname \"mail..example\" is no host name: the domain has an empty label",
            "line 3, column 15: submission.max_message \"50 megs\" has the unknown unit `megs`; \
             units are B, KiB, MiB, GiB, TiB, KB, MB, GB and TB",
            "line 4, column 1: submission.listn is not a known key; did you mean `listen`?",
            "line 6, column 16: delivery.retry lacks a unit; write ms, s, m, h, d or w behind the \
             number, such as \"10s\"",
            "line 7, column 12: delivery.lifetime must be from 1s to 3650d",
            "line 9, column 9: route[1].match \"a*b\" may have a star only alone or as \"*.\" in \
             front of a domain",
            "line 11, column 11: dns.timeout must be from 10ms to 1m",
        ]
    );
}

/// A text with one fault, and words of the report on it.
const FAULTS: &[(&str, &str)] = &[
    ("a b", "line 1"),
    ("nonsense = 1", "is not a known key; known here: hostname, shards"),
    ("hostname = 1", "must be text in quotes, not a number"),
    ("shards = 0", "must be from 1 to 256"),
    ("shards = 257", "must be from 1 to 256"),
    ("shards = -1", "must be from 1 to 256"),
    ("submission = 1", "must be a table"),
    ("submission.listen = [\"localhost:25\"]", "\"localhost:25\" is no IP address with a port"),
    ("submission.listen = [\"127.0.0.1\"]", "is no IP address with a port"),
    ("submission.listen = [\"[::1]:25\", \"[::1]:25\"]", "names [::1]:25 twice"),
    ("submission.allow = [\"10.0.0.1/8\"]", "the network is 10.0.0.0/8"),
    ("submission.max_recipients = 99", "must be from 100 to 50000"),
    ("submission.tls = {}", "submission.tls needs `certificate` and `key`"),
    ("submission.wrong_passwords = 3", "must be text in quotes"),
    ("dsn.template = 1", "dsn.template must be text in quotes"),
    ("queue.segment = \"60MiB\"\nsubmission.max_message = \"60MiB\"", "queue.segment does not fit"),
    ("submission.max_message = \"64MiB\"", "submission.max_message does not fit"),
    ("queue.segment = \"64000001B\"", "must be a multiple of 4KiB"),
    ("queue.segment = \"4GiB\"", "must be from 2MiB to 2GiB"),
    ("queue.max_bytes = \"10MiB\"", "never takes a message of max_message = 50MiB"),
    ("queue.in_doubt = \"maybe\"", "must be one of \"program\", \"power\", not \"maybe\""),
    ("delivery.mode = \"relay\"", "delivery.mode is \"relay\", but no `hosts` are given"),
    ("delivery = { mode = \"relay\", hosts = [] }", "delivery.hosts must name at least one host"),
    (
        "delivery.hosts = [\"a.example\"]",
        "delivery.hosts are given, but mail goes by mail exchangers",
    ),
    ("delivery = { mode = \"relay\", hosts = [\"a.example:0\"] }", "\"a.example:0\" is no host"),
    ("delivery = { mode = \"relay\", hosts = [\"a.example:x\"] }", "is no host"),
    ("delivery = { mode = \"relay\", hosts = [\":25\"] }", "is no host"),
    ("delivery = { mode = \"relay\", hosts = [{ port = 25 }] }", "lacks `host`"),
    (
        "delivery = { mode = \"relay\", hosts = [{ host = \"a:1\", port = 2 }] }",
        "gives the port twice",
    ),
    (
        "delivery = { mode = \"relay\", hosts = [{ host = \"a\", prt = 2 }] }",
        "did you mean `port`?",
    ),
    ("delivery.tls = \"implicit\"", "delivery.tls would speak TLS first"),
    ("delivery.trust = \"webpkI\"", "must be \"webpki\", \"system\" or the path of a PEM file"),
    ("delivery.retry = []", "delivery.retry must not be empty"),
    ("delivery.retry = \"1ms\"", "must be from 100ms to 3650d"),
    ("delivery.jitter = \"51%\"", "must be from \"0%\" to \"50%\""),
    ("delivery.jitter = 10", "must be text in quotes"),
    ("delivery.timeout = { lunch = \"1h\" }", "delivery.timeout.lunch is not a known key"),
    ("delivery.timeout = { mail = \"1ms\" }", "delivery.timeout.mail must be from 10ms to 1d"),
    ("delivery.rate = \"10\"", "\"10\" is not a rate"),
    ("delivery.connections = 0", "must be from 1 to 100000"),
    ("delivery.fallback = \"yes\"", "must be true or false, not a text"),
    ("delivery.match = \"*\"", "delivery.match is not a known key"),
    ("route = 1", "route must be written as [[route]]"),
    ("route = [1]", "route[1] must be a table"),
    ("[[route]]\nmode = \"relay\"", "route[1] lacks `match`"),
    ("[[route]]\nmatch = \"*\"\nmode = \"relay\"", "route[1].mode is \"relay\", but no `hosts`"),
    ("egress.source = [\"eth0\"]", "\"eth0\" is no IP address"),
    ("dsn.from = \"nobody\"", "\"nobody\" is no mailbox"),
    ("page.listen = \"0.0.0.0:8025\"", "page.listen names 0.0.0.0:8025, which others reach"),
    ("page.listen = \"localhost:8025\"", "is no IP address with a port"),
    ("page.listen = \"127.0.0.1:0\"", "must name a port"),
    ("page.port = 8025", "page.port is not a known key"),
    ("queue.max_messages = 1.5", "must be a whole number, not a fraction"),
];

/// Covers: A1.21
#[test]
fn each_fault_has_its_own_words() {
    for (text, words) in FAULTS {
        let found = refused(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains(words), "{text}: {}", found[0]);
    }
}

#[test]
fn hosts_are_written_in_several_ways() {
    for (written, host, port, tls) in [
        ("\"smtp.example\"", "smtp.example", 25, TlsMode::Opportunistic),
        ("\"smtp.example:587\"", "smtp.example", 587, TlsMode::Opportunistic),
        ("\"192.0.2.1\"", "[192.0.2.1]", 25, TlsMode::Opportunistic),
        ("\"192.0.2.1:26\"", "[192.0.2.1]", 26, TlsMode::Opportunistic),
        ("\"[2001:db8::1]:26\"", "[IPv6:2001:db8::1]", 26, TlsMode::Opportunistic),
        ("\"[2001:db8::1]\"", "[IPv6:2001:db8::1]", 25, TlsMode::Opportunistic),
        ("\"2001:db8::1\"", "[IPv6:2001:db8::1]", 25, TlsMode::Opportunistic),
        ("{ host = \"smtp.example\", tls = \"implicit\" }", "smtp.example", 465, TlsMode::Implicit),
    ] {
        let text = format!("delivery = {{ mode = \"relay\", hosts = [{written}] }}");
        let policy = policy(&text);
        let Mode::Relay(hosts) = &policy.default_way().mode else { panic!("{text}") };
        let expected = Smarthost {
            host: Host::parse(host).unwrap(),
            port,
            tls,
            trust: Trust::default(),
            identity: None,
            auth: None,
            by_sender: false,
            pop: None,
        };
        assert_eq!(hosts[..], [expected], "{written}");
    }
    let one = "delivery = { mode = \"relay\", hosts = \"smtp.example\", port = 2525 }";
    let policy = policy(one);
    let Mode::Relay(hosts) = &policy.default_way().mode else { panic!("{one}") };
    assert_eq!(hosts[0].port, 2525, "the way's port stands in for the host's");
}

/// Covers: A2.4
#[test]
fn what_is_hardly_meant_is_a_warning() {
    let text = "[[route]]\nmatch = \"*.example.com\"\n[[route]]\nmatch = \"a@b.example.com\"\n";
    assert_eq!(
        warnings(text),
        ["line 4, column 9: warning: route[2].match is never reached: route[1], \
          \"*.example.com\", takes all its mail"]
    );
    assert!(warnings("hostname = \"box\"")[0].contains("`box`, which is no full name"));
    assert!(warnings("submission.allow = []")[0].contains("nobody may hand mail in"));
    let short = warnings("delivery.timeout = \"30s\"");
    assert!(
        short[0].contains("line 1, column 20: warning: delivery.timeout waits 30s"),
        "{short:?}"
    );
}

/// Covers: A2.4
#[test]
fn a_machine_name_without_a_dot_is_a_warning_unless_a_name_is_set() {
    let machine = Domain::parse("box").unwrap();
    let config = Config::parse("", &machine).unwrap();
    assert!(config.warnings[0].to_string().contains("hostname is not set"));
    assert_eq!(Config::parse("hostname = \"a.example\"", &machine).unwrap().warnings, []);
    // 240 octets leave room for <MAILER-DAEMON@…>, one more does not.
    let name = |first: usize| {
        format!("hostname = \"{}.{}\"", "a".repeat(first), "bcdefg.".repeat(30) + "h")
    };
    assert_eq!(Config::parse(&name(28), &machine).unwrap().warnings, []);
    let refused = Config::parse(&name(29), &machine).unwrap_err().to_string();
    let expected = "line 1, column 12: hostname is too long for reports from MAILER-DAEMON at that \
                    name: the path is longer than 256 octets";
    assert_eq!(refused.trim_end(), expected);
}

#[test]
fn reports_are_bounded_and_errors_come_before_warnings() {
    let route = "[[route]]\nmatch = \"*\"\n";
    let text = route.repeat(DIAGNOSTICS_MAX + 1) + "[dns]\ntimeout = 1\n";
    let found = refused(&text);
    assert_eq!(found.len(), DIAGNOSTICS_MAX + 1);
    assert!(found.iter().any(|line| line.contains("dns.timeout")));
    assert!(found[DIAGNOSTICS_MAX].ends_with("and 1 more"), "{}", found[DIAGNOSTICS_MAX]);
    let text = route.repeat(DIAGNOSTICS_MAX + 1);
    assert_eq!(warnings(&text).len(), DIAGNOSTICS_MAX, "at the bound nothing is left out");
}

#[test]
fn lists_end_at_their_bound() {
    use sections::{ENTRIES_MAX, NAME_SERVERS_MAX};
    let list =
        |key: &str, entry: &str, count| format!("{key} = [{}]\n", [entry].repeat(count).join(","));
    let relay = "delivery.mode = \"relay\"\n";
    for (before, key, entry, max) in [
        ("", "submission.allow", "\"10.0.0.0/8\"", ENTRIES_MAX),
        ("", "dns.servers", "\"192.0.2.1\"", NAME_SERVERS_MAX),
        ("", "delivery.retry", "\"5m\"", crate::retry::INTERVALS_MAX),
        (relay, "delivery.hosts", "\"a.example\"", crate::mode::SMARTHOSTS_MAX),
    ] {
        policy(&format!("{before}{}", list(key, entry, max)));
        let found = refused(&format!("{before}{}", list(key, entry, max + 1)));
        assert!(found[0].contains(&format!("must have at most {max} entries")), "{found:?}");
    }
}

#[test]
fn the_file_and_its_routes_end_at_their_bound() {
    policy(&"#".repeat(CONFIG_BYTES_MAX));
    let found = refused(&"#".repeat(CONFIG_BYTES_MAX + 1));
    assert_eq!(found, ["line 1, column 1: the configuration is larger than 32MiB"]);
    // Empty routes: at the bound each lacks its match, beyond it none is looked at.
    let found = refused(&format!("route = [{}]", "{},".repeat(ROUTES_MAX)));
    assert!(found[0].contains("route[1] lacks `match`"), "{}", found[0]);
    let found = refused(&format!("route = [{}]", "{},".repeat(ROUTES_MAX + 1)));
    assert_eq!(found, ["line 1, column 9: route has more than 250000 entries"]);
}

#[test]
fn nested_values_do_not_exhaust_the_stack() {
    assert!(!refused(&format!("a = {}", "[".repeat(100_000))).is_empty());
    assert!(!refused(&format!("{}a = 1", "a.".repeat(100_000))).is_empty());
}

/// Shows: A86
#[test]
fn numbers_are_shown_to_others_only_where_that_is_said() {
    let metrics = policy("[metrics]\nlisten = \"[::1]:9090\"\nnames = 1000\n").metrics;
    assert_eq!((metrics.listen, metrics.names), (Some("[::1]:9090".parse().unwrap()), 1_000));
    assert_eq!(policy("").metrics.listen, None);
    let open = "[metrics]\nlisten = \"0.0.0.0:9090\"\n";
    let why = refused(open);
    assert!(
        why[0].starts_with("line 2, column 10: metrics.listen is 0.0.0.0, which others"),
        "{why:?}"
    );
    assert!(policy(&format!("{open}anywhere = true\n")).metrics.anywhere);
    assert!(warnings("[metrics]\nanywhere = true\n")[0].contains("of no use"));
    assert!(refused("[metrics]\nnames = 1001\n")[0].contains("1000"));
    assert!(refused("[metrics]\nport = 1\n")[0].contains("is not a known key"));
}

/// A name that is not there once showed itself only in mail that waited.
///
/// Shows: S3.9
#[test]
fn roots_are_read_once_with_the_configuration_and_told_by_line_where_they_are_none() {
    let read = |text: &str, pem: &[u8]| {
        let asked = std::cell::RefCell::new(Vec::new());
        let mut files = |path: &str| {
            asked.borrow_mut().push(path.to_owned());
            let is_there = path == "ca.pem";
            is_there.then(|| pem.to_vec()).ok_or_else(|| format!("names {path}, and none is there"))
        };
        let read = Config::parse_with(text, &machine(), &mut files);
        (read.map_err(|refused| refused.to_string()), asked.into_inner())
    };
    let ways = "trust = \"ca.pem\"\nmode = \"relay\"\n\
                hosts = [{ host = \"b\", trust = \"ca.pem\" }, \"c\"]\n";
    let text = format!(
        "[delivery]\n{ways}[[route]]\nmatch = \"d.example\"\n{ways}\
         [[webhook]]\nname = \"w\"\nurl = \"https://e.example\"\ntrust = \"ca.pem\"\n\
         [[syslog]]\nname = \"s\"\nto = \"tls://f.example\"\ntrust = \"ca.pem\"\n"
    );
    let pem: &[u8] = b"-----BEGIN CERTIFICATE-----\n";
    let (policy, asked) = read(&text, pem);
    let policy = policy.unwrap().policy;
    assert_eq!(asked, ["ca.pem"]);
    assert_eq!(policy.default_way().trust, roots("ca.pem", pem));
    assert_eq!(policy.authorities().count(), 1);
    assert!(!format!("{policy:?}").contains("45, 45, 45"), "what files hold fills no line");
    let shown = policy.effective_toml();
    assert_eq!(read(&shown, pem).0.unwrap().policy, policy, "{shown}");
    let other = [pem, pem].concat();
    assert_ne!(read(&text, &other).0.unwrap().policy, policy, "it was changed");
    for (at, line) in [("delivery", 2), ("delivery", 4), ("route[1]", 7), ("webhook[1]", 13)] {
        let lines = text.lines().enumerate().map(|(number, said)| match number + 1 == line {
            true => said.replace("ca.pem", "aa.pem") + "\n",
            false => said.to_owned() + "\n",
        });
        let said = read(&lines.collect::<String>(), pem).0.unwrap_err();
        let place = format!("line {line}, column ");
        assert!(said.starts_with(&place) && said.contains(at), "{said}");
        assert!(said.contains("trust names aa.pem, and none is there"), "{said}");
    }
    let said = read("[delivery]\ntrust = \"ca.pem\"", b"-----BEGIN PRIVATE KEY-----\n").0;
    let none =
        "line 2, column 9: delivery.trust names \"ca.pem\", which holds no CERTIFICATE in PEM";
    assert_eq!(said.unwrap_err(), none);
}
