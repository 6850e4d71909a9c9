//! A queue as each released format left it on disk, and that it is still read.
//!
//! `tests/fixtures/queue-format-N.txt` holds the files as text, without what is
//! zero. A file once released is never changed; a new format adds one:
//! `RINGPOST_FIXTURE=1 cargo test -p segment fixture` writes that of today.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use base::{MessageId, hex};
use mail::{Body, Notify, Return, Status};
use spool::{CutReason, FORMAT_VERSION, Note, Report, Try};

use super::images::disk::{self, Image};
use super::*;

/// Recipients that are still owed, as far as people see them: sender, body,
/// address, phase, attempts, whether in doubt, last answer.
type Owed = (String, String, String, Phase, u16, bool, String);

fn owed(image: &Image, shards: u16) -> (Vec<Owed>, Report) {
    let place = tempfile::tempdir().unwrap();
    disk::write(image, place.path());
    let mut host = Host::open(place.path());
    let (mut spools, report) = host.recover(shards);
    let mut owed = Vec::new();
    for spool in &mut spools {
        host.settle(spool, at(0));
        while spool.is_resuming() {
            let Some(message) = spool.next_recovered(&host.medium) else { continue };
            assert!(verify_body(&host.medium, &message));
            let id = message.id();
            let body = String::from_utf8_lossy(message.body(&host.medium).unwrap());
            for (r, recipient) in (0..).zip(message.recipients()) {
                let state = spool.state(id, r).unwrap();
                let note = spool.note(&host.medium, id, r).map_or("", |note| note.text);
                owed.push((
                    message.sender().into(),
                    body.clone().into(),
                    recipient.address.into(),
                    state.phase,
                    state.attempts,
                    state.in_doubt,
                    note.into(),
                ));
            }
        }
        // The log goes on.
        add(&mut host, spool, b"new");
        host.settle(spool, at(0));
    }
    owed.sort_by(|a, b| (&a.1, &a.2).cmp(&(&b.1, &b.2)));
    (owed, report)
}

/// What must come of the story, whoever wrote it.
fn check(image: &Image) {
    for shards in [1, 3] {
        let (owed, report) = owed(image, shards);
        let entry = |sender: &str, body: &str, to: &str, phase, attempts, doubt, note: &str| {
            let (sender, body) = (sender.into(), body.into());
            (sender, body, to.into(), phase, attempts, doubt, note.into())
        };
        let (sender, done) = ("ann@example.com", Phase::Done);
        let (first, second) = ("moved\r\n", "in doubt\r\n");
        let report_body = "we are sorry\r\n";
        let indexed = "i".repeat(1_200);
        let expected = [
            entry("", &indexed, "a@b.example", Phase::Waiting, 0, false, ""),
            entry("", second, "a@b.example", Phase::Waiting, 1, true, ""),
            entry(sender, first, "bob@b.example", done(Outcome::Delivered), 1, false, ""),
            entry(sender, first, "cem@b.example", Phase::Waiting, 2, false, "451 later"),
            entry(sender, first, "dan@b.example", done(Outcome::Failed), 1, false, ""),
            entry("", report_body, "a@b.example", Phase::Waiting, 0, false, ""),
        ];
        assert_eq!(owed, expected);
        assert_eq!((report.sealed, report.messages, report.recipients), (1, 4, 4));
        assert_eq!(report.in_doubt.len(), 1);
        let cuts: Vec<CutReason> = report.cuts.iter().map(|cut| cut.reason).collect();
        assert_eq!(cuts, [CutReason::TornTail]);
    }
}

/// Mail of every kind of record, on its way through every kind of segment.
fn story() -> Image {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path()).unwrap();
    let (medium, keeper) = (folder.medium(), folder.keeper(SMALL).unwrap());
    let mut host = Host { folder, medium, keeper };
    let mut spool = Spool::new(ShardId(0));
    host.settle(&mut spool, at(0));
    many_ways(&mut host, &mut spool);
    fill(&mut host, &mut spool);
    add(&mut host, &mut spool, "i".repeat(1_200).as_bytes());
    for _ in 0..3 {
        fill(&mut host, &mut spool);
    }
    for turn in 1..20 {
        spool.reclaim(&mut host.medium, at(1_000 + turn * 300), 1_000, false);
        host.settle(&mut spool, at(1_000 + turn * 300));
    }
    let id = add(&mut host, &mut spool, b"in doubt\r\n");
    let tries = [Try { recipient: 0, attempt: 1 }];
    spool.append_attempt(&mut host.medium, at(9_000), id, id.segment, &tries).unwrap();
    host.settle(&mut spool, at(9_500));
    let torn = add(&mut host, &mut spool, b"this never quite reached the disk\r\n");
    let torn = spool.place(torn).unwrap();
    drop(host);
    let mut image = disk::read(place.path());
    image.retain(|path, _| !path.to_string_lossy().contains("spare"));
    let path = PathBuf::from(format!("segments/{:010}", torn.segment.0));
    let end = (torn.offset + torn.len) as usize;
    image.get_mut(&path).unwrap()[end - 30..].fill(0);
    image
}

/// A message with all its envelope can say; each recipient fares differently.
fn many_ways(host: &mut Host, spool: &mut Spool) {
    let mut envelope = envelope();
    envelope.sender = ReversePath::parse("<ann@example.com>", false).unwrap();
    let to = |name| Recipient {
        notify: Notify::from_bits(2).unwrap(),
        orcpt: Some("rfc822;list@b.example".into()),
        ..Recipient::new(mail::Address::parse(format!("{name}@b.example"), false).unwrap())
    };
    envelope.recipients = ["bob", "cem", "dan"].map(to).into();
    (envelope.body, envelope.ret) = (Body::EightBit, Some(Return::Headers));
    envelope.envid = Some("QQ314".into());
    let client = Some("2001:db8::7".parse().unwrap());
    let meta = Meta { client, helo: "client.example.com", ..Meta::default() };
    let written = spool.append_message(&mut host.medium, at(5), &meta, &envelope, &[b"moved\r\n"]);
    let id = written.unwrap().id;
    let tries = [0, 1, 2].map(|recipient| Try { recipient, attempt: 1 });
    spool.append_attempt(&mut host.medium, at(6), id, id.segment, &tries).unwrap();
    let note = Note { status: Status::SYSTEM, text: "451 later", host: "mx.b.example" };
    let change = |recipient, phase, attempts| Change { recipient, phase, attempts, ..removed() };
    let delivered = change(0, Phase::Done(Outcome::Delivered), 1);
    let deferred = Change {
        note: Some(note),
        next: Wall::from_millis(2_000_000),
        ..change(1, Phase::Waiting, 2)
    };
    spool.settle(&mut host.medium, at(7), id, &[delivered, deferred]).unwrap();
    let failed = [change(2, Phase::Done(Outcome::Failed), 1)];
    let body: [&[u8]; 1] = [b"we are sorry\r\n"];
    let about = super::envelope();
    spool.append_report(&mut host.medium, at(8), &about, &body, id, &failed).unwrap();
    host.settle(spool, at(200));
}

/// Fills the segment at hand with mail that ends at once.
fn fill(host: &mut Host, spool: &mut Spool) {
    let mut first = None;
    loop {
        let id: MessageId = add(host, spool, &[b'f'; 1_000]);
        spool.settle(&mut host.medium, at(300), id, &[removed()]).unwrap();
        host.settle(spool, at(500));
        if *first.get_or_insert(id.segment) != id.segment {
            return;
        }
    }
}

#[test]
fn what_is_written_today_is_read_today() {
    let image = story();
    let kinds: BTreeSet<u8> =
        image.iter().flat_map(|(path, content)| kinds(path, content)).collect();
    assert_eq!(kinds, BTreeSet::from([1, 2, 3, 4, 5, 6]), "a record of every kind");
    check(&image);
    let text = to_text(&image);
    assert_eq!(from_text(&text), image);
    if std::env::var_os("RINGPOST_FIXTURE").is_some() {
        fs::write(fixture(FORMAT_VERSION), text).unwrap();
    }
}

/// Covers: B30
#[test]
fn what_a_released_format_left_is_read_today() {
    for format in 1..=FORMAT_VERSION {
        let text = fs::read_to_string(fixture(format));
        let text = text.unwrap_or_else(|_| panic!("format {format} has no image under test"));
        assert!(text.len() < 20_000, "an image is small");
        check(&from_text(&text));
    }
}

fn fixture(format: u16) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    tests.join(format!("queue-format-{format}.txt"))
}

fn kinds(path: &Path, content: &[u8]) -> Vec<u8> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap();
    let Ok(segment) = name.parse::<u32>() else { return Vec::new() };
    let headers = (4096..content.len().saturating_sub(40)).step_by(8);
    let ours = headers.filter(|at| content[at + 4..at + 8] == segment.to_le_bytes());
    ours.map(|at| content[at + 12]).filter(|kind| (1..=6).contains(kind)).collect()
}

fn to_text(image: &Image) -> String {
    let mut text = format!(
        "# A queue in format {FORMAT_VERSION}, see crates/segment/src/tests/fixture.rs.\n\
         # Offset and bytes, or one byte and how often; all else is zero.\n"
    );
    for (path, content) in image {
        let name = path.display();
        writeln!(text, "file {name} {}", content.len()).unwrap();
        let run = |at: usize| content[at..].iter().take_while(|b| **b == content[at]).count();
        let mut at = 0;
        while at < content.len() {
            let same = run(at);
            if same >= RUN {
                if content[at] != 0 {
                    writeln!(text, "{at:x} {:02x}*{same}", content[at]).unwrap();
                }
                at += same;
                continue;
            }
            let mut end = at;
            while end < content.len().min(at + 40) && run(end) < RUN {
                end += 1;
            }
            writeln!(text, "{at:x} {}", hex::encode(&content[at..end])).unwrap();
            at = end;
        }
    }
    text
}

fn from_text(text: &str) -> Image {
    let mut image = Image::new();
    let mut path = PathBuf::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["file", name, len] = words[..] {
            path = name.into();
            image.insert(path.clone(), vec![0; len.parse().unwrap()]);
            continue;
        }
        let [offset, bytes] = words[..] else { panic!("not a line of an image: {line}") };
        let offset = usize::from_str_radix(offset, 16).unwrap();
        let byte = |hex| u8::from_str_radix(hex, 16).unwrap();
        let bytes: Vec<u8> = match bytes.split_once('*') {
            Some((one, count)) => vec![byte(one); count.parse().unwrap()],
            None => (0..bytes.len() / 2).map(|at| byte(&bytes[2 * at..2 * at + 2])).collect(),
        };
        image.get_mut(&path).unwrap()[offset..offset + bytes.len()].copy_from_slice(&bytes);
    }
    image
}

/// Just more than a page for the superblock.
const SMALL: u32 = 8 * 1024;
/// As many equal bytes are written as one.
const RUN: usize = 12;
