//! The files of the log: how they are cut, kept, compressed and found again.

use super::*;

const SETTINGS: LogSettings = LogSettings {
    size: 20,
    age: Duration::from_secs(60),
    max_bytes: 1 << 20,
    retention: Duration::from_secs(3_600),
};
const NOW: Wall = Wall::from_millis(1_000_000);

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn text(path: &Path) -> String {
    let mut text = String::new();
    reader(path).unwrap().read_to_string(&mut text).unwrap();
    text
}

/// Covers: B100
/// Shows: S2.19
#[test]
fn files_are_closed_by_size_numbered_compressed_and_the_oldest_go() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut file = OpenFile::open(folder).unwrap();
    for n in 0..4 {
        let closed = file.write(NOW, format!("line number {n}\n").as_bytes(), &SETTINGS).unwrap();
        assert_eq!(closed, n > 0, "a file has room for one line");
    }
    tidy(folder, &SETTINGS, SystemTime::now(), || false, &|_| ()).unwrap();
    let compressed = |n: u64| format!("ringpost-{n:08}.log.zst");
    assert_eq!(names(folder), [compressed(1), compressed(2), compressed(3), OPEN_NAME.into()]);
    let closed = closed_files(folder).unwrap();
    let texts: Vec<String> = closed.iter().map(|one| text(&one.path)).collect();
    assert_eq!(texts, ["line number 0\n", "line number 1\n", "line number 2\n"]);
    assert_eq!(OpenFile::open(folder).unwrap().number, 4, "a restart goes on counting");
    // Only as many as fit into the whole.
    let one = fs::metadata(&closed[2].path).unwrap().len();
    let tight = LogSettings { max_bytes: 14 + 2 * one, ..SETTINGS };
    tidy(folder, &tight, SystemTime::now(), || false, &|_| ()).unwrap();
    assert_eq!(names(folder), [compressed(2), compressed(3), OPEN_NAME.into()]);
    // And none that is too old.
    let later = SystemTime::now() + Duration::from_secs(3_601);
    tidy(folder, &SETTINGS, later, || false, &|_| ()).unwrap();
    assert_eq!(names(folder), [OPEN_NAME]);
}

#[test]
fn a_file_is_closed_at_its_age_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let large = LogSettings { size: 1 << 20, ..SETTINGS };
    let line = eventlog::Line::new(NOW, eventlog::Kind::Stop).text(eventlog::Field::Reason, "a");
    let mut file = OpenFile::open(folder.path()).unwrap();
    assert!(!file.close_if_old(NOW + Duration::from_secs(61), &large), "nothing is in it");
    file.write(NOW, &line.end(), &large).unwrap();
    let mut again = OpenFile::open(folder.path()).unwrap();
    assert!(!again.close_if_old(NOW + Duration::from_secs(59), &large));
    assert!(again.close_if_old(NOW + Duration::from_secs(60), &large));
    assert!(!again.close_if_old(NOW + Duration::from_secs(60), &large), "a new file has begun");
    assert_eq!(closed_files(folder.path()).unwrap().len(), 1);
}

/// A crash cut a line short: the next one begins a line of its own.
#[test]
fn a_torn_line_stays_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(OPEN_NAME), "whole\ntor").unwrap();
    let large = LogSettings { size: 1 << 20, ..SETTINGS };
    let mut file = OpenFile::open(folder.path()).unwrap();
    file.write(NOW, b"next\n", &large).unwrap();
    file.write(NOW, b"last\n", &large).unwrap();
    assert_eq!(text(&folder.path().join(OPEN_NAME)), "whole\ntor\nnext\nlast\n");
}

/// The machine went down while a file was being compressed.
#[test]
fn of_a_file_that_lies_there_both_ways_the_compressed_one_counts() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("ringpost-00000007.log");
    fs::write(&plain, "a\n").unwrap();
    compress(&plain).unwrap();
    fs::write(&plain, "a\n").unwrap();
    fs::write(folder.path().join("ringpost-00000007.log.zst.part"), "x").unwrap();
    fs::write(folder.path().join("ringpost-7.log"), "not ours").unwrap();
    let found = closed_files(folder.path()).unwrap();
    assert_eq!(found.len(), 1);
    assert!(found[0].compressed && found[0].number == 7);
    tidy(folder.path(), &SETTINGS, SystemTime::now(), || false, &|_| ()).unwrap();
    assert_eq!(names(folder.path()), ["ringpost-00000007.log.zst", "ringpost-7.log"]);
}

#[test]
fn the_end_of_the_log_is_known_whichever_file_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let until = || whole_until(folder.path()).as_millis();
    assert_eq!(until(), 0, "there is no log");
    let line = eventlog::Line::new(NOW, eventlog::Kind::Stop).text(eventlog::Field::Reason, "a");
    let mut file = OpenFile::open(folder.path()).unwrap();
    file.write(NOW, &line.end(), &SETTINGS).unwrap();
    assert_eq!(until(), NOW.as_millis() - 10_000);
    file.write(NOW, b"no line\n", &SETTINGS).unwrap();
    assert_eq!(until(), NOW.as_millis() - 10_000, "the line is in a closed file now");
}

/// Out of descriptors, or of room, at that moment, the log had its old file called
/// closed and wrote into it all the same: it was compressed and taken away, and
/// from then on all lines went nowhere until the next start.
#[test]
fn a_file_is_closed_with_the_next_one_in_its_place_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut file = OpenFile::open(folder).unwrap();
    let mut write = |line: &str| file.write(NOW, line.as_bytes(), &SETTINGS).unwrap();
    assert!(!write("line number 0\n"));
    // Where the next file is to be made there is no way to make one.
    fs::create_dir(folder.join(NEXT_NAME)).unwrap();
    assert!(!write("line number 1\n"));
    assert_eq!(text(&folder.join(OPEN_NAME)), "line number 0\nline number 1\n");
    assert_eq!(closed_files(folder).unwrap(), []);
    fs::remove_dir(folder.join(NEXT_NAME)).unwrap();
    assert!(write("line number 2\n"));
    assert_eq!(names(folder), ["ringpost-00000001.log", OPEN_NAME]);
    // The file that grows was taken away from under us.
    fs::remove_file(folder.join(OPEN_NAME)).unwrap();
    assert!(write("line number 3\n"));
    assert_eq!(text(&folder.join(OPEN_NAME)), "line number 3\n");
    assert_eq!(file.place(), Place { number: 3, offset: 14 });
}
