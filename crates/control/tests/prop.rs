//! Properties of the control room: the route table equals a plain scan, limits
//! hold whatever shards do, quantities survive printing.

use std::collections::VecDeque;
use std::time::Duration;

use base::{Monotonic, ShardId, Wall};
use control::{
    Bank, Config, Delivery, Limits, Next, Pattern, Rate, Request, Retry, RouteTable, Size, Span,
    Verdict, Want,
};
use mail::{Address, Domain};
use proptest::prelude::*;

/// Few labels and few letters, so that patterns and addresses often meet.
fn domain() -> impl Strategy<Value = String> {
    proptest::collection::vec("[ab]{1,2}", 1..5).prop_map(|labels| labels.join("."))
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let text = prop_oneof![
        1 => Just("*".to_owned()),
        4 => domain(),
        4 => domain().prop_map(|domain| format!("*.{domain}")),
        4 => ("[uvUV]", domain()).prop_map(|(user, domain)| format!("{user}@{domain}")),
        1 => (0..4u8).prop_map(|n| format!("[192.0.2.{n}]")),
    ];
    text.prop_map(|text| text.parse().expect("a valid pattern"))
}

fn address() -> impl Strategy<Value = Address> {
    let host = prop_oneof![9 => domain(), 1 => (0..4u8).prop_map(|n| format!("[192.0.2.{n}]"))];
    ("[uvUV]|\"[uv]\"|\"\\\\\\\\[uv]\"", host).prop_map(|(user, host)| {
        Address::parse(format!("{user}@{host}"), false).expect("a valid address")
    })
}

proptest! {
    #[test]
    fn prop_the_route_table_equals_a_scan(
        patterns in proptest::collection::vec(pattern(), 0..40),
        addresses in proptest::collection::vec(address(), 1..20),
    ) {
        let table = RouteTable::new(&patterns);
        for address in &addresses {
            let scan = patterns.iter().position(|pattern| pattern.matches(address));
            prop_assert_eq!(table.find(address), scan.map(|position| position as u32), "{}", address);
        }
    }

    #[test]
    fn prop_a_shadowed_route_is_never_the_first(
        patterns in proptest::collection::vec(pattern(), 0..20),
        addresses in proptest::collection::vec(address(), 1..40),
    ) {
        let table = RouteTable::new(&patterns);
        for (position, pattern) in patterns.iter().enumerate() {
            if let Some(by) = table.shadow(position as u32, pattern) {
                prop_assert!((by as usize) < position);
                for address in addresses.iter().filter(|address| pattern.matches(address)) {
                    prop_assert!(patterns[by as usize].matches(address), "{} {}", by, address);
                }
            }
        }
    }

    #[test]
    fn prop_no_text_makes_a_pattern_panic(text in "\\PC{0,40}|[*.@\\[\\]a\"\\\\]{0,12}") {
        if let Ok(pattern) = text.parse::<Pattern>() {
            prop_assert_eq!(pattern.to_string().parse::<Pattern>(), Ok(pattern));
        }
    }

    #[test]
    fn prop_quantities_survive_printing(ms in 0..=3650u64 * 86_400_000, bytes: u64, count in 1..=1_000_000_000u32) {
        let span = Span(Duration::from_millis(ms));
        prop_assert_eq!(span.to_string().parse(), Ok(span));
        prop_assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
        let per = Duration::from_millis(ms.clamp(1_000, 31 * 86_400_000));
        let rate = Rate::new(count, per).unwrap();
        prop_assert_eq!(rate.to_string().parse(), Ok(rate));
    }

    #[test]
    fn prop_no_text_makes_a_quantity_panic(text in "\\PC{0,20}|[0-9]{1,22}[a-zA-Z/ ]{0,4}") {
        let _ = (text.parse::<Span>(), text.parse::<Size>(), text.parse::<Rate>());
    }

    /// Covers: A2.18
    #[test]
    fn prop_mail_ends_in_time_and_after_the_right_number_of_attempts(
        seconds in proptest::collection::vec(1..4_000u64, 1..6),
        jitter in 0..=50u8,
        lifetime in 1..20_000u64,
        max_attempts in 0..8u16,
        randoms in proptest::collection::vec(any::<u64>(), 1..20),
    ) {
        let intervals: Vec<_> = seconds.iter().map(|n| Duration::from_secs(*n)).collect();
        let way = Delivery {
            retry: Retry::new(&intervals, jitter).unwrap(),
            lifetime: Duration::from_secs(lifetime),
            max_attempts,
            ..Delivery::default()
        };
        let arrived = Wall::from_millis(1_700_000_000_000);
        let end = way.expires(arrived);
        let mut now = arrived;
        let mut attempts = 0u16;
        for random in randoms.iter().cycle() {
            attempts += 1;
            match way.next(now, arrived, attempts, *random) {
                Next::At(at) => {
                    prop_assert!(at > now);
                    prop_assert!(at <= end);
                    now = at;
                }
                Next::Expired => {
                    prop_assert_eq!(now, end);
                    break;
                }
                Next::AttemptsUsedUp => {
                    prop_assert_eq!(attempts, max_attempts + 1);
                    break;
                }
                Next::Hold | Next::Bounce => prop_assert!(false, "on_failure is retry"),
            }
            prop_assert!(max_attempts == 0 || attempts <= max_attempts);
        }
    }
}

/// A setting of a way, right or wrong.
fn setting() -> impl Strategy<Value = String> {
    let lines = [
        "mode = \"relay\"",
        "mode = \"independent\"",
        "hosts = [\"a.example:587\", { host = \"[2001:db8::1]\", tls = \"implicit\" }]",
        "hosts = \"192.0.2.1\"",
        "hosts = []",
        "port = 2525",
        "tls = \"required\"",
        "tls = \"implicit\"",
        "trust = 'C:\\ca.pem'",
        "trust = \"system\"",
        "retry = [\"1m\", \"1h30m\"]",
        "jitter = \"33%\"",
        "lifetime = \"90m\"",
        "max_attempts = 3",
        "timeout = \"11m\"",
        "timeout = { tls = \"9s\", rset = \"1m\" }",
        "connections = 20",
        "connections = 7",
        "rate = \"10/s\"",
        "rate = \"none\"",
        "idle = \"0s\"",
        "on_failure = \"bounce\"",
        "fallback = false",
        "delay_notice = \"none\"",
        "delay_notice = 5",
    ];
    proptest::sample::select(lines.to_vec()).prop_map(str::to_owned)
}

/// A way's lines, no key twice.
fn way() -> impl Strategy<Value = String> {
    proptest::collection::vec(setting(), 0..6).prop_map(|mut lines| {
        lines.sort();
        lines.dedup_by_key(|line| line.split(' ').next().map(str::to_owned));
        lines.join("\n")
    })
}

proptest! {
    #[test]
    fn prop_what_is_shown_reads_back_the_same(
        default in way(),
        routes in proptest::collection::vec((pattern(), way()), 0..5),
    ) {
        let mut text = format!("[delivery]\n{default}\n");
        for (pattern, way) in routes {
            text += &format!("[[route]]\nmatch = '{pattern}'\n{way}\n");
        }
        let machine = Domain::parse("box.example").expect("a valid name");
        match Config::parse(&text, &machine) {
            Ok(config) => {
                let shown = config.policy.effective_toml();
                let again = Config::parse(&shown, &machine);
                prop_assert_eq!(again.map(|again| again.policy), Ok(config.policy), "{}", shown);
            }
            Err(refused) => prop_assert!(!refused.diagnostics.is_empty()),
        }
    }

    #[test]
    fn prop_no_text_makes_the_reader_panic(
        text in "\\PC{0,60}|([a-z]{1,9} ?= ?[\\[{\"0-9a-z\\]}, =.%-]{0,12}\n){0,4}",
        section in proptest::sample::select(vec!["", "[delivery]\n", "[[route]]\n", "[submission]\n"]),
    ) {
        let text = format!("{section}{text}");
        let machine = Domain::parse("box.example").expect("a valid name");
        if let Err(refused) = Config::parse(&text, &machine) {
            for diagnostic in &refused.diagnostics {
                prop_assert!(diagnostic.line as usize <= text.lines().count() + 1);
                prop_assert!(diagnostic.column >= 1);
            }
        }
    }

    /// Covers: B95
    #[test]
    fn prop_no_request_makes_the_reader_panic(
        target in "\\PC{0,40}|/v1/(queue|status|config)[/?a-z=%&0-9]{0,20}",
        body in "\\PC{0,40}|\\{\"(all|id|domain|sender)\": ?[\"a-z@.0-9]{0,12}\\}",
    ) {
        for method in ["GET", "POST"] {
            if let Err(error) = Request::parse(method, &target, body.as_bytes()) {
                prop_assert!(matches!(error.status(), 400 | 404 | 405));
                prop_assert!(!error.to_string().chars().any(char::is_control), "{:?}", error);
            }
        }
    }
}

/// One step of the world around a bank.
#[derive(Clone, Debug)]
enum Step {
    Ask { shard: u16, want: u32 },
    GiveBack { shard: u16, count: u32 },
    Hear,
    Pass { ms: u64 },
    SetLimit { connections: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4u16, 0..12u32).prop_map(|(shard, want)| Step::Ask { shard, want }),
        (0..4u16, 0..6u32).prop_map(|(shard, count)| Step::GiveBack { shard, count }),
        Just(Step::Hear),
        (0..3_000u64).prop_map(|ms| Step::Pass { ms }),
        (1..12u32).prop_map(|connections| Step::SetLimit { connections }),
    ]
}

proptest! {
    #[test]
    fn prop_permits_never_pass_the_limit(steps in proptest::collection::vec(step(), 1..120)) {
        let key = "mx:mx.example";
        let mut bank = Bank::new(7);
        let mut now = Monotonic::from_millis(1_000);
        let mut limits = Limits { connections: 8, rate: None, revision: 0 };
        // What each shard may use: decisions count once heard, as over a mesh.
        let mut held = [0u32; 4];
        let mut asked = [0u32; 4];
        for step in steps {
            let before = bank.connections_out(key);
            match step {
                Step::Ask { shard, want } => {
                    asked[usize::from(shard)] = want;
                    bank.ask(now, ShardId(shard), key, limits, Want { connections: want, tokens: 0 });
                }
                Step::GiveBack { shard, count } => {
                    let slot = &mut held[usize::from(shard)];
                    let count = count.min(*slot);
                    *slot -= count;
                    bank.give_back(now, ShardId(shard), key, count);
                }
                Step::Hear => hear(&mut bank, &mut held)?,
                Step::Pass { ms } => {
                    now = now + Duration::from_millis(ms);
                    bank.advance(now);
                }
                Step::SetLimit { connections } => {
                    limits = Limits { connections, revision: limits.revision + 1, ..limits };
                    let want = Want { connections: asked[0], tokens: 0 };
                    bank.ask(now, ShardId(0), key, limits, want);
                }
            }
            let out = bank.connections_out(key);
            prop_assert!(out <= limits.connections || out <= before, "{} of {}", out, limits.connections);
            prop_assert!(held.iter().sum::<u32>() <= out);
        }
        // Nothing is lost: once all is given back, the bank forgets the site.
        hear(&mut bank, &mut held)?;
        for (shard, held) in (0u16..).zip(held) {
            bank.ask(now, ShardId(shard), key, limits, Want::default());
            bank.give_back(now, ShardId(shard), key, held);
        }
        let mut late = [0; 4];
        hear(&mut bank, &mut late)?;
        for (shard, held) in (0u16..).zip(late) {
            bank.give_back(now, ShardId(shard), key, held);
        }
        prop_assert!(bank.is_empty());
    }

    #[test]
    fn prop_messages_never_pass_the_rate(
        count in 1..300u32,
        steps in proptest::collection::vec((0..4u16, 0..200u32, 0..700u64, any::<bool>()), 1..200),
    ) {
        let window = Duration::from_secs(1);
        let rate = Some(Rate::new(count, window).unwrap());
        let limits = Limits { connections: 1, rate, revision: 0 };
        let mut bank = Bank::new(7);
        let mut now = Monotonic::from_millis(5);
        let mut sent: VecDeque<(Monotonic, u32)> = VecDeque::new();
        for (shard, want, pass_ms, late) in steps {
            bank.ask(now, ShardId(shard), "k", limits, Want { connections: 0, tokens: want });
            now = now + Duration::from_millis(pass_ms / 10);
            bank.advance(now);
            while let Some(decision) = bank.poll() {
                let Verdict::Tokens { count, until } = decision.verdict else { continue };
                if now >= until {
                    continue;
                }
                // Spent at once, or in the last millisecond before they expire.
                let at = if late { until - Duration::from_millis(1) } else { now };
                sent.push_back((at.max(now), count));
            }
        }
        let mut sent: Vec<_> = sent.into();
        sent.sort();
        for (place, (from, _)) in sent.iter().enumerate() {
            let end = *from + window;
            let total: u32 = sent[place..].iter().take_while(|(at, _)| *at < end).map(|(_, n)| n).sum();
            prop_assert!(total <= count, "{} of {} from {:?}", total, count, from);
        }
    }
}

fn hear(bank: &mut Bank, held: &mut [u32; 4]) -> Result<(), TestCaseError> {
    while let Some(decision) = bank.poll() {
        match decision.verdict {
            Verdict::Connections(count) => held[usize::from(decision.shard.0)] += count,
            Verdict::Recall { .. } => {}
            Verdict::Tokens { .. } => prop_assert!(false, "no rate is set"),
        }
    }
    Ok(())
}

/// Few different lines, so that two texts often share some.
fn text() -> impl Strategy<Value = String> {
    let line = prop_oneof![Just("a\n"), Just("b\n"), Just("[[route]]\n"), Just("\n")];
    (proptest::collection::vec(line, 0..30), prop_oneof![Just(""), Just("end")])
        .prop_map(|(lines, end)| lines.concat() + end)
}

proptest! {
    #[test]
    fn prop_a_diff_leads_from_the_old_text_to_the_new_one(old in text(), new in text()) {
        let diff = control::diff::unified(&old, &new, "old", "new");
        prop_assert_eq!(diff.is_empty(), old == new);
        if !diff.is_empty() {
            prop_assert_eq!(applied(&old, &diff), new, "{}", diff);
        }
    }
}

/// What `patch` does, for a diff that fits.
fn applied(old: &str, diff: &str) -> String {
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let (mut new, mut at, mut before) = (String::new(), 0, "");
    for line in diff.split_inclusive('\n').skip(2) {
        let (mark, rest) = line.split_at(1);
        match mark {
            "@" => {
                let range = rest.split(['-', ' ']).nth(2).expect("a range of old lines");
                let (first, count) = range.split_once(',').expect("first and count");
                let first: usize = first.parse().expect("a number");
                let start = if count == "0" { first } else { first - 1 };
                new.extend(old[at..start].iter().copied());
                at = start;
            }
            " " => {
                assert_eq!(old[at].trim_end(), rest.trim_end(), "an unchanged line fits");
                new.push_str(rest);
                at += 1;
            }
            "-" => at += 1,
            "+" => new.push_str(rest),
            // The line before this one has no line end.
            _ if before != "-" => assert_eq!(new.pop(), Some('\n')),
            _ => {}
        }
        before = mark;
    }
    new.extend(old[at..].iter().copied());
    new
}
