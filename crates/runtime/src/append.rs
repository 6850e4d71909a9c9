//! Syncs, look-ahead reads and the opening of segment files, all on the ring.
//!
//! A segment's file is opened before the core hears of the segment, hence
//! before the first write to it, and kept: a failed write-back is reported
//! once to each open file, so a file opened later might never hear of it.
//! Never syncs a second time on its own.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use base::SegmentId;
use glommio::io::BufferedFile;
use shard::event::Event;

use crate::driver::{Driver, Handle};

/// Bytes of one look-ahead read.
const PREFETCH_BYTES: usize = 256 << 10;

impl Driver {
    /// Opens a new segment's file and tells the core.
    pub(crate) fn segment_ready(&mut self, segment: SegmentId, bytes: u32) {
        let (driver, path) = (self.handle(), self.store.path(segment));
        self.spawn(async move {
            let opened = file(&driver, segment, path).await;
            let mut driver = driver.borrow_mut();
            match opened {
                Ok(_) => driver.step(Event::SegmentReady { segment, bytes }),
                Err(error) => {
                    let reason = format!("segment {segment} cannot be opened: {error}");
                    driver.step(Event::NoSegment { reason });
                }
            }
        });
    }

    /// Starts to bring a segment onto stable storage.
    pub(crate) fn sync(&mut self, segment: SegmentId) {
        let (driver, path) = (self.handle(), self.store.path(segment));
        self.spawn(async move {
            let synced = match file(&driver, segment, path).await {
                Ok(file) => file.fdatasync().await.map_err(io::Error::from),
                Err(error) => Err(error),
            };
            let mut driver = driver.borrow_mut();
            if let Err(error) = &synced {
                driver.log_failed_sync(segment, error);
            }
            driver.step(Event::Synced { segment, ok: synced.is_ok() });
        });
    }

    /// Reads a piece of a segment, so that it is in memory when it is sent.
    pub(crate) fn prefetch(&mut self, token: u64, segment: SegmentId, offset: u32, len: u32) {
        let (driver, path) = (self.handle(), self.store.path(segment));
        self.spawn(async move {
            let ok = match file(&driver, segment, path).await {
                Ok(file) => read_through(&file, u64::from(offset), len as usize).await,
                Err(_) => false,
            };
            driver.borrow_mut().step(Event::Prefetched { token, ok });
        });
    }
}

/// The open file of a segment, opened now if it was not.
async fn file(driver: &Handle, segment: SegmentId, path: PathBuf) -> io::Result<Rc<BufferedFile>> {
    if let Some(file) = driver.borrow().files.get(&segment) {
        return Ok(file.clone());
    }
    let opened = Rc::new(BufferedFile::open(path).await?);
    // Another task may have opened it meanwhile; the first one counts.
    Ok(driver.borrow_mut().files.entry(segment).or_insert(opened).clone())
}

async fn read_through(file: &BufferedFile, from: u64, len: usize) -> bool {
    let mut done = 0;
    while done < len {
        let wanted = PREFETCH_BYTES.min(len - done);
        match file.read_at(from + done as u64, wanted).await {
            Ok(read) if read.len() == wanted => done += wanted,
            _ => return false,
        }
    }
    true
}
