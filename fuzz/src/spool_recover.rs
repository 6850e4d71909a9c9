//! The log over a disk that loses what was not synced: any history of mail,
//! outcomes, failed syncs, power cuts, crashes and restarts with another
//! number of shards; and, when the input says so, of flipped bits.
//!
//! Input: steps. Oracle: a plain table of what was written. After a restart
//! there is no message that nobody wrote and none that is altered; what was
//! durable and is not done is there; what is durably done stays done; an open
//! attempt of a crashed program is in doubt. With flipped bits what is missing
//! is reported.
//!
//! Read first: the page on the queue's format.

mod table;

use std::collections::BTreeMap;

use base::{MessageId, Monotonic, Now, SegmentId, ShardId, Wall};
use mail::{Address, Envelope, Recipient, ReversePath};
use spool::{
    Change, MemoryMedium, Meta, Outcome, Phase, Refusal, Report, Request, Spool, Try, recover,
};

use crate::input::Input;
use table::{Mark, Table};

/// Runs the target.
pub fn spool_recover(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World {
        medium: MemoryMedium::new(SEGMENT_BYTES),
        spools: vec![Spool::new(ShardId(0))],
        owners: BTreeMap::new(),
        pending: Vec::new(),
        table: Table::default(),
        ms: 1_000,
        is_damaged: false,
    };
    world.kick();
    for _ in 0..3 {
        world.answer_all();
    }
    while !input.is_empty() && world.medium.list().len() < SEGMENTS_MAX {
        world.step(&mut input);
        world.kick();
    }
    world.restart(Crash::Program, 1);
    world.check_table();
}

/// Small, so that a short history fills several.
const SEGMENT_BYTES: u32 = 16 << 10;
/// Bounds the time of one run.
const SEGMENTS_MAX: usize = 40;

struct World {
    medium: MemoryMedium,
    spools: Vec<Spool>,
    /// Whose log a segment is.
    owners: BTreeMap<SegmentId, usize>,
    /// What was asked for, by whom.
    pending: Vec<(usize, Request)>,
    table: Table,
    ms: u64,
    is_damaged: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Crash {
    Program,
    /// Of each unsynced write, so many of sixteen parts reached the disk.
    Power(u8),
}

impl World {
    fn step(&mut self, input: &mut Input<'_>) {
        self.ms += 1;
        match input.byte() % 20 {
            0..=3 => self.append(input),
            4..=6 => self.settle(input),
            7 => self.attempt(input),
            8 => self.report(input),
            9 => self.answer(input, true),
            10 if input.below(4) == 3 => self.answer(input, false),
            10..=12 => self.answer_all(),
            13 => self.ms += u64::from(input.byte()) * 40,
            14 | 15 => self.reclaim(input),
            16 => self.restart(Crash::Power(input.byte() % 17), 1 + input.below(3) as u16),
            17 => self.restart(Crash::Program, 1 + input.below(3) as u16),
            18 if input.below(4) == 3 => self.flip(input),
            _ => self.hand_out(),
        }
    }

    fn now(&self) -> Now {
        let (mono, wall) = (Monotonic::from_millis(self.ms), Wall::from_millis(1 << 40 | self.ms));
        Now::new(mono, wall)
    }

    /// Lets every log start what is due, and notes who asked for what.
    fn kick(&mut self) {
        let now = self.now();
        for place in 0..self.spools.len() {
            self.spools[place].kick(&mut self.medium, now);
            self.take_requests(place);
            let deadline = self.spools[place].next_deadline();
            assert!(deadline.is_none_or(|deadline| deadline > now.mono), "a deadline stands still");
        }
    }

    fn take_requests(&mut self, place: usize) {
        let requests = self.medium.requests();
        self.pending.extend(requests.into_iter().map(|request| (place, request)));
    }

    fn answer(&mut self, input: &mut Input<'_>, ok: bool) {
        if !self.pending.is_empty() {
            let chosen = input.below(self.pending.len().min(256));
            let (place, request) = self.pending.remove(chosen);
            self.answer_one(place, request, ok);
        }
    }

    fn answer_all(&mut self) {
        for (place, request) in std::mem::take(&mut self.pending) {
            self.answer_one(place, request, true);
        }
        self.kick();
    }

    fn answer_one(&mut self, place: usize, request: Request, ok: bool) {
        let now = self.now();
        let spool = &mut self.spools[place];
        match request {
            Request::Sync(segment) => {
                self.medium.finish_sync(segment, ok);
                let lost = spool.synced(segment, ok);
                if let Some(lost) = lost {
                    self.table.lost(place, lost);
                }
                self.table.durable(place, spool.durable());
            }
            Request::Segment if ok => {
                let (segment, bytes) = self.medium.create();
                self.owners.insert(segment, place);
                spool.segment_ready(segment, bytes);
            }
            Request::Segment => spool.no_segment(now),
            Request::Retire(segment) if ok => self.medium.remove(segment),
            Request::Retire(_) => {}
        }
    }

    fn append(&mut self, input: &mut Input<'_>) {
        let place = input.below(self.spools.len());
        let envelope = envelope(input);
        let body = body(input);
        let meta = Meta { client: None, helo: "c.example", report: false };
        let now = self.now();
        let spool = &mut self.spools[place];
        let written = spool.append_message(&mut self.medium, now, &meta, &envelope, &[&body]);
        match written {
            Ok(appended) => {
                let live = spool.states(appended.id).map(Iterator::count);
                assert_eq!(live, Some(envelope.recipients.len()));
                self.table.append(place, &appended, &envelope, body);
            }
            Err(Refusal::MisuseUnknown) => panic!("a message is its own"),
            Err(_) => {}
        }
    }

    /// A message of a log, and one of its recipients.
    fn chosen(&self, input: &mut Input<'_>) -> Option<(usize, MessageId, u16)> {
        let place = input.below(self.spools.len());
        let spool = &self.spools[place];
        let ids: Vec<MessageId> =
            self.table.ids().filter(|id| spool.states(*id).is_some()).collect();
        let number = usize::from(input.byte());
        let id = *ids.get(number % ids.len().max(1))?;
        let recipients = spool.states(id)?.count();
        Some((place, id, input.below(recipients) as u16))
    }

    fn settle(&mut self, input: &mut Input<'_>) {
        let Some((place, id, recipient)) = self.chosen(input) else { return };
        let change = self.change(place, id, recipient, input);
        let was_done = self.is_done(place, id, recipient);
        let now = self.now();
        let settled = self.spools[place].settle(&mut self.medium, now, id, &[change]);
        if let (Ok(settled), false) = (settled, was_done) {
            self.table.mark(place, id, recipient, settled.position, mark_of(&change));
        }
    }

    fn change(
        &self,
        place: usize,
        id: MessageId,
        recipient: u16,
        input: &mut Input<'_>,
    ) -> Change<'static> {
        let state = self.spools[place].state(id, recipient).expect("chosen among the live");
        let phases = [
            Phase::Done(Outcome::Delivered),
            Phase::Waiting,
            Phase::Held,
            Phase::Done(Outcome::Failed),
            Phase::Done(Outcome::Expired),
            Phase::Done(Outcome::Removed),
        ];
        Change {
            recipient,
            phase: input.pick(&phases),
            attempts: state.attempts.saturating_add(1),
            next: Wall::from_millis(1 << 41),
            in_doubt: input.flag(),
            delay_noticed: input.flag(),
            note: None,
        }
    }

    fn is_done(&self, place: usize, id: MessageId, recipient: u16) -> bool {
        let state = self.spools[place].state(id, recipient);
        state.is_none_or(|state| matches!(state.phase, Phase::Done(_)))
    }

    fn attempt(&mut self, input: &mut Input<'_>) {
        let Some((place, id, recipient)) = self.chosen(input) else { return };
        let now = self.now();
        let spool = &mut self.spools[place];
        let (Some(state), Some(home)) = (spool.state(id, recipient), spool.place(id)) else {
            return;
        };
        if matches!(state.phase, Phase::Done(_)) {
            return;
        }
        let attempt = state.attempts.saturating_add(1);
        let tries = [Try { recipient, attempt }];
        if spool.append_attempt(&mut self.medium, now, id, home.segment, &tries).is_ok() {
            self.table.attempt(id, recipient, attempt);
        }
    }

    /// A report of ours and the standing that makes it due, in one record.
    fn report(&mut self, input: &mut Input<'_>) {
        let Some((place, about, recipient)) = self.chosen(input) else { return };
        let change = self.change(place, about, recipient, input);
        let was_done = self.is_done(place, about, recipient);
        let mut envelope = envelope(input);
        envelope.sender = ReversePath::Null;
        let body = body(input);
        let now = self.now();
        let written = self.spools[place].append_report(
            &mut self.medium,
            now,
            &envelope,
            &[&body],
            about,
            &[change],
        );
        if let Ok((appended, settled)) = written {
            self.table.append(place, &appended, &envelope, body);
            if !was_done {
                self.table.mark(place, about, recipient, settled.position, mark_of(&change));
            }
        }
    }

    fn reclaim(&mut self, input: &mut Input<'_>) {
        self.ms += 1_000;
        let now = self.now();
        let place = input.below(self.spools.len());
        for _ in 0..64 {
            let done = self.spools[place].reclaim(&mut self.medium, now, 16, input.flag());
            self.take_requests(place);
            for (id, at) in done.moved {
                assert_eq!(self.spools[place].place(id), Some(at));
            }
            if !done.more {
                break;
            }
        }
    }

    /// A bit of some segment changes under a stopped program.
    fn flip(&mut self, input: &mut Input<'_>) {
        let segments = self.medium.list();
        let Some(segment) = segments.get(input.below(segments.len().clamp(1, 256))) else { return };
        let offset = (input.number() % u64::from(SEGMENT_BYTES)) as usize;
        self.medium.program_crash();
        self.medium.bytes_mut(*segment)[offset] ^= 1 << input.below(8);
        self.is_damaged = true;
        self.restart(Crash::Program, 1);
    }

    fn restart(&mut self, crash: Crash, shards: u16) {
        match crash {
            Crash::Program => self.medium.program_crash(),
            Crash::Power(parts) => {
                self.medium.power_cut(|_, bytes| bytes / 16 * u32::from(parts.min(16)));
            }
        }
        self.pending.clear();
        let segments = self.medium.list();
        let (spools, report) =
            recover(&self.medium, &segments, shards).expect("no bit makes a format newer");
        let again = recover(&self.medium, &segments, shards).map(|(_, report)| report);
        assert_eq!(again.as_ref(), Ok(&report), "recovery says something else the second time");
        self.check_report(&report);
        let doubts = report.in_doubt.iter().map(|doubt| (doubt.message, doubt.recipient));
        let power = matches!(crash, Crash::Power(_));
        let lossy = self.is_damaged;
        let cut = !report.cuts.is_empty();
        self.table.check_recovered(&spools, doubts.collect(), power, lossy, cut);
        let shards = usize::from(shards);
        self.owners = segments.iter().map(|s| (*s, s.0 as usize % shards)).collect();
        self.spools = spools;
        self.table.restarted(&self.spools);
        self.kick();
        self.answer_all();
        self.check_table();
    }

    fn check_report(&self, report: &Report) {
        let live: u64 = self.table.live_max();
        assert!(report.messages <= live, "{} messages of {live}", report.messages);
        for cut in &report.cuts {
            assert!(
                u64::from(cut.offset) + u64::from(cut.bytes) <= SEGMENT_BYTES.into(),
                "{cut:?}"
            );
        }
    }

    /// Recovered mail comes out once, each message one that was written.
    fn hand_out(&mut self) {
        for place in 0..self.spools.len() {
            for _ in 0..2_000 {
                let spool = &mut self.spools[place];
                let Some(message) = spool.next_recovered(&self.medium) else { break };
                self.table.check_message(&self.medium, &message, self.is_damaged);
            }
        }
    }

    /// Every message in the logs is one that was written, unaltered.
    fn check_table(&self) {
        for spool in &self.spools {
            for id in self.table.ids() {
                if spool.states(id).is_some()
                    && let Ok(message) = spool.message(&self.medium, id)
                {
                    self.table.check_message(&self.medium, &message, self.is_damaged);
                }
            }
        }
    }
}

fn mark_of(change: &Change<'_>) -> Mark {
    let is_done = matches!(change.phase, Phase::Done(_));
    Mark { is_done, attempts: change.attempts }
}

fn envelope(input: &mut Input<'_>) -> Envelope {
    let address = |text: String| Address::parse(text, false).expect("an address");
    let number = input.byte();
    let recipients = (0..1 + input.below(3))
        .map(|place| Recipient::new(address(format!("r{place}.{number}@d.example"))))
        .collect();
    let sender = ReversePath::Address(address(format!("s{number}@a.example")));
    let envid = input.flag().then(|| "QQ314".into());
    Envelope { envid, ..Envelope::new(sender, recipients) }
}

/// A body that is unlike others, short or a good part of a segment.
fn body(input: &mut Input<'_>) -> Vec<u8> {
    let line = format!("{:016x}\r\n", input.number());
    line.repeat(input.pick(&[1, 4, 40, 200])).into_bytes()
}
