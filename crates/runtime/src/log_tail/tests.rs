//! A reader behind a writer that closes, compresses and lets go.

use std::path::Path;
use std::time::{Duration, SystemTime};

use base::Wall;
use eventlog::{Field, Kind, Line};

use super::*;
use crate::log_files::{LogSettings, OpenFile, tidy};

/// Two lines a file.
const SETTINGS: LogSettings = LogSettings {
    size: 140,
    age: Duration::from_secs(1_000_000),
    max_bytes: 1 << 20,
    retention: Duration::from_secs(3_600),
};

struct Rig {
    folder: tempfile::TempDir,
    file: OpenFile,
    readers: Arc<Readers>,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = OpenFile::open(folder.path()).unwrap();
        let readers = Arc::new(Readers::default());
        readers.end().place = file.place();
        Self { folder, file, readers }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&mut self, numbers: impl IntoIterator<Item = u64>) {
        for n in numbers {
            let line =
                Line::new(Wall::from_millis(n), Kind::Stop).text(Field::Reason, &n.to_string());
            self.file.write(Wall::from_millis(n), &line.end(), &SETTINGS).unwrap();
            self.readers.end().place = self.file.place();
        }
    }

    fn tail(&self, place: Place) -> Tail {
        Tail::new(self.path().into(), self.readers.clone(), place)
    }

    fn tidy(&self, settings: &LogSettings) {
        let going = |one: &_| self.readers.going(one);
        tidy(self.path(), settings, SystemTime::now(), || false, &going).unwrap();
    }
}

const BEGIN: Place = Place { number: 1, offset: 0 };

fn read(tail: &mut Tail) -> Vec<u64> {
    let mut found = Vec::new();
    while tail.next().unwrap() == Found::Line {
        let reason = eventlog::read::value(tail.line(), Field::Reason).unwrap();
        found.push(reason.parse().unwrap());
    }
    found
}

#[test]
fn each_line_comes_once_whatever_becomes_of_its_file() {
    let mut rig = Rig::new();
    let mut tail = rig.tail(BEGIN);
    assert_eq!(read(&mut tail), [0; 0]);
    rig.write(0..3);
    assert_eq!(read(&mut tail), [0, 1, 2]);
    rig.write(3..4);
    // It holds the second file open while that is closed, compressed and gone.
    rig.write(4..9);
    rig.tidy(&SETTINGS);
    assert!(rig.path().join("ringpost-00000002.log.zst").exists());
    assert_eq!(read(&mut tail), [3, 4, 5, 6, 7, 8]);
    // Another one begins within a compressed file.
    let mut other = rig.tail(BEGIN);
    assert_eq!(other.next().unwrap(), Found::Line);
    other.unread();
    assert_eq!((other.place(), other.next().unwrap()), (BEGIN, Found::Line));
    let place = other.place();
    assert_eq!(place.number, 1);
    assert_eq!(read(&mut rig.tail(place)), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(read(&mut tail), [0; 0]);
}

#[test]
fn what_the_writer_has_not_promised_is_not_read() {
    let mut rig = Rig::new();
    rig.write(0..1);
    let mut tail = rig.tail(BEGIN);
    assert_eq!(read(&mut tail), [0]);
    let open = rig.path().join(OPEN_NAME);
    let whole = std::fs::read(&open).unwrap();
    // A write that failed in the middle, and is taken back later.
    std::fs::write(&open, [&whole[..], b"{\"time\":1}\n{\"ti"].concat()).unwrap();
    assert_eq!(tail.next().unwrap(), Found::Nothing);
    std::fs::write(&open, &whole).unwrap();
    rig.write(1..2);
    assert_eq!(read(&mut tail), [1]);
}

#[test]
fn files_that_went_are_told_and_counted() {
    let mut rig = Rig::new();
    rig.write(0..1);
    let mut tail = rig.tail(BEGIN);
    assert_eq!(read(&mut tail), [0]);
    let reader = rig.readers.add(tail.place(), Arc::default());
    let mut closed = rig.tail(tail.place());
    rig.write(1..9);
    rig.tidy(&LogSettings { max_bytes: 0, ..SETTINGS });
    // The one who had it open reads the first file to its end.
    assert_eq!(read(&mut tail), [1]);
    let Found::Gone(files) = closed.next().unwrap() else { panic!("the file is gone") };
    assert_eq!(files, 1..=4);
    let gone = reader.take_gone(&files);
    assert_eq!((gone.files, gone.wanted), (4, 7), "all but the line that was read");
    assert_eq!(read(&mut closed), [8]);
}

#[test]
fn a_line_without_an_end_and_one_without_bounds_are_passed_over() {
    let mut rig = Rig::new();
    let open = rig.path().join(OPEN_NAME);
    let long = vec![b'x'; LINE_BYTES_MAX + 9];
    std::fs::write(&open, [&long[..], b"\na\n"].concat()).unwrap();
    rig.readers.end().place.offset = std::fs::metadata(&open).unwrap().len();
    let mut tail = rig.tail(BEGIN);
    assert_eq!(tail.next().unwrap(), Found::Line);
    assert_eq!(tail.line(), b"a");
    // The crash of a writer leaves a torn line, which the next one ends.
    std::fs::write(&open, b"torn").unwrap();
    rig.file = OpenFile::open(rig.path()).unwrap();
    rig.write(0..1);
    let mut tail = rig.tail(BEGIN);
    assert_eq!(tail.next().unwrap(), Found::Line);
    assert_eq!(tail.line(), b"torn");
    assert_eq!(read(&mut tail), [0]);
}

#[test]
fn a_file_that_cannot_be_read_is_left_on_demand() {
    let mut rig = Rig::new();
    rig.write(0..5);
    let first = rig.path().join("ringpost-00000001.log");
    std::fs::rename(&first, first.with_extension("log.zst")).unwrap();
    let mut tail = rig.tail(BEGIN);
    assert!(tail.next().is_err() && tail.next().is_err(), "it is not compressed at all");
    assert_eq!(tail.skip_file(), Some(1..=1));
    assert_eq!(read(&mut tail), [2, 3, 4]);
    assert_eq!(tail.skip_file(), None, "the one that grows is never left");
}
