//! Everything at once: hosts that fail in all ways, a name server and a disk
//! that do, crashes, commands and changes of configuration at random moments.
//! Whatever happens, each recipient of an acknowledged message ends once, the
//! sender hears of every failure once, second copies are named, and nothing is
//! left open.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::Rng;
use control::QueueAct;

use crate::stories_support::SENDER;
use sim::{Act, Host, Stage, World, minutes, seconds};

const HOSTS: u8 = 5;
const DOMAINS: usize = 8;
const STAGES: [Stage; 9] = [
    Stage::Connect,
    Stage::Greeting,
    Stage::Ehlo,
    Stage::Handshake,
    Stage::Mail,
    Stage::Rcpt,
    Stage::Data,
    Stage::Body,
    Stage::Dot,
];
const ACTS: [Act; 6] = [
    Act::Drop,
    Act::Stall,
    Act::Say(421, "busy"),
    Act::Say(451, "later"),
    Act::Say(452, "too many"),
    Act::Say(550, "no"),
];

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

fn ip(host: u8) -> [u8; 4] {
    [198, 51, 100, 10 + host]
}

/// A host with up to three troubles that pass.
fn troubled(rng: &mut Rng) -> Host {
    let mut host = Host::new();
    host.starttls = rng.below(2) == 0;
    host.pace = pick(rng, &[20, 300, usize::MAX]);
    for _ in 0..rng.below(4) {
        let stage = pick(rng, &STAGES);
        let act = match (stage, rng.below(8)) {
            (Stage::Connect, 0) => Act::Shortage,
            (Stage::Dot, 0..4) => Act::LoseReply,
            (Stage::Body | Stage::Connect, _) => pick(rng, &ACTS[..2]),
            _ => pick(rng, &ACTS),
        };
        host = host.next(stage, act, 1 + rng.below(5) as u32);
    }
    host
}

/// How lives end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The program crashes; what it wrote is there.
    Program,
    /// The power goes; what was not synced may be there, or parts of it.
    Power,
}

fn config(rng: &mut Rng, end: End) -> String {
    let mut text =
        String::from("[delivery]\nlifetime = \"3h\"\nretry = [\"1m\", \"7m\", \"30m\"]\n");
    if end == End::Power {
        text.insert_str(0, "[queue]\nin_doubt = \"power\"\n");
    }
    text += &format!("connections = {}\n", 1 + rng.below(8));
    text += &format!("messages_per_connection = {}\n", 1 + rng.below(5));
    text += &format!("recipients_per_message = {}\n", 1 + rng.below(3));
    if rng.below(3) == 0 {
        text += "rate = \"60/1m\"\n";
    }
    if rng.below(4) == 0 {
        text +=
            "[[route]]\nmatch = \"d1.example\"\nmode = \"relay\"\nhosts = [\"198.51.100.11:25\"]\n";
    }
    text
}

fn start(rng: &mut Rng, end: End) -> World {
    let mut world = World::new(1 + rng.below(3) as u16, &config(rng, end));
    world.network.piece = pick(rng, &[1, 13, usize::MAX]);
    world.names.exchanger("from.example", 10, "mx.from.example", SENDER);
    world.host(SENDER, Host::new());
    for host in 0..HOSTS {
        world.names.address(&format!("mx{host}.hosts.example"), ip(host));
        world.host(ip(host), troubled(rng));
    }
    for n in 0..DOMAINS {
        for _ in 0..1 + rng.below(2) {
            let host = rng.below(u64::from(HOSTS));
            let preference = 10 * rng.below(2) as u16;
            world.names.mx(
                &format!("d{n}.example"),
                preference,
                &format!("mx{host}.hosts.example"),
            );
        }
    }
    world
}

/// Something goes wrong, or somebody does something.
fn disturb(rng: &mut Rng, world: &mut World, end: End, disk_is_good: &mut bool) {
    let domain = format!("d{}.example", rng.below(DOMAINS as u64));
    match rng.below(8) {
        0 => world.names.fail(&domain, true),
        1 => world.names.fail(&domain, false),
        // A second failure before the mail has moved is the end of a disk.
        2 if std::mem::take(disk_is_good) => world.failing_syncs = 1,
        3 => drop(world.act(QueueAct::Hold, None)),
        4 => drop(world.act(QueueAct::Release, None)),
        5 => drop(world.act(QueueAct::Flush, None)),
        6 => world.configure(&config(rng, end)),
        _ => world.hang_up(ip(rng.below(u64::from(HOSTS)) as u8)),
    }
}

/// All faults pass, and more than a lifetime goes by.
fn come_to_rest(world: &mut World) {
    for host in 0..HOSTS {
        world.at(ip(host)).mend();
        world.at(ip(host)).pace = usize::MAX;
    }
    for n in 0..DOMAINS {
        world.names.fail(&format!("d{n}.example"), false);
    }
    (world.failing_syncs, world.disk_full) = (0, false);
    world.run_for(minutes(10));
    world.act(QueueAct::Release, None);
    world.run_for(minutes(4 * 60));
}

/// How often each recipient ended, was reported, and arrived.
#[derive(Default, Debug)]
struct Fate {
    ends: u32,
    failures: u32,
    reports: u32,
    copies: u32,
    doubts: u32,
}

fn fates(world: &mut World, doubted: &[String]) -> BTreeMap<String, Fate> {
    let mut fates: BTreeMap<String, Fate> = BTreeMap::new();
    for line in &world.log {
        let (Some(event), Some(to)) = (line["event"].as_str(), line["to"].as_str()) else {
            continue;
        };
        // That it came is told before it is on stable storage: no fate yet.
        if line["from"] != "a@from.example" || event == "accepted" {
            continue;
        }
        let fate = fates.entry(to.to_owned()).or_default();
        fate.ends += u32::from(matches!(event, "delivered" | "failed" | "expired"));
        fate.failures += u32::from(matches!(event, "failed" | "expired"));
        fate.doubts += u32::from(line["in_doubt"] == true);
        if doubted.iter().any(|id| line["id"] == **id) {
            fate.doubts += 1;
        }
    }
    for host in 0..HOSTS {
        for to in world.at(ip(host)).delivered_to() {
            fates.entry(to.to_owned()).or_default().copies += 1;
        }
    }
    // A report that was in doubt itself may have come twice, as it was.
    let reports: BTreeSet<&str> =
        world.at(SENDER).got.iter().map(|got| got.body.as_str()).collect();
    for body in reports {
        for line in body.lines() {
            if let Some(to) = line.strip_prefix("Final-Recipient: rfc822; ")
                && body.contains("Action: failed")
            {
                fates.entry(to.to_owned()).or_default().reports += 1;
            }
        }
    }
    fates
}

fn live_through(seed: u64, end: End) {
    let mut rng = Rng::new(seed);
    let mut world = start(&mut rng, end);
    let (mut tickets, mut doubted) = (Vec::new(), Vec::new());
    // What a failed sync lost and a power cut forgets may be done twice.
    let mut disk_is_good = end == End::Program;
    for round in 0..12 {
        for n in 0..rng.below(12) {
            let to: Vec<String> = (0..1 + rng.below(3))
                .map(|r| format!("m{round}.{n}.{r}@d{}.example", rng.below(DOMAINS as u64)))
                .collect();
            let names: Vec<&str> = to.iter().map(String::as_str).collect();
            let shard = rng.below(world.shards.len() as u64) as usize;
            tickets.push((world.submit(shard, "a@from.example", &names, "x"), to));
        }
        let span = pick(&mut rng, &[5, 50, 700, 20_000, 400_000]);
        world.run_for(Duration::from_millis(rng.below(span)));
        disturb(&mut rng, &mut world, end, &mut disk_is_good);
        if rng.below(5) == 0 {
            disk_is_good = end == End::Program;
            let shards = 1 + rng.below(3) as u16;
            let report = match end {
                End::Program => world.crash(shards),
                End::Power => {
                    world.power_cut(shards, |_, len| pick(&mut rng, &[0, len / 2, len, len]))
                }
            };
            doubted.extend(report.in_doubt.iter().map(|doubt| doubt.message.to_string()));
        }
    }
    come_to_rest(&mut world);
    let fates = fates(&mut world, &doubted);
    for (ticket, to) in tickets {
        let acknowledged = world.ticket(ticket).answer.is_some_and(|(code, _)| code == 250);
        for to in to {
            match fates.get(&to) {
                Some(fate) => judge(fate, end, &format!("seed {seed}: {to} {fate:?}")),
                None => assert!(!acknowledged, "seed {seed}: {to} has vanished"),
            }
        }
    }
    world.run_for(seconds(60));
    world.assert_over();
}

fn judge(fate: &Fate, end: End, what: &str) {
    assert!(fate.copies <= 1 || fate.doubts > 0, "an unnamed copy: {what}");
    assert!(fate.copies > 0 || fate.reports > 0, "neither delivered nor reported: {what}");
    match end {
        End::Program => {
            assert_eq!(fate.ends, 1, "{what}");
            assert_eq!(fate.reports, fate.failures, "{what}");
        }
        // The end that the log tells of may have been forgotten and come again.
        End::Power => {
            assert!(fate.ends >= 1, "{what}");
            assert!(fate.reports <= 1, "reported twice: {what}");
        }
    }
}

/// Covers: A2.32, B3
#[test]
fn whatever_happens_mail_ends_once_and_nothing_is_left() {
    for seed in 0..12 {
        live_through(seed, End::Program);
    }
}

/// Covers: A2.32, B4
#[test]
fn whenever_the_power_goes_mail_ends_and_second_copies_are_named() {
    for seed in 0..12 {
        live_through(seed, End::Power);
    }
}
