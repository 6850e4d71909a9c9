//! What a power cut leaves of real files, and what recovery makes of it.
//!
//! Random histories run through the real file code, several lives each. All
//! it did to the disk is in a trace; from that come images of the disk as it
//! may lie there after a cut behind any act, and each is written out as real
//! files, opened and judged: what was acknowledged is there once, whole and as
//! it was sent; what ended has ended; nothing else is there; what was cut off
//! is said; and the log goes on from there.
//!
//! `RINGPOST_SEED` repeats a run, `RINGPOST_LONG=1` makes it long.

mod damage;
pub(crate) mod disk;
mod facts;
mod world;

use std::path::{Path, PathBuf};

use base::Rng;
use spool::CutReason;

use super::trace::{self, Act};
use disk::{Disk, Fate, Image};
use facts::{Facts, Text};
use world::World;

/// How much of everything a run does.
struct Plan {
    seed: u64,
    histories: u64,
}

#[derive(Debug, Default)]
struct Counts {
    lives: u64,
    cuts: u64,
    images: u64,
    /// Lives that ended with the program alone.
    crashes: u64,
    /// Images on which the log went on and was recovered once more.
    continued: u64,
    torn: u64,
    in_doubt: u64,
}

/// Moments at which the power goes, in a run.
const CUTS_MIN: u64 = 2_000;
/// Restarts of a history after its first life.
const LIVES: u64 = 3;
const STEPS: u64 = 160;

/// Covers: B1, B4, B5, B6, B7, B8, B9, B10, B11, B12, B13, B14
#[test]
fn whatever_a_power_cut_leaves_of_the_files_keeps_every_promise() {
    let plan = Plan::of_environment(1, 100);
    let place = place();
    let mut counts = Counts::default();
    for history in 0.. {
        if history >= plan.histories && counts.cuts >= CUTS_MIN {
            break;
        }
        let _told = Told(format!("RINGPOST_SEED={} history {history}", plan.seed));
        let rng = Rng::new(plan.seed.wrapping_add(history << 32));
        History {
            rng,
            root: place.path().join("live"),
            image: place.path().join("image"),
            shards: None,
        }
        .run(&mut counts);
    }
    println!("crash images: RINGPOST_SEED={} {counts:?}", plan.seed);
    assert!(counts.torn > 0 && counts.in_doubt > 0, "the cuts hurt");
}

/// What was done before a crash, and where in its trace the cut was.
struct Past {
    facts: Facts,
    cut: u64,
}

/// What was done between two crashes. Up to `opened` the past counts.
struct Life<'a> {
    past: &'a Past,
    opened: u64,
    acts: &'a [Act],
    facts: &'a Facts,
}

struct History {
    rng: Rng,
    /// Where it is lived, and where its images are opened.
    root: PathBuf,
    image: PathBuf,
    /// As many in every life, or each time another number.
    shards: Option<u16>,
}

impl History {
    fn run(mut self, counts: &mut Counts) {
        self.shards = self.rng.chance(1, 2).then(|| 1 + self.rng.below(3) as u16);
        disk::write(&Image::new(), &self.root);
        std::fs::remove_dir(self.root.join("segments")).unwrap();
        let facts = Facts { resharded: self.shards != Some(1), ..Facts::default() };
        let mut past = Past { facts, cut: 0 };
        let mut disk = Disk::of_folder(&self.root);
        for life in 0..=LIVES {
            let _told = Told(format!("life {life}"));
            counts.lives += 1;
            trace::start();
            let (facts, opened) = self.live(&past);
            let acts = trace::take();
            let life = Life { past: &past, opened, acts: &acts, facts: &facts };
            let (cut, image) = self.judge_all(&mut disk, &life, counts);
            if self.rng.chance(1, 3) && !disk.is_doomed() {
                // The program dies, the machine runs on: what was not synced
                // is there to be found and not yet on the disk.
                counts.crashes += 1;
                past = Past { facts, cut: acts.len() as u64 };
                continue;
            }
            disk::write(&image, &self.root);
            disk = Disk::of_folder(&self.root);
            past = Past { facts, cut };
        }
    }

    /// One life, from the folder as it lies there to a crash; and the moment
    /// from which what was found there counts.
    fn live(&mut self, past: &Past) -> (Facts, u64) {
        let (mut world, opened) = self.start(&self.root.clone(), past);
        for _ in 0..STEPS {
            world.step();
        }
        (world.facts, opened)
    }

    /// Starts on what is left of a `past`, and judges what is found there.
    fn start(&mut self, root: &Path, past: &Past) -> (World, u64) {
        let (world, _, opened) = self.start_and_tell(root, past);
        (world, opened)
    }

    fn start_and_tell(&mut self, root: &Path, past: &Past) -> (World, spool::Report, u64) {
        let Past { facts, cut } = past;
        let shards = self.shards.unwrap_or_else(|| 1 + self.rng.below(3) as u16);
        let (mut world, report) = World::open(root, shards, Rng::new(self.rng.next_u64()));
        let opened = trace::len();
        let _told = Told(format!("{shards} shards, {report:?}"));
        let found = world.found(facts.mail.keys().copied());
        facts.check(&found, &report, *cut);
        let header = |at: spool::Place| {
            let bytes = world.bytes(at.segment, at.offset, 40);
            bytes.map(|bytes| Text(bytes.to_vec()))
        };
        facts.check_cuts(&found, &report, header);
        // Damage is what a power cut never makes.
        let torn = |cut: &spool::Cut| matches!(cut.reason, CutReason::TornTail | CutReason::Index);
        assert!(report.cuts.iter().all(torn), "{report:?}");
        world.facts = facts.adopt(&found, |id| world.writer(id).expect("it was found"));
        world.settle_in();
        world.hand_out(&report);
        world.note_doubts(&report);
        (world, report, opened)
    }

    /// Judges images of all moments of a life; gives one to live on from.
    fn judge_all(&mut self, disk: &mut Disk, life: &Life<'_>, counts: &mut Counts) -> (u64, Image) {
        let acts = life.acts;
        // Not before all that was found is as good as ever.
        let next = life.opened + self.rng.below(acts.len() as u64 - life.opened + 1);
        let mut kept = Image::new();
        for at in 0..=acts.len() {
            let cut = at as u64;
            counts.cuts += 1;
            let is_sync = |act: &Act| matches!(act, Act::Sync { .. } | Act::SyncFolder(_));
            let boundary = acts[at.saturating_sub(1)..acts.len().min(at + 1)].iter().any(is_sync);
            let fates: &[Fate] = match (boundary, self.rng.below(2)) {
                (true, 0) => &[Fate::Lost, Fate::Sectors],
                (true, _) => &[Fate::Kept, Fate::Scattered],
                (false, 0) => &[Fate::Sectors],
                (false, _) => &[Fate::Scattered],
            };
            for fate in fates {
                let _told = Told(format!("cut {cut} of {}, {fate:?}", acts.len()));
                let image = disk.image(*fate, &mut self.rng);
                if cut < life.opened {
                    self.judge(&image, life.past, counts);
                } else {
                    self.judge(&image, &Past { facts: life.facts.clone(), cut }, counts);
                }
                if cut == next {
                    kept = image;
                }
            }
            if let Some(act) = acts.get(at) {
                disk.apply(act);
            }
        }
        (next, kept)
    }

    fn judge(&mut self, image: &Image, past: &Past, counts: &mut Counts) {
        counts.images += 1;
        let root = self.image.clone();
        disk::write(image, &root);
        let (world, report, _) = self.start_and_tell(&root, past);
        counts.torn += u64::from(!report.cuts.is_empty());
        counts.in_doubt += u64::from(!report.in_doubt.is_empty());
        if self.rng.chance(1, 3) {
            counts.continued += 1;
            go_on(world, &root, &mut self.rng);
        }
    }
}

/// New mail comes, old mail ends, segments are cleaned; then the program dies,
/// and another number of shards finds all of it as it was.
fn go_on(mut world: World, root: &Path, rng: &mut Rng) {
    for shard in 0..world.shards() {
        world.accept(shard);
    }
    world.settle();
    world.finish();
    world.clean(rng.below(6) as u32);
    world.finish();
    world.settle();
    world.finish();
    let facts = std::mem::take(&mut world.facts);
    let expected = world.found(facts.mail.keys().copied());
    let shards = 1 + (world.shards() as u16 + rng.below(2) as u16) % 3;
    drop(world);
    let (mut world, report) = World::open(root, shards, Rng::new(0));
    let found = world.found(facts.mail.keys().copied());
    assert_eq!(found.len(), expected.len());
    for ((id, (body, now)), (_, (old, before))) in found.iter().zip(&expected) {
        let same = before.iter().zip(now).all(|(a, b)| {
            a.same(b, false) || a.text.is_empty() && facts.resharded && b.same(a, true)
        });
        assert!(
            same && body == old,
            "a crash of the program alone makes of {id} {before:#?} {now:#?}"
        );
    }
    facts.check(&found, &report, u64::MAX);
    world.settle_in();
    world.hand_out(&report);
}

impl Plan {
    /// From the environment; `short` or `long` histories otherwise.
    fn of_environment(short: u64, long: u64) -> Self {
        let seed = std::env::var("RINGPOST_SEED").ok().and_then(|text| text.parse().ok());
        let is_long = std::env::var_os("RINGPOST_LONG").is_some_and(|value| value == "1");
        let histories = if is_long { long } else { short };
        Self { seed: seed.unwrap_or_else(|| u64::from(std::process::id())), histories }
    }
}

/// A folder in memory where there is one: syncs cost nothing there.
fn place() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir());
    made.unwrap()
}

/// Says where a failed test was.
struct Told(String);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("in {}", self.0);
        }
    }
}
