//! Reads the log from a saved place on, line by line, across files that are
//! closed, compressed and let go, up to where the writer says that it ends.
//!
//! Never waits. Invariants: each line once and in order; a file that went is
//! told; memory is bounded by [`LINE_BYTES_MAX`].

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use eventlog::Place;

use crate::log_files::{OPEN_NAME, closed_files};
use crate::log_readers::Readers;

/// Longer lines are passed over: no line of ours is.
const LINE_BYTES_MAX: usize = 1 << 20;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A line, in [`Tail::line`].
    Line,
    /// Nothing more yet.
    Nothing,
    /// These files went before they were read.
    Gone(RangeInclusive<u64>),
}

/// A reader of the log.
pub(crate) struct Tail {
    folder: PathBuf,
    readers: Arc<Readers>,
    /// Behind the last line that was given.
    place: Place,
    /// What the writer said last.
    end: Place,
    file: Option<Box<dyn BufRead>>,
    /// With its end, once it is whole.
    line: Vec<u8>,
    whole: bool,
    /// The line is given once more.
    again: bool,
    /// The begin of the line was thrown away.
    too_long: bool,
}

impl Tail {
    /// A reader of the log in `folder` from `place` on, which is the begin of a
    /// line.
    pub(crate) fn new(folder: PathBuf, readers: Arc<Readers>, place: Place) -> Self {
        let (end, file, line) = (place, None, Vec::new());
        let (whole, again, too_long) = (false, false, false);
        Self { folder, readers, place, end, file, line, whole, again, too_long }
    }

    /// Behind the last line that was given.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// The line that was found, without its end.
    pub(crate) fn line(&self) -> &[u8] {
        self.line.strip_suffix(b"\n").unwrap_or(&self.line)
    }

    /// Gives the line that was found once more.
    pub(crate) fn unread(&mut self) {
        assert!(self.whole && !self.again, "a line is given back once");
        self.place.offset -= self.line.len() as u64;
        self.again = true;
    }

    /// The next line, if there is one.
    ///
    /// # Errors
    /// A file cannot be read; asked again, it is tried again.
    pub(crate) fn next(&mut self) -> io::Result<Found> {
        if std::mem::take(&mut self.again) {
            self.place.offset += self.line.len() as u64;
            return Ok(Found::Line);
        }
        if std::mem::take(&mut self.whole) {
            self.line.clear();
        }
        loop {
            if self.place >= self.end {
                self.end = self.readers.end().place;
                if self.place >= self.end {
                    return Ok(Found::Nothing);
                }
            }
            if self.file.is_none()
                && let Some(gone) = self.open()?
            {
                self.go_to(gone.end() + 1);
                return Ok(Found::Gone(gone));
            }
            let read = self.read();
            // What was read of a line before it failed is read again.
            let count = read.inspect_err(|_| self.close())?;
            if count == 0 {
                if self.place.number == self.end.number {
                    return Ok(Found::Nothing);
                }
                // Closed, and read to its end; the rest of a line is none.
                self.go_to(self.place.number + 1);
            } else if self.line.ends_with(b"\n") {
                self.place.offset += self.line.len() as u64;
                if !std::mem::take(&mut self.too_long) {
                    self.whole = true;
                    return Ok(Found::Line);
                }
                self.line.clear();
            } else if self.line.len() >= LINE_BYTES_MAX {
                self.place.offset += self.line.len() as u64;
                self.line.clear();
                self.too_long = true;
            }
        }
    }

    /// Leaves the rest of a file that cannot be read; gives its number, unless
    /// it is the one that grows.
    pub(crate) fn skip_file(&mut self) -> Option<RangeInclusive<u64>> {
        let number = self.place.number;
        if number >= self.readers.end().place.number {
            return None;
        }
        self.go_to(number + 1);
        Some(number..=number)
    }

    fn read(&mut self) -> io::Result<usize> {
        let Some(file) = &mut self.file else { return Ok(0) };
        let room = (LINE_BYTES_MAX - self.line.len()) as u64;
        let bound = match self.place.number == self.end.number {
            true => {
                let read = self.place.offset + self.line.len() as u64;
                self.end.offset.saturating_sub(read)
            }
            false => room,
        };
        file.take(bound.min(room)).read_until(b'\n', &mut self.line)
    }

    /// Opens the file of the place; gives those that went, if it did.
    fn open(&mut self) -> io::Result<Option<RangeInclusive<u64>>> {
        let Place { number, offset } = self.place;
        let last = {
            // Held, so that the file is not closed meanwhile.
            let end = self.readers.end();
            if number == end.place.number {
                self.file = Some(plain(self.folder.join(OPEN_NAME), offset)?);
                return Ok(None);
            }
            end.place.number
        };
        let name = format!("ringpost-{number:08}.log");
        // The compressed one is there before the other goes.
        let opened = match plain(self.folder.join(&name), offset) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                compressed(self.folder.join(name + ".zst"), offset)
            }
            other => other,
        };
        match opened {
            Ok(file) => {
                self.file = Some(file);
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let closed = closed_files(&self.folder)?;
                let next = closed.iter().map(|one| one.number).find(|next| *next > number);
                Ok(Some(number..=next.unwrap_or(last).max(number + 1) - 1))
            }
            Err(error) => Err(error),
        }
    }

    fn go_to(&mut self, number: u64) {
        self.close();
        self.place = Place { number, offset: 0 };
    }

    fn close(&mut self) {
        self.file = None;
        self.line.clear();
        self.too_long = false;
    }
}

fn plain(path: PathBuf, offset: u64) -> io::Result<Box<dyn BufRead>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    Ok(Box::new(BufReader::with_capacity(64 << 10, file)))
}

fn compressed(path: PathBuf, offset: u64) -> io::Result<Box<dyn BufRead>> {
    let decoder = zstd::Decoder::new(File::open(path)?)?;
    let mut file = BufReader::with_capacity(64 << 10, decoder);
    io::copy(&mut file.by_ref().take(offset), &mut io::sink())?;
    Ok(Box::new(file))
}

#[cfg(test)]
mod tests;
