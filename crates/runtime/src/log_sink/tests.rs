//! The way of lines to the log, without and with its threads.

use base::Wall;

use super::*;
use crate::log_files::reader;

const SETTINGS: LogSettings = LogSettings {
    size: 1 << 20,
    age: Duration::from_secs(3_600),
    max_bytes: 4 << 20,
    retention: Duration::from_secs(3_600),
};

fn stop(reason: &str) -> Line {
    Line::new(Wall::from_millis(0), Kind::Stop).text(Field::Reason, reason)
}

#[test]
fn lines_of_shards_and_threads_arrive_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, threads) =
        LogSink::start(Clock::start(), folder.path(), SETTINGS, &Arc::default(), 0).unwrap();
    let mut batch = LogBatch::new(sink.clone());
    let start = Monotonic::from_millis(1_000);
    batch.push(b"{\"n\":1}\n", start);
    batch.push(b"{\"n\":2}\n{\"n\":3}\n", start);
    assert_eq!(batch.ship(start), Some(start + BATCH_AGE));
    assert_eq!(batch.ship(start + BATCH_AGE), None);
    assert_eq!(batch.ship(start + BATCH_AGE), None, "nothing is left to ship");
    sink.line(stop("\r\n"));
    drop((sink, batch));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let text = std::fs::read_to_string(folder.path().join("ringpost.log")).unwrap();
    let last = r#"{"time":"1970-01-01T00:00:00.000Z","event":"stop","reason":"\u000d\u000a"}"#;
    assert_eq!(text, format!("{{\"n\":1}}\n{{\"n\":2}}\n{{\"n\":3}}\n{last}\n"));
}

/// Covers: B36, B100
#[test]
fn a_full_queue_drops_and_says_how_many() {
    let folder = tempfile::tempdir().unwrap();
    let (batches, work) = crossbeam::channel::bounded(BATCHES_MAX);
    let lost = Arc::new(Lost::default());
    let sink = LogSink { batches, lost: lost.clone() };
    for _ in 0..BATCHES_MAX {
        sink.hand_over(b"1\n".to_vec());
    }
    sink.hand_over(b"2\n3\n".to_vec());
    sink.hand_over(b"4\n".to_vec());
    assert_eq!(sink.lost(), 3);
    drop(sink);
    let file = OpenFile::open(folder.path()).unwrap();
    let (tell, _told) = crossbeam::channel::bounded(1);
    let (clock, readers) = (Clock::start(), Arc::default());
    Writer { clock, file, settings: SETTINGS, tell, lost: lost.clone(), readers }.run(&work);
    let text = std::fs::read_to_string(folder.path().join("ringpost.log")).unwrap();
    assert_eq!(text.lines().count(), BATCHES_MAX + 1);
    assert!(text.contains(",\"event\":\"lines-lost\",\"lines\":3}\n"), "{text}");
    assert_eq!(lost.total.load(Ordering::Relaxed), 3, "the count since the start stays");
}

/// Sizes change while the daemon runs, and what is closed is compressed by
/// the other thread.
#[test]
fn settings_take_effect_at_once_and_closed_files_are_compressed() {
    let folder = tempfile::tempdir().unwrap();
    let (batches, work) = crossbeam::channel::unbounded();
    let (tell, told) = crossbeam::channel::bounded(1);
    let lines = |reason| Work::Lines(stop(reason).end());
    let small = LogSettings { size: 10, ..SETTINGS };
    for one in [lines("first"), lines("second"), Work::Settings(small), lines("third")] {
        batches.send(one).unwrap();
    }
    drop(batches);
    let file = OpenFile::open(folder.path()).unwrap();
    let (clock, lost, readers) = (Clock::start(), Arc::default(), Arc::<Readers>::default());
    let readers_too = readers.clone();
    Writer { clock, file, settings: SETTINGS, tell, lost, readers: readers_too }.run(&work);
    let end = *readers.end();
    assert_eq!((end.place.number, end.lines), (2, 3));
    Keeper { folder: folder.path().to_owned(), settings: SETTINGS, readers }.run(&told);
    let compressed = folder.path().join("ringpost-00000001.log.zst");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut reader(&compressed).unwrap(), &mut text).unwrap();
    assert!(text.contains("\"first\"") && text.ends_with("\"second\"}\n"), "{text}");
    let open = std::fs::read_to_string(folder.path().join("ringpost.log")).unwrap();
    assert!(open.contains("\"third\""), "{open}");
}
