//! Outcomes on their way into a log that is full, too small or damaged: each
//! is written once, nobody hears of it twice, and no step takes long.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use base::{MessageId, Monotonic, Now, SegmentId, ShardId};
use control::{Config, QueueAct};
use mail::{Address, Domain, Envelope, Notify, Recipient, Return, ReversePath, Status};
use serde_json::Value;
use shard::effect::Effect;
use shard::event::Event;
use shard::mesh::{MeshMessage, SettledAs, Settlement};
use shard::{Setup, Shard};
use spool::{AppendError, Medium, MemoryMedium, Meta, Spool};

use crate::stories_support::world;
use sim::{Act, Host, START, Stage, World, minutes, seconds};

/// What one step may write of what waits.
const PIECE: usize = 256;

/// The shard that wrote some messages, told by another what became of them.
struct Writer {
    shard: Shard,
    medium: Counting,
    now: Now,
    log: Vec<Value>,
}

/// Counts what is read.
struct Counting {
    inner: MemoryMedium,
    reads: Cell<u64>,
}

impl Medium for Counting {
    fn read(&self, segment: SegmentId, offset: u32, len: u32) -> Option<&[u8]> {
        self.reads.set(self.reads.get() + 1);
        self.inner.read(segment, offset, len)
    }

    fn size(&self, segment: SegmentId) -> Option<u32> {
        self.inner.size(segment)
    }

    fn append(&mut self, at: SegmentId, offset: u32, parts: &[&[u8]]) -> Result<(), AppendError> {
        self.inner.append(at, offset, parts)
    }

    fn start_sync(&mut self, segment: SegmentId) {
        self.inner.start_sync(segment);
    }

    fn request_segment(&mut self) {
        self.inner.request_segment();
    }

    fn retire(&mut self, segment: SegmentId) {
        self.inner.retire(segment);
    }
}

impl Writer {
    /// A writer with these messages in segments of `segment_bytes`, and one
    /// segment to spare.
    fn new(segment_bytes: u32, messages: &[(Envelope, Vec<u8>)]) -> (Self, Vec<MessageId>) {
        let mut inner = MemoryMedium::new(segment_bytes);
        let now = Now::new(Monotonic::from_millis(10_000), START);
        let mut spool = Spool::new(ShardId(0));
        for _ in 0..2 {
            let (segment, bytes) = inner.create();
            spool.segment_ready(segment, bytes);
        }
        let mut ids = Vec::new();
        for (envelope, body) in messages {
            let meta = Meta::default();
            let written = spool.append_message(&mut inner, now, &meta, envelope, &[body]);
            ids.push(written.unwrap().id);
        }
        (Self::over(spool, inner), ids)
    }

    /// A writer over a log that is there.
    fn over(spool: Spool, inner: MemoryMedium) -> Self {
        let now = Now::new(Monotonic::from_millis(10_000), START);
        let machine = Domain::parse("box.example").unwrap();
        let config = Config::parse("hostname = \"mail.sender.example\"\n", &machine);
        let policy = Arc::new(config.unwrap_or_else(|refused| panic!("{refused}")).policy);
        let shard = Shard::new(Setup {
            id: ShardId(0),
            shards: 2,
            policy,
            own_addresses: Vec::new(),
            name_servers: Vec::new(),
            seed: 7,
            spool,
            now,
        });
        let medium = Counting { inner, reads: Cell::new(0) };
        Self { shard, medium, now, log: Vec::new() }
    }

    fn step(&mut self, event: Event<'_>) {
        let mut effects = Vec::new();
        self.shard.step(self.now, event, &mut self.medium, &mut effects);
        for effect in effects {
            if let Effect::Log { lines } = effect {
                let lines = String::from_utf8(lines).unwrap();
                self.log.extend(lines.lines().map(|line| serde_json::from_str(line).unwrap()));
            }
        }
    }

    fn tell(&mut self, settlements: Vec<Settlement>) {
        let message = MeshMessage::Settled(settlements);
        self.step(Event::Mesh { from: ShardId(1), message });
    }

    fn tick(&mut self, after: Duration) {
        self.now = Now::new(self.now.mono + after, self.now.wall + after);
        self.step(Event::Tick);
    }

    fn give_segment(&mut self) {
        let (segment, bytes) = self.medium.inner.create();
        self.step(Event::SegmentReady { segment, bytes });
    }

    fn refuse_segment(&mut self) {
        self.step(Event::NoSegment { reason: "no space left".into() });
    }

    fn count(&self, event: &str) -> usize {
        self.log.iter().filter(|line| line["event"] == event).count()
    }

    /// Writes deferrals of one recipient until the log takes no more; those
    /// in doubt may use the room that is kept for ends.
    fn fill(&mut self, message: MessageId, in_doubt: bool) -> usize {
        self.refuse_segment();
        let said = self.count("storage");
        for n in 0.. {
            self.put_off(message, in_doubt);
            if self.count("storage") > said {
                return n;
            }
        }
        unreachable!("a log is finite")
    }

    fn put_off(&mut self, message: MessageId, in_doubt: bool) {
        let deferred = settlement(message, 0, SettledAs::Deferred(START));
        self.tell(vec![Settlement { in_doubt, ..deferred }]);
    }
}

fn mail(sender: &str, recipients: usize, body: &[u8]) -> (Envelope, Vec<u8>) {
    let sender = match sender {
        "" => ReversePath::Null,
        sender => ReversePath::Address(Address::parse(sender, false).unwrap()),
    };
    let to = |n| Recipient::new(Address::parse(format!("b{n}@there.example"), false).unwrap());
    let plain = Envelope::new(sender, (0..recipients).map(to).collect());
    (Envelope { ret: Some(Return::Full), ..plain }, body.to_vec())
}

fn settlement(message: MessageId, recipient: u16, result: SettledAs) -> Settlement {
    Settlement {
        message,
        recipient,
        attempt: 1,
        result,
        in_doubt: false,
        status: Status::FAILED,
        text: Box::default(),
        source: Box::default(),
        host: Box::default(),
        site: None,
        route: None,
        session: None,
        owner: ShardId(1),
    }
}

/// The disk is full and thousands of outcomes wait: a step asks the log once,
/// not once for each; with room they are written in pieces, in order.
///
/// Covers: B21
#[test]
fn what_waits_for_room_costs_little_and_comes_in_pieces() {
    let messages = vec![mail("", 1, b"Subject: x\r\n\r\nx\r\n"); 3 * PIECE];
    let (mut writer, ids) = Writer::new(256 << 10, &messages);
    writer.fill(ids[0], true);
    for id in &ids {
        writer.tell(vec![settlement(*id, 0, SettledAs::Failed)]);
    }
    assert_eq!(writer.count("failed"), 0);
    writer.tick(seconds(1));
    let before = writer.medium.reads.get();
    writer.tick(seconds(1));
    let reads = writer.medium.reads.get() - before;
    assert!(reads < PIECE as u64, "{reads} reads in a step that writes nothing");
    assert_eq!(writer.count("storage"), 2, "the refusal, and once what it means");

    writer.give_segment();
    let mut written = writer.count("failed");
    assert!(written > 0);
    while written < ids.len() {
        writer.tick(Duration::from_millis(2));
        let now = writer.count("failed");
        assert!(now > written, "{written} written, and then no more");
        assert!(now - written <= PIECE, "{} in one step", now - written);
        written = now;
    }
    let failed = writer.log.iter().filter(|line| line["event"] == "failed");
    let order: Vec<String> = failed.map(|line| line["id"].as_str().unwrap().into()).collect();
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(order, ids);
}

/// More failures than one report in one segment can tell: two reports or more
/// tell of all, each recipient in one.
///
/// Covers: A7.13
#[test]
fn a_report_too_large_for_a_segment_is_written_in_parts() {
    let messages = [mail("a@from.example", 40, b"Subject: x\r\n\r\nx\r\n")];
    let (mut writer, ids) = Writer::new(32 << 10, &messages);
    for _ in 0..4 {
        writer.give_segment();
    }
    let text: Box<str> = format!("550 {}", "no ".repeat(300)).into();
    let one = |n| Settlement { text: text.clone(), ..settlement(ids[0], n, SettledAs::Failed) };
    writer.tell((0..40).map(one).collect());
    assert_eq!(writer.count("failed"), 40, "{:?}", writer.log);
    let reports = writer.count("report");
    assert!((2..40).contains(&reports), "{reports} reports");
    assert_eq!(writer.count("storage"), 0);
    assert_eq!(writer.shard.live_messages(), reports as u64);
}

/// A report on one recipient that no segment holds: the recipient ends without
/// it, which is said, and nothing is tried for ever.
#[test]
fn a_single_report_too_large_for_a_segment_is_withheld() {
    let body = ["Subject: x\r\n\r\n", &"twenty-two octets, now\r\n".repeat(1_150)].concat();
    let messages = [mail("a@from.example", 1, body.as_bytes())];
    let (mut writer, ids) = Writer::new(32 << 10, &messages);
    writer.give_segment();
    writer.tell(vec![settlement(ids[0], 0, SettledAs::Failed)]);
    writer.tick(seconds(1));
    writer.tick(seconds(1));
    assert_eq!((writer.count("failed"), writer.count("report")), (1, 0));
    assert_eq!(writer.count("report-withheld"), 1);
    assert_eq!(writer.shard.live_messages(), 0);
}

/// The log fills up between two reports on one message: the first is not
/// written again when the second is.
///
/// Covers: A7.13
#[test]
fn only_what_was_refused_is_written_again() {
    let mut three = mail("a@from.example", 3, b"Subject: x\r\n\r\nx\r\n");
    three.0.recipients[1].notify = Notify::SUCCESS;
    let messages = [mail("", 1, b"Subject: x\r\n\r\nx\r\n"), three];
    let (mut writer, ids) = Writer::new(32 << 10, &messages);
    let fits = writer.fill(ids[0], true);
    let mut between = 0;
    for spare in 0..100 {
        let (mut writer, ids) = Writer::new(32 << 10, &messages);
        for _ in spare..fits {
            writer.put_off(ids[0], true);
        }
        let failed = settlement(ids[1], 2, SettledAs::Failed);
        let delayed = settlement(ids[1], 0, SettledAs::Delayed { until: START });
        let relayed = SettledAs::Delivered { dsn_passed_on: false, in_mailbox: false };
        writer.tell(vec![settlement(ids[1], 1, relayed), delayed, failed]);
        writer.tick(seconds(1));
        between += u32::from((1..3).contains(&writer.count("report")));
        for _ in 0..2 {
            writer.give_segment();
            writer.tick(seconds(1));
        }
        let told = ["failed", "delayed", "delivered", "report"].map(|event| writer.count(event));
        assert_eq!(told, [1, 1, 1, 3], "room for {spare} more records");
    }
    assert!(between > 0, "the log never filled up between two of them");
}

/// Where there is no room for deferrals they are told and not kept; ends are
/// written all the same, and nothing waits behind them.
///
/// Covers: B21
#[test]
fn ends_are_written_where_deferrals_find_no_room() {
    let messages = vec![mail("", 2, b"Subject: x\r\n\r\nx\r\n"); 3];
    let (mut writer, ids) = Writer::new(32 << 10, &messages);
    writer.fill(ids[0], false);
    let before = writer.count("deferred");
    for id in &ids {
        let deferred = settlement(*id, 0, SettledAs::Deferred(START));
        writer.tell(vec![deferred, settlement(*id, 1, SettledAs::Failed)]);
    }
    assert_eq!((writer.count("deferred"), writer.count("failed")), (before + 3, 3));
    writer.tell(vec![settlement(ids[0], 0, SettledAs::Failed)]);
    assert_eq!(writer.count("failed"), 4);
    for _ in 0..2 {
        writer.give_segment();
        writer.tick(seconds(1));
    }
    assert_eq!(writer.count("deferred"), before + 3, "told once");
    assert_eq!(writer.shard.live_messages(), 2);
}

/// A start has no segment for a moment, and that is no full disk: a deferral
/// waits for it. It was told and written nowhere, so that the next crash forgot
/// the attempt and its time: seen by the simulator (seeds 97 and 100).
///
/// Covers: B21
#[test]
fn a_deferral_waits_for_a_segment_that_is_being_made() {
    let messages = [mail("", 1, b"Subject: x\r\n\r\nx\r\n")];
    let (written, ids) = Writer::new(32 << 10, &messages);
    let list = written.medium.inner.list();
    let (spools, _) = spool::recover(&written.medium.inner, &list, 1).unwrap();
    let mut writer = Writer::over(spools.into_iter().next().unwrap(), written.medium.inner);
    writer.tick(Duration::ZERO);
    writer.put_off(ids[0], false);
    assert_eq!((writer.count("deferred"), writer.count("storage")), (0, 0));
    for _ in 0..2 {
        writer.give_segment();
    }
    assert_eq!(writer.count("deferred"), 1);
    writer.medium.inner.program_crash();
    let list = writer.medium.inner.list();
    let (spools, _) = spool::recover(&writer.medium.inner, &list, 1).unwrap();
    assert_eq!(spools[0].state(ids[0], 0).unwrap().attempts, 1);
}

/// A delay that was told is not told again.
///
/// Covers: A7.7
#[test]
fn a_second_notice_of_one_delay_is_not_owed() {
    let messages = [mail("a@from.example", 1, b"Subject: x\r\n\r\nx\r\n")];
    let (mut writer, ids) = Writer::new(256 << 10, &messages);
    for _ in 0..2 {
        writer.tell(vec![settlement(ids[0], 0, SettledAs::Delayed { until: START })]);
    }
    assert_eq!((writer.count("delayed"), writer.count("report")), (1, 1));
}

const RETRY: &str = "[delivery]\nretry = [\"5m\"]\njitter = \"0%\"\ndelay_notice = \"none\"\n";

fn damage_head(world: &mut World, id: MessageId) {
    let at = id.offset as usize + 64;
    for byte in &mut world.medium.bytes_mut(id.segment)[at..at + 8] {
        *byte ^= 0xff;
    }
}

fn assert_held_until_removed(world: &mut World, id: MessageId, recipients: u64) {
    let mut rows = world.rows();
    rows.retain(|row| row["id"] == id.to_string());
    assert_eq!(rows.len() as u64, recipients, "{rows:?}");
    assert!(rows.iter().all(|row| row["state"] == "held"), "{rows:?}");
    assert_eq!(world.act(QueueAct::Remove, Some(id)), recipients);
    world.run_for(seconds(1));
    assert_eq!(world.logged("removed").len() as u64, recipients);
    assert!(world.rows().iter().all(|row| row["id"] != id.to_string()));
}

/// The envelope of waiting mail is damaged: at its next attempt it is held,
/// seen by operators, and can be removed.
///
/// Covers: B18
#[test]
fn mail_whose_envelope_is_damaged_is_held_and_can_be_removed() {
    let mut world = world(RETRY, Host::new().next(Stage::Rcpt, Act::Say(450, "later"), 2));
    let bad = world.accept(0, "a@from.example", &["b@there.example", "c@there.example"]);
    world.run_for(seconds(10));
    damage_head(&mut world, bad);
    world.run_for(minutes(6));
    assert_eq!(world.logged("held").len(), 2);
    world.run_for(minutes(60));
    assert_eq!(world.logged("held").len(), 2, "once, and not again");
    assert_held_until_removed(&mut world, bad, 2);
    world.assert_over();
}

/// The same found by a start: held in the log once, said once per start.
///
/// Covers: B18
#[test]
fn a_start_holds_mail_whose_envelope_is_damaged() {
    let mut world = world(RETRY, Host::new().always(Stage::Connect, Act::Drop));
    let bad = world.accept(0, "a@from.example", &["b@there.example", "c@there.example"]);
    for _ in 0..200 {
        world.submit(0, "a@from.example", &["d@there.example"], &"a line\n".repeat(3_000));
    }
    // Time for its segment to be sealed.
    world.run_for(minutes(3));
    damage_head(&mut world, bad);
    for start in 1..=3 {
        world.crash(1);
        world.run_for(seconds(30));
        assert_eq!(world.logged("quarantined").len(), start);
        assert_eq!(world.logged("held").len(), 2, "in the log since the first start");
    }
    assert_held_until_removed(&mut world, bad, 2);
    world.crash(1);
    world.run_for(seconds(30));
    assert_eq!(world.logged("quarantined").len(), 3, "it has ended");
}
