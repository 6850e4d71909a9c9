//! Questions about a log in several files, some of them compressed.

use std::io::Write;

use eventlog::{Field, Line};

use super::*;
use crate::log_files::{LogSettings, OpenFile, tidy};

const SETTINGS: LogSettings = LogSettings {
    size: 400,
    age: Duration::from_secs(1_000_000),
    max_bytes: 1 << 20,
    retention: Duration::from_secs(3_600),
};

fn failed(at: Wall, n: u32) -> Vec<u8> {
    Line::new(at, Kind::Failed)
        .text(Field::Id, "0000400000010")
        .text(Field::Site, "mx:a")
        .text(Field::Status, "5.1.1")
        .text(Field::Reply, &format!("550 5.1.1 nobody ({n})"))
        .number(Field::Attempt, n)
        .end()
}

fn attempts(answer: &Answer) -> Vec<u64> {
    let lines = answer.body["lines"].as_array().unwrap();
    lines.iter().map(|line| line["attempt"].as_u64().unwrap()).collect()
}

#[test]
fn the_latest_lines_are_found_across_files_and_given_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = OpenFile::open(folder.path()).unwrap();
    for n in 0..20 {
        let at = Wall::from_millis(u64::from(n) * 7_200_000);
        file.write(at, &failed(at, n), &SETTINGS).unwrap();
        if n == 9 {
            tidy(folder.path(), &SETTINGS, SystemTime::now(), || false, &|_| ()).unwrap();
        }
    }
    let answers = LogAnswers::new(folder.path().into());
    let asked = LogAsked { limit: 15, ..LogAsked::default() };
    let found = answers.lines(&asked);
    assert_eq!(attempts(&found), (5..20).collect::<Vec<u64>>());
    assert_eq!(found.body["complete"], true);
    let sentence = found.body["lines"][14]["sentence"].as_str().unwrap();
    assert!(sentence.contains("said: 550 5.1.1 nobody (19)"), "{sentence}");
    let of = |asked: LogAsked| attempts(&answers.lines(&asked)).len();
    assert_eq!(of(LogAsked { limit: 100, ..asked.clone() }), 20);
    assert_eq!(of(LogAsked { events: vec!["failed".into()], ..asked.clone() }), 15);
    assert_eq!(of(LogAsked { events: vec!["start".into()], ..asked.clone() }), 0);
    assert_eq!(of(LogAsked { since: Some(WINDOW), ..asked.clone() }), 0, "they are of 1970");
    let refused = answers.lines(&LogAsked { events: vec!["<b>".into()], ..asked });
    assert_eq!(refused.status, 400);
    // Nothing is read any more once the time is over; that is said.
    let (_, complete) =
        latest(folder.path(), &Filter::default(), 9, Instant::now()).expect("it can be read");
    assert!(complete, "twenty lines are fewer than are read between two looks");
}

#[test]
fn failures_are_read_on_from_where_the_last_look_ended() {
    let folder = tempfile::tempdir().unwrap();
    let answers = LogAnswers::new(folder.path().into());
    let count = || answers.failures(10).body["failures"][0]["count"].as_u64();
    assert_eq!(count(), None, "no log yet");
    let path = folder.path().join(OPEN_NAME);
    let append = |bytes: &[u8]| {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
        file.write_all(bytes).unwrap();
    };
    let line = failed(now(), 1);
    append(&line);
    assert_eq!(count(), Some(1));
    assert_eq!(count(), Some(1), "a line is counted once");
    append(&line[..50]);
    assert_eq!(count(), Some(1), "the line is not whole");
    append(&line[50..]);
    assert_eq!(count(), Some(2));
    // The file was closed and another one begun.
    std::fs::rename(&path, folder.path().join("ringpost-00000001.log")).unwrap();
    append(&[&line[..], &line[..]].concat());
    assert_eq!(count(), Some(4));
}

#[test]
fn of_much_at_once_the_end_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let line = failed(now(), 1);
    let lines = CATCH_UP_BYTES_MAX as usize / line.len() + 100;
    std::fs::write(folder.path().join(OPEN_NAME), line.repeat(lines)).unwrap();
    let answers = LogAnswers::new(folder.path().into());
    let count = answers.failures(10).body["failures"][0]["count"].as_u64().unwrap() as usize;
    assert!(count < lines && (count + 2) * line.len() > CATCH_UP_BYTES_MAX as usize, "{count}");
}
