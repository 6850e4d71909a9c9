//! Damage to real files: flipped bits, lost sectors, garbage, cut and strange
//! files, files in each other's places.
//!
//! What a power cut makes is elsewhere. Here anything may have happened to the
//! bytes, and yet: nothing is delivered that is not what was accepted, what is
//! not whole is said or found out when it is read, all else is there, nothing
//! panics, and a damaged file is kept for whoever can mend it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use base::{MessageId, Rng, SegmentId};
use spool::{CutReason, Place, Report};

use super::disk::{self, Image};
use super::facts::{Facts, Found};
use super::world::World;
use super::{Plan, Told, place};

#[derive(Debug, Default)]
struct Counts {
    cases: u64,
    /// Mail that cannot be had any more, each reported or found out.
    damaged: u64,
    /// Whole mail cut off with a damaged neighbour of its last sync.
    cut_with_others: u64,
    /// Of the damaged, the end of a log that left no trace.
    silent: u64,
    /// Mail whose end was damaged, so that it is there again.
    back: u64,
}

const STEPS: u64 = 250;
const CASES: u64 = 250;

/// Covers: B17, B18, B19
#[test]
fn damage_is_found_out_and_costs_only_what_it_hit() {
    let plan = Plan::of_environment(2, 100);
    let place = place();
    let (live, root) = (place.path().join("live"), place.path().join("image"));
    let mut counts = Counts::default();
    for history in 0..plan.histories {
        let _told = Told(format!("RINGPOST_SEED={} history {history}", plan.seed));
        let mut rng = Rng::new(plan.seed.wrapping_add(history << 32));
        disk::write(&Image::new(), &live);
        let sound = Sound::made(&live, &mut rng);
        for case in 0..CASES {
            counts.cases += 1;
            let mut image = sound.image.clone();
            let what = damage(&mut image, &mut rng);
            let _told = Told(format!("case {case}: {what}"));
            sound.judge(&image, &root, &mut rng, &mut counts);
        }
    }
    println!("damage: RINGPOST_SEED={} {counts:?}", plan.seed);
    assert!(counts.damaged > 0, "the damage hurts");
}

/// Undamaged files and what is in them.
struct Sound {
    image: Image,
    facts: Facts,
    found: BTreeMap<MessageId, Found>,
    places: BTreeMap<MessageId, Place>,
}

impl Sound {
    fn made(root: &Path, rng: &mut Rng) -> Self {
        let shards = 1 + rng.below(2) as u16;
        let (mut world, _) = World::open(root, shards, Rng::new(rng.next_u64()));
        world.settle_in();
        for _ in 0..STEPS {
            world.step();
        }
        world.finish();
        world.clean(10);
        world.finish();
        let facts = std::mem::take(&mut world.facts);
        drop(world);
        let (world, report) = World::open(root, 1, Rng::new(0));
        assert_eq!(report.cuts, []);
        let found = world.found(facts.mail.keys().copied());
        let places = found.keys().map(|id| (*id, world.place(*id).unwrap())).collect();
        Self { image: disk::read(root), facts, found, places }
    }

    fn judge(&self, image: &Image, root: &Path, rng: &mut Rng, counts: &mut Counts) {
        disk::write(image, root);
        let shards = 1 + rng.below(3) as u16;
        let (mut world, report) = World::open(root, shards, Rng::new(rng.next_u64()));
        let _told = Told(format!("{shards} shards, {report:?}"));
        let found = world.found(self.facts.mail.keys().copied());
        for (id, place) in &self.places {
            self.check_mail(*id, *place, image, (&world, &report, found.get(id)), counts);
        }
        for (id, (body, _)) in &found {
            assert!(*body == self.facts.mail[id].body, "{id} would be delivered altered");
            if !self.found.contains_key(id) {
                counts.back += 1;
                let said = !report.cuts.is_empty() || self.hit_an_end(image);
                assert!(said, "{id} had ended and is back without a word");
            }
        }
        world.settle_in();
        for id in world.hand_out(&report) {
            assert!(self.facts.mail.contains_key(&id), "{id} was never written");
        }
        world.facts = self.facts.adopt(&found, |id| world.writer(id).expect("it was found"));
        world.note_doubts(&report);
        go_on(world, &report, root, rng);
    }

    /// Whether the last sync's part of a segment is so damaged that nothing in
    /// it shows that there was anything: old bytes of a recycled file, and what
    /// was never written, look the same.
    fn is_end(&self, place: Place, image: &Image) -> bool {
        let path = path(place.segment);
        let behind = |record: &&Place| record.offset >= place.offset;
        let all = records(&self.image[&path], place.segment);
        all.iter().filter(behind).all(|p| bytes(image, *p) != bytes(&self.image, *p))
    }

    /// Whether the end of some log is damaged so.
    fn hit_an_end(&self, image: &Image) -> bool {
        let ends = self
            .image
            .iter()
            .filter_map(|(path, content)| records(content, segment(path)?).last().copied());
        ends.into_iter().any(|end| self.is_end(end, image))
    }

    /// One message that was live before the damage.
    fn check_mail(
        &self,
        id: MessageId,
        place: Place,
        image: &Image,
        (world, report, found): (&World, &Report, Option<&Found>),
        counts: &mut Counts,
    ) {
        let here = report.cuts.iter().filter(|cut| cut.segment == place.segment);
        let reasons: Vec<CutReason> = here.clone().map(|cut| cut.reason).collect();
        let untouched = bytes(image, place) == bytes(&self.image, place);
        let Some((body, standings)) = found else {
            counts.damaged += u64::from(!untouched);
            counts.cut_with_others += u64::from(untouched);
            let covers = |cut: &&spool::Cut| {
                cut.reason == CutReason::TornTail
                    && (cut.offset..cut.offset + cut.bytes).contains(&place.offset)
            };
            assert!(!untouched || here.clone().any(|cut| covers(&cut)), "{id} is whole and lost");
            let silent = world.writer(id).is_none() && reasons.is_empty();
            counts.silent += u64::from(silent);
            assert!(!silent || self.is_end(place, image), "{id} is lost without a word");
            return;
        };
        let (old_body, old) = &self.found[&id];
        assert!(body == old_body, "{id} would be delivered altered");
        let same = old.len() == standings.len()
            && old.iter().zip(standings).all(|(old, new)| old.same(new, true));
        let said = !report.cuts.is_empty() || self.hit_an_end(image);
        assert!(same || said, "{id}: {old:?} became {standings:?} unsaid");
    }
}

/// The log goes on beside the damage; nothing that could be read is lost by
/// cleaning, and nothing damaged is given up.
fn go_on(mut world: World, report: &Report, root: &Path, rng: &mut Rng) {
    for shard in 0..world.shards() {
        world.accept(shard);
    }
    world.settle();
    world.finish();
    world.clean(rng.below(8) as u32);
    world.finish();
    let facts = std::mem::take(&mut world.facts);
    let expected = world.found(facts.mail.keys().copied());
    let places: BTreeMap<_, _> = expected.keys().map(|id| (*id, world.place(*id))).collect();
    drop(world);
    for cut in &report.cuts {
        let path = root.join(path(cut.segment));
        let damage = matches!(cut.reason, CutReason::Damaged | CutReason::Superblock);
        assert!(!damage || path.exists(), "{path:?} was damaged and is gone");
    }
    let (world, after) = World::open(root, 1, Rng::new(0));
    let _told = Told(format!("{after:?}"));
    let found = world.found(facts.mail.keys().copied());
    for (id, (body, standings)) in &expected {
        let Some((now, new)) = found.get(id) else {
            panic!("{id} was there at {:?} and is lost: {:?}", places[id], world.place(*id))
        };
        let same = standings.iter().zip(new).all(|(a, b)| a.same(b, true) || b.same(a, true));
        assert!(now == body && same, "{id}: {standings:?} became {new:?}");
    }
    let more: BTreeSet<_> = found.keys().filter(|id| !expected.contains_key(id)).collect();
    assert!(more.is_empty(), "{more:?} had ended and are back");
}

fn bytes(image: &Image, place: Place) -> Option<&[u8]> {
    let from = place.offset as usize;
    image.get(&path(place.segment))?.get(from..from + place.len as usize)
}

/// The records of a sound segment, as FORMAT.md draws them.
fn records(content: &[u8], segment: SegmentId) -> Vec<Place> {
    let number =
        |at: usize| content.get(at..at + 4).map(|raw| u32::from_le_bytes(raw.try_into().unwrap()));
    let mut found = Vec::new();
    let mut at = 4096;
    while number(at + 4) == Some(segment.0) && number(at + 8) == Some(found.len() as u32) {
        let len = (40 + number(at + 16).unwrap()).next_multiple_of(8);
        found.push(Place { segment, offset: at as u32, len });
        at += len as usize;
    }
    found
}

/// Does one kind of damage; says which.
fn damage(image: &mut Image, rng: &mut Rng) -> String {
    let segments: Vec<PathBuf> = image.keys().filter(|p| segment(p).is_some()).cloned().collect();
    let mut any = || segments[rng.below(segments.len() as u64) as usize].clone();
    let (a, b) = (any(), any());
    let size = image[&a].len() as u64;
    let newest = segments.iter().filter_map(|path| segment(path)).max().unwrap().0;
    let unused: PathBuf = path(SegmentId(newest + 7));
    let content = image.get_mut(&a).unwrap();
    // Mostly where the log is: behind it there is little to damage.
    let used = content.iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64 + 1;
    match rng.below(12) {
        0..4 => {
            let count = 1 + rng.below(3);
            let places: Vec<u64> = (0..count).map(|_| rng.below(used * 8)).collect();
            for bit in &places {
                content[(bit / 8) as usize] ^= 1 << (bit % 8);
            }
            format!("flipped bits {places:?} of {a:?}")
        }
        4 | 5 => {
            let from = rng.below(used / 512 + 1) as usize * 512;
            let to = (from + 512 * (1 + rng.below(8)) as usize).min(content.len());
            content[from..to].fill(0);
            format!("zeroed {from}..{to} of {a:?}")
        }
        6 => {
            let from = rng.below(used) as usize;
            content[from..].fill_with(|| rng.next_u64() as u8);
            format!("garbage from {from} of {a:?}")
        }
        7 => {
            let more = rng.below(5_000);
            content.extend((0..more).map(|_| rng.next_u64() as u8));
            format!("{more} bytes more of {a:?}")
        }
        8 => {
            let len = rng.below(size);
            content.truncate(len as usize);
            format!("cut {a:?} to {len}")
        }
        9 => {
            let (first, second) = (image[&a].clone(), image[&b].clone());
            image.extend([(a.clone(), second), (b.clone(), first)]);
            format!("swapped {a:?} and {b:?}")
        }
        10 => {
            let twin = image[&a].clone();
            image.insert(unused.clone(), twin);
            format!("{a:?} also as {unused:?}")
        }
        _ => foreign(image, unused, rng),
    }
}

fn foreign(image: &mut Image, unused: PathBuf, rng: &mut Rng) -> String {
    let numbers = || PathBuf::from("segments/numbers");
    let names = [unused, "segments/notes.txt".into(), "segments/spare.999".into(), numbers()];
    let name = names[rng.below(4) as usize].clone();
    let len = [0, 5, 300, 4_096, 20_000][rng.below(5) as usize];
    let content = (0..len).map(|_| rng.next_u64() as u8).collect();
    image.insert(name.clone(), content);
    format!("a strange file {name:?} of {len} bytes")
}

fn path(segment: SegmentId) -> PathBuf {
    format!("segments/{:010}", segment.0).into()
}

fn segment(path: &Path) -> Option<SegmentId> {
    let name = path.file_name()?.to_str()?;
    (name.len() == 10).then(|| name.parse().ok().map(SegmentId))?
}
