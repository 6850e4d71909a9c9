//! Readers of a log that is written, and a web server that answers as it is
//! told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use control::Config;
use eventlog::{Field, Kind, Line};
use mail::Domain;

use super::*;
use crate::log_files::LogSettings;

const PATIENCE: Duration = Duration::from_secs(20);

/// Keys and bodies of what came, and the status that is answered; 0 for none.
#[derive(Default)]
struct Server {
    posted: Mutex<Vec<(String, String)>>,
    status: Mutex<u16>,
}

impl Server {
    fn start() -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = Arc::new(Self { status: Mutex::new(200), ..Self::default() });
        let served = server.clone();
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                std::thread::spawn(move || served.serve(stream));
            }
        });
        (server, url)
    }

    fn serve(&self, stream: std::net::TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        loop {
            let (mut length, mut key, mut line) = (0, String::new(), String::new());
            while line != "\r\n" {
                line.clear();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                let value = |name| line.strip_prefix(name).map(str::trim);
                length = value("Content-Length: ").map_or(length, |text| text.parse().unwrap());
                key = value("Idempotency-Key: ").map_or(key, str::to_owned);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            self.posted.lock().unwrap().push((key, String::from_utf8(body).unwrap()));
            let status = *self.status.lock().unwrap();
            if status == 0 {
                return;
            }
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
            (&stream).write_all(answer.as_bytes()).unwrap();
        }
    }

    fn answers(&self, status: u16) {
        *self.status.lock().unwrap() = status;
    }

    fn posted(&self) -> Vec<(String, String)> {
        self.posted.lock().unwrap().clone()
    }

    /// The reasons in the last `count` bodies, when there are so many.
    fn until(&self, what: &str, mut look: impl FnMut(&[(String, String)]) -> bool) {
        let begin = Instant::now();
        while !look(&self.posted()) {
            assert!(begin.elapsed() < PATIENCE, "waited for {what}: {:?}", self.posted());
            std::thread::yield_now();
        }
    }
}

/// A log with its readers.
struct Rig {
    folder: tempfile::TempDir,
    log: LogSink,
    threads: [JoinHandle<()>; 2],
    sinks: Sinks,
}

fn policy(hook: &str) -> Policy {
    let machine = Domain::parse("box.example").unwrap();
    let hook = format!("[[webhook]]\nname = \"a\"\nwait = \"20ms\"\nretry = \"1s\"\n{hook}");
    Config::parse(&hook, &machine).unwrap_or_else(|refused| panic!("{refused}")).policy
}

impl Rig {
    fn start(folder: tempfile::TempDir, policy: &Policy, size: u64) -> Self {
        let (clock, readers) = (Clock::start(), Arc::<Readers>::default());
        let settings = LogSettings {
            size,
            age: Duration::from_secs(3_600),
            max_bytes: 4 * size,
            retention: Duration::from_secs(3_600),
        };
        let number = highest_number(folder.path());
        let log = folder.path().join("log");
        let (log, threads) = LogSink::start(clock, &log, settings, &readers, number).unwrap();
        let sinks = Sinks::start(folder.path(), readers, log.clone(), clock, policy);
        Self { folder, log, threads, sinks }
    }

    fn say(&self, words: impl IntoIterator<Item = u32>) {
        for word in words {
            let line = Line::new(base::Wall::from_millis(0), Kind::Stop);
            self.log.line(line.text(Field::Reason, &format!("word {word}.")));
        }
    }

    fn stop(self) -> tempfile::TempDir {
        let Self { folder, log, threads, sinks } = self;
        drop(sinks);
        drop(log);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        folder
    }

    fn row(&self) -> Value {
        self.sinks.webhooks()["webhooks"][0].clone()
    }
}

fn has(posted: &[(String, String)], word: u32) -> bool {
    posted.iter().any(|(_, body)| body.contains(&format!("word {word}.")))
}

#[test]
fn lines_from_now_on_are_sent_and_a_restart_goes_on_behind_them() {
    let (server, url) = Server::start();
    let none = Config::parse("", &Domain::parse("box.example").unwrap()).unwrap().policy;
    let hook = policy(&format!("url = \"{url}\"\nevents = [\"stop\"]"));
    let mut rig = Rig::start(tempfile::tempdir().unwrap(), &none, 1 << 20);
    rig.say([1]);
    while std::fs::metadata(rig.folder.path().join("log/ringpost.log")).unwrap().len() == 0 {
        std::thread::yield_now();
    }
    rig.sinks.set(&hook);
    rig.say([2, 3]);
    server.until("the third", |posted| has(posted, 3));
    // What is logged while nobody reads is found by the next start.
    rig.sinks.set(&none);
    rig.say([4]);
    let rig = Rig::start(rig.stop(), &hook, 1 << 20);
    rig.say([5]);
    server.until("the fifth", |posted| has(posted, 5));
    let posted = server.posted();
    assert!(!has(&posted, 1) && has(&posted, 2) && has(&posted, 4), "{posted:?}");
    let keys: std::collections::BTreeSet<_> = posted.iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), posted.len(), "each batch was sent once: {posted:?}");
    let begin = Instant::now();
    while rig.row()["events_behind"] != 0 {
        assert!(begin.elapsed() < PATIENCE, "{}", rig.row());
    }
    assert_eq!(rig.row()["events_sent"], 4);
    rig.stop();
}

#[test]
fn a_batch_without_an_answer_comes_again_the_same_over_a_restart() {
    let (server, url) = Server::start();
    let hook = policy(&format!("url = \"{url}\"\nevents = [\"stop\"]"));
    let rig = Rig::start(tempfile::tempdir().unwrap(), &hook, 1 << 20);
    server.answers(0);
    rig.say([1]);
    server.until("the first", |posted| has(posted, 1));
    // More lines come, and do not get into it.
    rig.say([2]);
    let rig = Rig::start(rig.stop(), &hook, 1 << 20);
    let tries = server.posted().len();
    server.until("another try", |posted| posted.len() > tries);
    server.answers(204);
    server.until("the second", |posted| has(posted, 2));
    let posted = server.posted();
    let first: Vec<_> = posted.iter().filter(|(_, body)| body.contains("word 1.")).collect();
    assert!(first.len() > 2 && first.iter().all(|one| *one == first[0]), "{posted:?}");
    rig.stop();
}

#[test]
fn a_bookmark_that_is_none_keeps_one_reader_out_and_is_told() {
    let (_, url) = Server::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sinks")).unwrap();
    std::fs::write(folder.path().join("sinks/webhook-a.bookmark"), "x").unwrap();
    let rig = Rig::start(folder, &policy(&format!("url = \"{url}\"")), 1 << 20);
    let begin = Instant::now();
    while !rig.row()["last_answer"].as_str().unwrap_or_default().contains("is no bookmark") {
        assert!(begin.elapsed() < PATIENCE, "{}", rig.row());
    }
    let folder = rig.stop();
    let text = std::fs::read_to_string(folder.path().join("log/ringpost.log")).unwrap();
    assert!(
        text.contains("\"event\":\"sink-down\"") && text.contains("webhook-a.bookmark"),
        "{text}"
    );
}

/// A reader that had been away counts what came meanwhile before it begins: a file
/// among that which cannot be read once kept it from ever beginning.
#[test]
fn a_damaged_file_of_the_log_is_told_and_passed_and_keeps_nobody_out() {
    let (server, url) = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    std::fs::create_dir_all(&log).unwrap();
    let line = |word: u32| {
        let line = Line::new(base::Wall::from_millis(0), Kind::Stop);
        line.text(Field::Reason, &format!("word {word}.")).end()
    };
    std::fs::write(log.join("ringpost-00000001.log"), line(1)).unwrap();
    std::fs::write(log.join("ringpost-00000002.log.zst"), "no longer what it was").unwrap();
    std::fs::write(log.join("ringpost-00000003.log"), line(3)).unwrap();
    let bookmarks = folder.path().join("sinks");
    std::fs::create_dir(&bookmarks).unwrap();
    let begin = eventlog::Place { number: 1, offset: 0 };
    let away = eventlog::Bookmark { instance: 7, done: begin, seen: begin, ..Default::default() };
    std::fs::write(bookmarks.join("webhook-a.bookmark"), away.to_bytes()).unwrap();
    let hook = policy(&format!("url = \"{url}\"\nevents = [\"stop\", \"sink-lost\"]"));
    let rig = Rig::start(folder, &hook, 1 << 20);
    server.until("what is whole, and what is lost", |posted| {
        let lost = posted.iter().any(|(_, body)| body.contains("files 2 to 2 of the log"));
        has(posted, 1) && has(posted, 3) && lost
    });
    rig.stop();
}

/// The machine's syslog refuses a datagram that is too long, and it was offered
/// again and again: one line of that kind, and no other ever followed.
#[test]
fn a_line_that_no_datagram_holds_is_cut_and_others_follow() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("syslog");
    let syslog = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    syslog.set_read_timeout(Some(PATIENCE)).unwrap();
    let machine = Domain::parse("box.example").unwrap();
    let text = format!(
        "[[syslog]]\nname = \"a\"\nretry = \"1s\"\nto = \"unix:{}\"\nevents = [\"stop\"]\n",
        path.display()
    );
    let policy = Config::parse(&text, &machine).unwrap().policy;
    let rig = Rig::start(folder, &policy, 1 << 20);
    for words in ["x".repeat(400_000), "word 2.".into()] {
        let line = Line::new(base::Wall::from_millis(0), Kind::Stop);
        rig.log.line(line.text(Field::Reason, &words));
    }
    let mut message = vec![0; 1 << 20];
    let long = syslog.recv(&mut message).expect("as much of it as fits");
    assert!((1_000..400_000).contains(&long) && message.starts_with(b"<"), "{long}");
    let next = syslog.recv(&mut message).expect("the next one");
    assert!(String::from_utf8_lossy(&message[..next]).contains("word 2."));
    rig.stop();
}
