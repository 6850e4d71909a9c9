//! Lines of the event log as a stream, for those who cannot read its files:
//! those that are looked for, all of them or the last, and then those that come.
//!
//! Works on the files alone, on a thread of its own for each reader. Invariants:
//! a reader that takes nothing holds only its own thread up; one that has gone
//! is noticed within a moment.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use control::api::StreamAsked;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};
use eventlog::Filter;

use crate::http::HttpResponse;
use crate::log_answers::filter;
use crate::log_reader::{Follower, search};

/// Octets of lines that are handed on together.
const PIECE: usize = 64 << 10;
/// Lines that are kept where it is not said how many.
const LINES_KEPT: usize = 100_000;
/// Pieces that wait for a reader.
const PIECES_MAX: usize = 16;
/// How long a reader is left without a sign of life.
const QUIET: Duration = Duration::from_secs(1);

/// The reader's end.
struct Reading {
    pieces: Receiver<io::Result<Vec<u8>>>,
    gone: Arc<AtomicBool>,
}

/// What goes through the files.
struct Source {
    folder: PathBuf,
    filter: Filter,
    last: Option<usize>,
    follows: bool,
    pieces: Sender<io::Result<Vec<u8>>>,
    gone: Arc<AtomicBool>,
    piece: Vec<u8>,
}

/// Answers with lines of the log in `folder`.
pub fn stream(folder: &Path, asked: &StreamAsked) -> HttpResponse {
    let filter = match filter(&asked.lines) {
        Ok(filter) => filter,
        Err(why) => return HttpResponse::error(400, &why),
    };
    let filter = Filter { from: asked.from.or(filter.from), until: asked.until, ..filter };
    let (tell, pieces) = crossbeam::channel::bounded(PIECES_MAX);
    let gone = Arc::new(AtomicBool::new(false));
    let mut source = Source {
        folder: folder.to_path_buf(),
        filter,
        last: asked.last.map(|last| last as usize),
        follows: asked.follows,
        pieces: tell,
        gone: gone.clone(),
        piece: Vec::new(),
    };
    let spawned = std::thread::Builder::new().name("log-stream".into()).spawn(move || {
        if let Err(error) = source.run() {
            source.hand_on();
            // Nobody takes it: the reader has gone.
            let _ = source.pieces.send(Err(error));
        }
    });
    if let Err(error) = spawned {
        return HttpResponse::error(503, &format!("no thread can be started: {error}"));
    }
    let reading = Reading { pieces, gone };
    HttpResponse::lines(move || reading.next())
}

impl Reading {
    fn next(&self) -> io::Result<Option<Vec<u8>>> {
        match self.pieces.recv_timeout(QUIET) {
            Ok(piece) => piece.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(Some(Vec::new())),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Release);
    }
}

impl Source {
    fn run(&mut self) -> io::Result<()> {
        let mut follower = Follower::new(&self.folder);
        match self.last {
            last if self.follows => {
                // The open file is enough: what was closed is not followed.
                let last = last.unwrap_or(LINES_KEPT);
                let mut kept = VecDeque::new();
                let filter = &self.filter;
                follower.read(|line| keep(&mut kept, line, filter, last))?;
                kept.iter().for_each(|line| self.put(line));
            }
            Some(last) => {
                let mut kept = VecDeque::new();
                self.each_of_all(|source, line| keep(&mut kept, line, &source.filter, last))?;
                kept.iter().for_each(|line| self.put(line));
            }
            None => self.each_of_all(|source, line| {
                if source.filter.matches(line) {
                    source.put(line);
                }
            })?,
        }
        self.hand_on();
        while self.follows && !self.has_gone() {
            let mut lines = Vec::new();
            let filter = &self.filter;
            follower.read(|line| {
                if filter.matches(line) {
                    lines.push(line.to_vec());
                }
            })?;
            lines.iter().for_each(|line| self.put(line));
            self.hand_on();
            follower.wait();
        }
        Ok(())
    }

    /// Goes through all files that may hold what is looked for, as long as
    /// somebody reads.
    fn each_of_all(&mut self, mut each: impl FnMut(&mut Self, &[u8])) -> io::Result<()> {
        let folder = self.folder.clone();
        let all = Filter { from: self.filter.from, ..Filter::default() };
        search(&folder, &all, |line| {
            each(self, line);
            if self.has_gone() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    }

    fn put(&mut self, line: &[u8]) {
        self.piece.extend_from_slice(line);
        self.piece.push(b'\n');
        if self.piece.len() >= PIECE {
            self.hand_on();
        }
    }

    fn hand_on(&mut self) {
        if self.piece.is_empty() {
            return;
        }
        if self.pieces.send(Ok(std::mem::take(&mut self.piece))).is_err() {
            self.gone.store(true, Ordering::Release);
        }
    }

    fn has_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

/// Keeps the last lines that are looked for.
fn keep(kept: &mut VecDeque<Vec<u8>>, line: &[u8], filter: &Filter, last: usize) {
    if filter.matches(line) {
        kept.push_back(line.to_vec());
        if kept.len() > last {
            kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use control::Request;

    use super::*;

    fn asked(query: &str) -> StreamAsked {
        let request = Request::parse("GET", &format!("/v1/log/stream?{query}"), b"");
        match request.unwrap() {
            Request::LogStream(asked) => *asked,
            other => panic!("{other:?}"),
        }
    }

    fn line(second: u32, domain: &str) -> String {
        format!(
            "{{\"time\":\"2026-11-21T22:15:{second:02}.000Z\",\"event\":\"lookup\",\
             \"domain\":\"{domain}\",\"result\":\"found\"}}\n"
        )
    }

    /// All pieces up to the end, or up to a line that holds `until`.
    fn read(folder: &Path, query: &str, until: &str) -> String {
        let mut lines = stream(folder, &asked(query)).lines.expect("it is a stream");
        let mut text = String::new();
        while let Some(piece) = (lines.0)().unwrap() {
            text.push_str(std::str::from_utf8(&piece).unwrap());
            if !until.is_empty() && text.contains(until) {
                break;
            }
        }
        text
    }

    /// It once ended like one whose lines had all been told: who searched the
    /// log from elsewhere missed lines and did not know.
    #[test]
    fn a_log_that_cannot_be_read_breaks_the_stream_off() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("ringpost.log")).unwrap();
        let mut lines = stream(folder.path(), &asked("")).lines.expect("it is a stream");
        let error = loop {
            match (lines.0)() {
                Ok(piece) => assert_eq!(piece.as_deref(), Some(&b""[..]), "nothing is there"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
        let broken = || Err(io::ErrorKind::IsADirectory.into());
        let (mut ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let lines = &mut crate::http::Lines(Box::new(broken));
        assert!(crate::http::write_lines(&mut ours, lines).is_err());
        drop(ours);
        let mut answer = String::new();
        io::Read::read_to_string(&mut theirs, &mut answer).unwrap();
        assert!(answer.ends_with("\r\n\r\n") && !answer.contains("\r\n0\r\n"), "{answer}");
    }

    #[test]
    fn all_lines_the_last_and_those_that_come() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b, c) = (line(1, "a.example"), line(2, "b.example"), line(3, "a.example"));
        let path = folder.path().join("ringpost.log");
        fs::write(&path, format!("{a}{b}{c}")).unwrap();
        let read = |query: &str| read(folder.path(), query, "");
        assert_eq!(read(""), format!("{a}{b}{c}"));
        assert_eq!(read("domain=a.example"), format!("{a}{c}"));
        assert_eq!(read("lines=2"), format!("{b}{c}"));
        assert_eq!(read("from=2026-11-21T22:15:02Z&until=2026-11-21T22:15:03Z"), b);
        let (follow, later) = (folder.path().to_owned(), line(4, "z.example"));
        let reader = std::thread::spawn(move || {
            super::tests::read(&follow, "lines=1&follow=true", "z.example")
        });
        let mut log = fs::OpenOptions::new().append(true).open(&path).unwrap();
        io::Write::write_all(&mut log, later.as_bytes()).unwrap();
        let seen = reader.join().unwrap();
        assert!(seen.ends_with(&later), "{seen}");
    }
}
