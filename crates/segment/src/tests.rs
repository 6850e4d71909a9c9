//! Real files in a temporary folder: what the checked medium in memory cannot
//! show.

mod fixture;
mod images;
pub(crate) mod trace;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;

use base::{Monotonic, Now, SegmentId, ShardId, Wall};
use mail::{Envelope, Recipient, ReversePath};
use spool::{
    Change, Medium, Meta, Outcome, Phase, Place, Refusal, Spool, message_at, recover, verify_body,
};

use crate::folder::segment_path;
use crate::{FileMedium, Folder, FolderError, Keeper, Request};

const SEGMENT: u32 = 256 * 1024;

/// What the runtime does, without threads and waiting.
struct Host {
    folder: Folder,
    medium: FileMedium,
    keeper: Keeper,
}

impl Host {
    fn open(path: &Path) -> Self {
        let folder = Folder::open(path).unwrap();
        let (medium, keeper) = (folder.medium(), folder.keeper(SEGMENT).unwrap());
        Self { folder, medium, keeper }
    }

    fn recover(&self, shards: u16) -> (Vec<Spool>, spool::Report) {
        recover(&self.medium, &self.folder.list(), shards).unwrap()
    }

    /// Carries out what was asked for until nothing more is.
    fn settle(&mut self, spool: &mut Spool, now: Now) {
        loop {
            spool.kick(&mut self.medium, now);
            let mut requests = Vec::new();
            self.medium.take_requests(&mut requests);
            if requests.is_empty() {
                return;
            }
            for request in requests {
                match request {
                    Request::Sync(segment) => {
                        let file = File::options().write(true).open(self.medium.path(segment));
                        file.unwrap().sync_data().unwrap();
                        assert_eq!(spool.synced(segment, true), None);
                    }
                    Request::NewSegment => match self.keeper.create() {
                        Ok((segment, bytes)) => spool.segment_ready(segment, bytes),
                        Err(_) => spool.no_segment(now),
                    },
                    Request::Retire(segment) => self.keeper.retire(segment).unwrap(),
                }
            }
        }
    }
}

fn at(ms: u64) -> Now {
    Now::new(Monotonic::from_millis(ms), Wall::from_millis(1_000_000 + ms))
}

fn envelope() -> Envelope {
    let to = Recipient::new(mail::Address::parse("a@b.example", false).unwrap());
    Envelope::new(ReversePath::Null, vec![to])
}

fn removed() -> Change<'static> {
    Change {
        recipient: 0,
        phase: Phase::Done(Outcome::Removed),
        attempts: 0,
        next: Wall::default(),
        in_doubt: false,
        delay_noticed: false,
        note: None,
    }
}

fn add(host: &mut Host, spool: &mut Spool, body: &[u8]) -> base::MessageId {
    let written =
        spool.append_message(&mut host.medium, at(0), &Meta::default(), &envelope(), &[body]);
    written.unwrap().id
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("segments")).unwrap();
    for entry in fs::read_dir(from.join("segments")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join("segments").join(path.file_name().unwrap())).unwrap();
    }
}

/// Covers: B37
#[test]
fn what_was_appended_is_found_in_a_copy_of_the_folder() {
    let place = tempfile::tempdir().unwrap();
    let mut host = Host::open(&place.path().join("a"));
    let mut spool = Spool::new(ShardId(0));
    host.settle(&mut spool, at(0));
    let bodies: Vec<Vec<u8>> = (0..40u8).map(|n| vec![n; usize::from(n) * 700]).collect();
    let mut ids = Vec::new();
    for body in &bodies {
        ids.push(add(&mut host, &mut spool, body));
        host.settle(&mut spool, at(0));
    }
    spool.settle(&mut host.medium, at(1), ids[7], &[removed()]).unwrap();
    assert!(host.folder.list().len() > 3, "the mail fills several segments");
    // The writer never closed anything: this is what a crash leaves.
    let copied = place.path().join("b");
    copy(&place.path().join("a"), &copied);
    let other = Host::open(&copied);
    let (spools, report) = other.recover(3);
    assert_eq!((report.messages, report.cuts.as_slice()), (39, &[][..]));
    for (n, id) in ids.iter().enumerate() {
        let found = spools.iter().find_map(|spool| spool.message(&other.medium, *id).ok());
        let Some(message) = found else {
            assert_eq!(n, 7);
            continue;
        };
        assert_eq!(message.body(&other.medium).unwrap(), bodies[n]);
        assert!(verify_body(&other.medium, &message));
    }
}

/// Covers: B11
#[test]
fn a_retired_file_is_recycled_once_nobody_reads_it() {
    let place = tempfile::tempdir().unwrap();
    let mut host = Host::open(place.path());
    let mut spool = Spool::new(ShardId(0));
    host.settle(&mut spool, at(0));
    let id = add(&mut host, &mut spool, &[b'x'; 100_000]);
    host.settle(&mut spool, at(0));
    let stale: Place = spool.place(id).unwrap();
    // Fill up until its segment is no longer the active one.
    for _ in 0..3 {
        let other = add(&mut host, &mut spool, &[b'y'; 100_000]);
        host.settle(&mut spool, at(0));
        spool.settle(&mut host.medium, at(0), other, &[removed()]).unwrap();
    }
    spool.settle(&mut host.medium, at(0), id, &[removed()]).unwrap();
    host.settle(&mut spool, at(500));
    let pin = host.medium.pin(stale.segment).unwrap();
    let body = |medium: &FileMedium| {
        let bytes = medium.read(stale.segment, stale.offset + 2_000, 4).map(<[u8]>::to_vec);
        bytes.unwrap_or_default()
    };
    for turn in 0..20 {
        spool.reclaim(&mut host.medium, at(1_000 + turn * 300), 100, false);
        host.settle(&mut spool, at(1_000 + turn * 300));
    }
    assert_eq!(body(&host.medium), b"xxxx", "a pin keeps it readable");
    assert!(host.medium.size(stale.segment).is_some(), "and it exists");
    drop(pin);
    // The medium lets go with the second step after.
    for _ in 0..3 {
        host.medium.take_requests(&mut Vec::new());
    }
    while host.keeper.prepare().unwrap() {}
    assert_eq!(host.medium.size(stale.segment), None);
    assert!(body(&host.medium).is_empty());
    assert!(message_at(&host.medium, id, stale).is_err());
    assert!(!host.medium.path(stale.segment).exists());
    // The recycled file's old records do not come back under a new number.
    for n in 0..6 {
        add(&mut host, &mut spool, &[n; 100_000]);
        host.settle(&mut spool, at(9_000));
    }
    let copied = tempfile::tempdir().unwrap();
    copy(place.path(), copied.path());
    let (_, report) = Host::open(copied.path()).recover(1);
    assert_eq!(report.messages, 6);
}

/// A program that dies without the machine leaves writes in memory, where the
/// next start found them and took them for durable: mail that had been moved
/// counted at its new place, its old segment was given up, and a power cut took
/// the new place. Everything that is read in is brought to the disk before.
///
/// Covers: B1, B4
#[test]
fn what_a_start_finds_is_on_the_disk_before_it_counts() {
    let place = tempfile::tempdir().unwrap();
    let mut host = Host::open(place.path());
    let mut spool = Spool::new(ShardId(0));
    host.settle(&mut spool, at(0));
    let id = add(&mut host, &mut spool, b"not synced");
    drop(host);
    let inode =
        fs::metadata(segment_path(&place.path().join("segments"), id.segment)).unwrap().ino();
    trace::start();
    let host = Host::open(place.path());
    let acts = trace::take();
    assert_eq!(host.recover(1).1.messages, 1);
    let at = |act| acts.iter().position(|a| *a == act).unwrap_or_else(|| panic!("{acts:?}"));
    at(trace::Act::Sync { inode });
    at(trace::Act::SyncFolder(place.path().join("segments")));
    let lost = |act: &trace::Act| {
        !matches!(
            act,
            trace::Act::MakeFolder(_) | trace::Act::Sync { .. } | trace::Act::SyncFolder(_)
        )
    };
    assert!(!acts.iter().any(lost), "a start changes nothing: {acts:?}");
}

/// Covers: B13
#[test]
fn numbers_are_never_given_out_twice() {
    let place = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let mut host = Host::open(place.path());
        for _ in 0..70 {
            let (segment, _) = host.keeper.create().unwrap();
            seen.push(segment);
            host.keeper.retire(segment).unwrap();
        }
        assert_eq!(host.folder.list(), []);
    }
    assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
    let numbers = place.path().join("segments/numbers");
    fs::write(&numbers, "gibberish").unwrap();
    let mut host = Host::open(place.path());
    assert!(host.keeper.create().unwrap().0.0 >= 1 << 20, "far from whatever it said");
}

/// A damaged note of numbers must cost no start: garbage that was too long was
/// an error, and a strange file with the last number of all overflowed.
#[test]
fn numbers_that_make_no_sense_stop_nobody() {
    let place = tempfile::tempdir().unwrap();
    let segments = place.path().join("segments");
    fs::create_dir_all(&segments).unwrap();
    fs::write(segments.join("numbers"), [b'7'; 4_000]).unwrap();
    let mut host = Host::open(place.path());
    assert!(host.keeper.create().unwrap().0.0 >= 1 << 20, "far from whatever it said");
    drop(host);
    fs::write(segments.join("4294967295"), [b'x'; 9_000]).unwrap();
    let mut host = Host::open(place.path());
    let error = host.keeper.create().unwrap_err();
    assert!(error.to_string().contains("ran out"), "{error}");
    let (_, report) = host.recover(2);
    assert_eq!(report.cuts.len(), 1, "and the strange file is named");
}

/// The name of a retired file is changed, and the sync of that fails: with a
/// power cut the old name may come back. The file was written anew all the
/// same, and one failure left all other retired files behind until the next start.
///
/// Covers: B6, B11
#[test]
fn a_file_is_not_written_anew_while_its_old_name_may_come_back() {
    let place = tempfile::tempdir().unwrap();
    let mut host = Host::open(place.path());
    while host.keeper.prepare().unwrap() {}
    let made: Vec<SegmentId> = (0..4).map(|_| host.keeper.create().unwrap().0).collect();
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let old: Vec<u64> = made.iter().map(|segment| inode(&host.medium.path(*segment))).collect();
    let pins: Vec<_> = made.iter().map(|segment| host.medium.pin(*segment)).collect();
    for segment in &made {
        host.keeper.retire(*segment).unwrap();
    }
    drop(pins);
    for _ in 0..3 {
        host.medium.take_requests(&mut Vec::new());
    }
    // Its name is changed; the sync fails.
    trace::fail_after(1);
    host.keeper.prepare().unwrap_err();
    trace::take();
    let uncertain: Vec<SegmentId> = host.folder.list();
    assert_eq!(uncertain, made, "none is known to be gone");
    while host.keeper.prepare().unwrap() {}
    let left = host.folder.list();
    assert_eq!(left.len(), 1, "the others go with the next call");
    let lost = old[made.iter().position(|segment| *segment == left[0]).unwrap()];
    for _ in 0..6 {
        let (segment, _) = host.keeper.create().unwrap();
        assert_ne!(inode(&host.medium.path(segment)), lost);
    }
}

/// A spare that could not be opened or written once was forgotten, and its room
/// with it: as often as a segment was asked for, another one was made.
///
/// Covers: B24
#[test]
fn a_spare_that_could_not_be_used_once_is_used_later() {
    let place = tempfile::tempdir().unwrap();
    let mut host = Host::open(place.path());
    host.keeper.create().unwrap();
    while host.keeper.prepare().unwrap() {}
    let spares = || {
        let entries = fs::read_dir(place.path().join("segments")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("spare.")).count()
    };
    let made = spares();
    for good in 0..3 {
        trace::fail_after(good);
        host.keeper.create().unwrap_err();
        trace::take();
        while host.keeper.prepare().unwrap() {}
        assert_eq!(spares(), made, "after {good} changes");
    }
    // One that stays bad is in nobody's way.
    host.keeper.create().unwrap();
    while host.keeper.prepare().unwrap() {}
    assert_eq!(spares(), made);
}

/// Covers: B28, B29, B96
#[test]
fn a_folder_has_one_user_who_is_named() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("data");
    let first = Folder::open(&path).unwrap();
    let error = Folder::open(&path).unwrap_err();
    assert!(
        matches!(error, FolderError::LocalInUse { pid, .. } if pid == Some(std::process::id()))
    );
    let text = error.to_string();
    assert!(text.contains("is in use by process"), "{text}");
    drop(first);
    // The lock file of a dead process does not matter.
    Folder::open(&path).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join("lock")), 0o600);
    let mut keeper = Folder::open(&path).unwrap().keeper(SEGMENT).unwrap();
    let (segment, _) = keeper.create().unwrap();
    assert_eq!(mode(&segment_path(&path.join("segments"), segment)), 0o600);
}

/// Covers: B96
#[test]
fn a_folder_that_everybody_may_write_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("data");
    drop(Folder::open(&path).unwrap());
    let chmod = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    chmod(0o777);
    let error = Folder::open(&path).unwrap_err();
    assert!(matches!(error, FolderError::LocalOpenToAll { mode: 0o777, .. }), "{error:?}");
    assert!(error.to_string().contains("(mode 777): chmod o-w"), "{error}");
    chmod(0o750);
    Folder::open(&path).unwrap();
}

#[test]
fn a_folder_that_cannot_be_used_is_said_so() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = Folder::open(&file.join("data")).unwrap_err();
    assert!(matches!(error, FolderError::LocalIo { .. }));
    assert!(error.to_string().starts_with("cannot create the folder"), "{error}");
}

/// Covers: B13
#[test]
fn what_a_crash_leaves_of_making_a_segment_is_cleaned_up() {
    let place = tempfile::tempdir().unwrap();
    let segments = place.path().join("segments");
    fs::create_dir_all(&segments).unwrap();
    fs::write(segments.join("spare.1.new"), "half").unwrap();
    fs::write(segments.join("spare.7"), vec![0xff; SEGMENT as usize]).unwrap();
    fs::write(segments.join("spare.8"), "too short").unwrap();
    fs::write(segments.join("0000000003"), "").unwrap();
    fs::write(segments.join("notes.txt"), "not ours").unwrap();
    let mut host = Host::open(place.path());
    assert!(!segments.join("spare.1.new").exists());
    assert!(!segments.join("spare.8").exists());
    assert!(segments.join("notes.txt").exists());
    let (mut spools, report) = host.recover(1);
    assert_eq!((report.messages, report.cuts.len()), (0, 1), "an empty file is damage");
    let (segment, _) = host.keeper.create().unwrap();
    assert_eq!(segment, SegmentId(4));
    let first = host.medium.read(segment, 0, 8).unwrap();
    assert_eq!(first, b"RINGPOST");
    spools[0].segment_ready(segment, SEGMENT);
}

/// A disk without room gives an error and nothing else: on a small file
/// system of its own where that may be mounted, else in a folder that is gone.
///
/// Covers: B20
#[test]
fn no_room_for_a_segment_is_an_error_and_passes() {
    let place = tempfile::tempdir().unwrap();
    let small = place.path().join("small");
    fs::create_dir(&small).unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1500k,mode=700", "none"])
        .arg(&small)
        .output();
    let mounted = mount.is_ok_and(|output| output.status.success());
    let mut host = Host::open(&small);
    let mut spool = Spool::new(ShardId(0));
    host.settle(&mut spool, at(0));
    if !mounted {
        fs::rename(small.join("segments"), small.join("elsewhere")).unwrap();
    }
    let mut refused = None;
    for n in 0..100 {
        let body = vec![b'z'; 60_000];
        let written =
            spool.append_message(&mut host.medium, at(n), &Meta::default(), &envelope(), &[&body]);
        if let Err(refusal) = written {
            refused = Some(refusal);
            break;
        }
        let mut requests = Vec::new();
        spool.kick(&mut host.medium, at(n));
        host.medium.take_requests(&mut requests);
        for request in requests {
            match request {
                Request::Sync(segment) => assert_eq!(spool.synced(segment, true), None),
                Request::NewSegment => match host.keeper.create() {
                    Ok((segment, bytes)) => spool.segment_ready(segment, bytes),
                    Err(_) => spool.no_segment(at(n)),
                },
                Request::Retire(segment) => panic!("{segment} holds mail"),
            }
        }
    }
    if mounted {
        let unmount = std::process::Command::new("umount").arg("-l").arg(&small).status();
        assert!(unmount.unwrap().success());
    }
    assert_eq!(refused, Some(Refusal::LocalFull));
    assert!(spool.next_deadline().is_some(), "it asks again by itself");
}

#[test]
fn many_parts_and_odd_sizes_are_written_as_one() {
    let place = tempfile::tempdir().unwrap();
    let mut host = Host::open(place.path());
    let (segment, _) = host.keeper.create().unwrap();
    let parts: Vec<Vec<u8>> = (0..50u8).map(|n| vec![n; usize::from(n) % 7]).collect();
    let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    host.medium.append(segment, 4096, &slices).unwrap();
    let all = parts.concat();
    assert_eq!(host.medium.read(segment, 4096, all.len() as u32).unwrap(), all);
    let file = File::open(host.medium.path(segment)).unwrap();
    let mut stored = vec![0; all.len()];
    file.read_exact_at(&mut stored, 4096).unwrap();
    assert_eq!(stored, all);
    assert_eq!(host.medium.read(segment, SEGMENT - 1, 2), None);
    assert_eq!(host.medium.read(segment, u32::MAX, u32::MAX), None);
}

/// Covers: B22
#[test]
fn room_is_told_in_bytes_and_inodes() {
    let place = tempfile::tempdir().unwrap();
    let (bytes, inodes) = Host::open(place.path()).keeper.free().unwrap();
    assert!(bytes > 0);
    assert!(inodes > 0);
}
