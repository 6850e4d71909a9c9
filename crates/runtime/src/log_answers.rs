//! The event log over the control socket: lines that are looked for, the latest
//! ones, and what went wrong of late.
//!
//! Works on the files alone, on the asking thread. Invariants: one question
//! reads for [`SEARCH_TIME_MAX`] at most and says whether that was enough; what
//! is held of the log is bounded by the rows that were asked for.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use base::Wall;
use control::api::LogAsked;
use eventlog::failures::{Failures, WINDOW};
use eventlog::{Filter, Kind, rfc3339};
use serde_json::{Value, json};
use shard::command::Answer;

use crate::log_files::{OPEN_NAME, closed_files};
use crate::log_reader::{self, lines, opened};

/// How long one question may read.
pub const SEARCH_TIME_MAX: Duration = Duration::from_secs(5);
/// How much of what came since the last question is read for failures.
const CATCH_UP_BYTES_MAX: u64 = 16 << 20;
/// Sites that are named of one failure; the others are counted.
const SITES_SHOWN: usize = 5;
/// Lines between two looks at the time.
const LINES_PER_LOOK: u32 = 1_024;

/// Answers what is asked about the log of one folder.
#[derive(Debug)]
pub struct LogAnswers {
    folder: PathBuf,
    board: Mutex<Board>,
}

/// What was read for failures so far.
#[derive(Debug, Default)]
struct Board {
    failures: Failures,
    /// The open file by device and inode, and how much of it was read.
    read: Option<((u64, u64), u64)>,
}

impl LogAnswers {
    /// Of the log in `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, board: Mutex::default() }
    }

    /// The latest lines of which everything holds that was asked for, the oldest
    /// of them first, each with a sentence for people.
    pub fn lines(&self, asked: &LogAsked) -> Answer {
        let filter = match filter(asked) {
            Ok(filter) => filter,
            Err(why) => return Answer::refused(&why),
        };
        let until = Instant::now() + SEARCH_TIME_MAX;
        match latest(&self.folder, &filter, asked.limit as usize, until) {
            Ok((lines, complete)) => {
                let shown: Vec<Value> = lines.iter().filter_map(|line| shown(line)).collect();
                Answer::ok(json!({ "lines": shown, "complete": complete }))
            }
            Err(error) => unreadable(&error),
        }
    }

    /// What went wrong within the last hour, the most frequent first.
    pub fn failures(&self, most: u32) -> Answer {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = board.catch_up(&self.folder) {
            return unreadable(&error);
        }
        let rows = board.failures.top(now(), most as usize);
        let rows: Vec<Value> = rows
            .into_iter()
            .map(|it| {
                json!({
                    "event": it.event,
                    "sites": it.sites.iter().take(SITES_SHOWN).collect::<Vec<_>>(),
                    "sites_more": it.sites.len().saturating_sub(SITES_SHOWN),
                    "host": it.host,
                    "status": it.status,
                    "words": it.words,
                    "recipient": it.recipient,
                    "id": it.id,
                    "count": it.count,
                    "first": rfc3339(it.first),
                    "last": rfc3339(it.last),
                })
            })
            .collect();
        Answer::ok(json!({ "failures": rows, "window_ms": WINDOW.as_millis() as u64 }))
    }
}

impl Board {
    /// Reads what was appended since the last time; of much, the end.
    fn catch_up(&mut self, folder: &Path) -> io::Result<()> {
        let mut file = match File::open(folder.join(OPEN_NAME)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let meta = file.metadata()?;
        let identity = (meta.dev(), meta.ino());
        let known = self.read.filter(|(read, _)| *read == identity).map_or(0, |(_, at)| at);
        let end = meta.len();
        let from = known.min(end).max(end.saturating_sub(CATCH_UP_BYTES_MAX));
        file.seek(SeekFrom::Start(from))?;
        let mut text = Vec::new();
        file.take(end - from).read_to_end(&mut text)?;
        // Begun within a line: that one is left out. The last may not be whole.
        let skipped = match from == known {
            true => 0,
            false => text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| at + 1),
        };
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(skipped, |at| at + 1);
        for line in text[skipped..whole.max(skipped)].split(|byte| *byte == b'\n') {
            self.failures.note(line);
        }
        self.read = Some((identity, from + whole.max(skipped) as u64));
        Ok(())
    }
}

/// The latest lines that match, the oldest first, and whether all of the log
/// that may hold them was read.
fn latest(
    folder: &Path,
    filter: &Filter,
    most: usize,
    until: Instant,
) -> io::Result<(VecDeque<Vec<u8>>, bool)> {
    let mut found = VecDeque::new();
    // Opened first: closed meanwhile, it is known by its inode.
    let open = match File::open(folder.join(OPEN_NAME)) {
        Ok(open) => Some(open),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let identity = open.as_ref().map(File::metadata).transpose()?;
    let closed = closed_files(folder)?;
    if let Some(open) = open {
        let mut file = BufReader::with_capacity(64 << 10, open);
        if prepend(&mut found, &mut file, filter, most, until)?.is_break() {
            return Ok((found, false));
        }
    }
    let mut next: Option<&Path> = None;
    for one in closed.iter().rev() {
        if found.len() >= most {
            break;
        }
        let passed = log_reader::is_same(identity.as_ref(), &one.path)
            || log_reader::is_before(filter, next);
        next = Some(&one.path);
        let Some(mut file) = (if passed { None } else { opened(one)? }) else { continue };
        if prepend(&mut found, &mut file, filter, most, until)?.is_break() {
            return Ok((found, false));
        }
    }
    Ok((found, true))
}

/// Puts the last matching lines of a file in front of what was found in later
/// ones; breaks when the time is over, with what was found so far.
fn prepend(
    found: &mut VecDeque<Vec<u8>>,
    file: &mut dyn io::BufRead,
    filter: &Filter,
    most: usize,
    until: Instant,
) -> io::Result<ControlFlow<()>> {
    let room = most.saturating_sub(found.len());
    let (mut here, mut seen) = (VecDeque::new(), 0_u32);
    let read = lines(file, &mut |line| {
        seen = seen.wrapping_add(1);
        if filter.matches(line) {
            here.push_back(line.to_vec());
            if here.len() > room {
                here.pop_front();
            }
        }
        match seen % LINES_PER_LOOK == 0 && Instant::now() >= until {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })?;
    while let Some(line) = here.pop_back() {
        found.push_front(line);
    }
    Ok(read)
}

/// A line as it stands, with its sentence.
fn shown(line: &[u8]) -> Option<Value> {
    let mut value: Value = serde_json::from_slice(line).ok()?;
    let sentence = eventlog::sentence(line)?;
    value.as_object_mut()?.insert("sentence".into(), sentence.into());
    Some(value)
}

pub(crate) fn filter(asked: &LogAsked) -> Result<Filter, String> {
    let unknown = |word: &String| format!("`{}` is no event of the log", word.escape_debug());
    let kinds: Result<Vec<Kind>, String> =
        asked.events.iter().map(|word| Kind::named(word).ok_or_else(|| unknown(word))).collect();
    let since = |ago: Duration| {
        let before = now().as_millis().saturating_sub(ago.as_millis() as u64);
        Wall::from_millis(before)
    };
    Ok(Filter {
        id: asked.id,
        address: asked.address.clone(),
        domain: asked.domain.clone(),
        site: asked.site.clone(),
        session: asked.session.clone(),
        kinds: kinds?,
        from: asked.since.map(since),
        until: None,
    })
}

fn now() -> Wall {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Wall::from_millis(since.as_millis() as u64)
}

fn unreadable(error: &io::Error) -> Answer {
    Answer::new(503, json!({ "error": format!("the log cannot be read: {error}") }))
}

#[cfg(test)]
mod tests;
