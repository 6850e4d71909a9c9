//! The disk, and the ends of lives: steps over the medium, what the medium
//! asked for, crashes of the program and of the machine at any point within a
//! step.
//!
//! Invariant: what a step wrote after the point of a crash never happened.

use base::SegmentId;
use shard::event::Event;
use spool::Report;

use super::{Thing, World};
use crate::observation::{Disk, Observation, Recovery};

/// A crash that is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doom {
    /// After so many steps more.
    pub steps: u32,
    /// Of the writes of that step, so many happen.
    pub writes: u32,
    /// Of its effects, so many are carried out, if all its writes happened.
    pub effects: u32,
}

/// What becomes of writes that were not synced when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// It stays on: the program alone ends.
    Stays,
    /// It goes; each sector is kept with these odds of a hundred, by a
    /// generator of this seed.
    Goes {
        /// Seed of the choice.
        seed: u64,
        /// Odds of a hundred that a sector is kept.
        kept: u64,
    },
}

impl World {
    /// One step of a shard, and what comes of it.
    pub(super) fn step(&mut self, shard: usize, event: Event<'_>) {
        if self.fallen {
            return;
        }
        self.eyes.step += 1;
        let mut effects = Vec::new();
        self.shards[shard].step(self.now, event, &mut self.medium, &mut effects);
        if self.doom.is_some_and(|doom| doom.steps == 0) {
            effects.truncate(self.fall());
        } else if let Some(doom) = &mut self.doom {
            doom.steps -= 1;
        }
        if self.eyes.open {
            self.look_at_disk();
        }
        for request in self.medium.requests() {
            match request {
                spool::Request::Sync(segment) => {
                    let span = self.weather.span(&self.weather.sync_ms.clone());
                    self.plan(span, Thing::Synced(shard, segment));
                }
                spool::Request::Segment => {
                    let span = self.weather.span(&self.weather.segment_ms.clone());
                    self.plan(span, Thing::Segment(shard));
                }
                spool::Request::Retire(segment) => {
                    let span = self.weather.span(&self.weather.sync_ms.clone());
                    self.plan(span, Thing::Gone(segment));
                }
            }
        }
        for effect in effects {
            self.carry_out(shard, effect);
        }
    }

    /// The program ends within the step just made. Gives how many effects are
    /// still carried out.
    fn fall(&mut self) -> usize {
        let doom = self.doom.take().expect("only who is doomed falls");
        self.fallen = true;
        let writes = self.medium.writes();
        let kept = (doom.writes as usize).min(writes.len());
        for write in writes[kept..].iter().rev() {
            self.medium.forget_write(*write);
        }
        self.medium.requests();
        if kept < writes.len() { 0 } else { doom.effects as usize }
    }

    fn look_at_disk(&mut self) {
        for _ in 0..self.medium.failed_writes() {
            self.see(Observation::Disk { segment: None, what: Disk::WriteFailed });
        }
        self.look_at_writes();
    }

    /// A crash is to come.
    pub(crate) fn doom(&mut self, doom: Doom) {
        self.doom = Some(doom);
    }

    /// The crash that was to come does not.
    pub(crate) fn undo_doom(&mut self) {
        self.doom = None;
    }

    /// The program ends between two steps.
    pub(crate) fn fall_now(&mut self) {
        self.fallen = true;
    }

    /// Everybody is asked to end in good order.
    pub(crate) fn drain(&mut self) {
        for shard in 0..self.shards.len() {
            self.tell(shard, super::LATENCY, Event::Drain);
        }
    }

    /// Whether the crash has come: nothing goes on before [`World::rise`].
    pub(crate) fn has_fallen(&self) -> bool {
        self.fallen
    }

    pub(super) fn sync_ends(&mut self, shard: usize, segment: SegmentId) {
        let fails = self.failing_syncs > 0 || self.weather.strikes(self.weather.syncs_fail);
        self.failing_syncs = self.failing_syncs.saturating_sub(1);
        let end = self.medium.finish_sync(segment, !fails);
        let what = if fails { Disk::SyncFailed } else { Disk::Synced(end) };
        self.see(Observation::Disk { segment: Some(segment), what });
        self.step(shard, Event::Synced { segment, ok: !fails });
    }

    pub(super) fn segment_is_made(&mut self, shard: usize) {
        if self.disk_full {
            self.see(Observation::Disk { segment: None, what: Disk::NoSegment });
            let reason = "no space left".to_owned();
            return self.step(shard, Event::NoSegment { reason });
        }
        let (segment, bytes) = self.medium.create();
        self.step(shard, Event::SegmentReady { segment, bytes });
    }

    /// The disk is full, or has room again.
    pub(crate) fn fill_disk(&mut self, full: bool) {
        self.disk_full = full;
        let what = if full { Disk::Full } else { Disk::Roomy };
        self.see(Observation::Disk { segment: None, what });
        let free_bytes = if full { 1 << 20 } else { 1 << 40 };
        for shard in 0..self.shards.len() {
            let event = Event::Disk { free_bytes, free_inodes: 1 << 20 };
            self.tell(shard, super::LATENCY, event);
        }
    }

    /// The program ends here and now, and starts again with `shards` shards
    /// over what the page cache has.
    pub fn crash(&mut self, shards: u16) -> Report {
        self.medium.program_crash();
        self.restart(shards)
    }

    /// The power goes; `keep` says how much of each write that was not synced
    /// had reached the disk.
    pub fn power_cut(&mut self, shards: u16, keep: impl FnMut(SegmentId, u32) -> u32) -> Report {
        self.medium.power_cut(keep);
        self.restart(shards)
    }

    /// The program or the machine ends, and starts again.
    pub(crate) fn rise(&mut self, shards: u16, power: Power) {
        let goes = matches!(power, Power::Goes { .. });
        self.see(Observation::Crashed { power: goes });
        match power {
            Power::Stays => self.medium.program_crash(),
            Power::Goes { seed, kept } => {
                let mut rng = base::Rng::new(seed);
                self.medium.power_cut_by_sector(|_, _| rng.below(100) < kept);
            }
        }
        let report = self.restart(shards);
        let is_damage = |cut: &&spool::Cut| cut.reason != spool::CutReason::TornTail;
        let report = Recovery {
            in_doubt: report.in_doubt.iter().map(|d| (d.message, d.recipient)).collect(),
            cut_bytes: report.cuts.iter().map(|cut| u64::from(cut.bytes)).sum(),
            damages: report.cuts.iter().filter(is_damage).count() as u32,
            recipients: report.recipients,
        };
        self.see(Observation::Recovered { shards, report: report.into() });
    }

    fn restart(&mut self, shards: u16) -> Report {
        self.agenda.clear();
        self.shards.clear();
        self.network.cut();
        self.customers_are_cut_off();
        self.orders.clear();
        self.programs_are_forgotten();
        self.mesh_last.clear();
        self.drained.clear();
        (self.doom, self.fallen) = (None, false);
        let segments = self.medium.list();
        let (spools, report) = spool::recover(&self.medium, &segments, shards).expect("our format");
        self.move_to(self.now.mono + std::time::Duration::from_secs(1));
        self.boot(spools);
        report
    }
}
