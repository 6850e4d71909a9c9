//! Syncs, look-ahead reads and the opening of segment files, all on the ring.
//!
//! A segment's file is opened before the core hears of the segment, hence
//! before the first write to it, and kept: a failed write-back is reported
//! once to each open file, so a file opened later might never hear of it.
//! Never syncs a second time on its own. A look-ahead read keeps no file open:
//! most are of other shards' segments, whose end this driver does not hear of.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use base::SegmentId;
use glommio::GlommioError;
use glommio::io::BufferedFile;
use rustix::io::Errno;
use shard::event::Event;

use crate::driver::{Driver, Handle};
use crate::keeper::Wish;

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
                    // The core asks for another, and nobody would ever write to
                    // this one or give it up.
                    driver.wish(Wish::Retire(segment));
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
            let read = read_ahead(&driver, segment, path, u64::from(offset), len as usize).await;
            let mut driver = driver.borrow_mut();
            let ok = match read {
                Ok(whole) => whole,
                Err(error) => is_shortage(&error),
            };
            if !ok {
                // If the segment was given up meanwhile, the core must see it.
                driver.carry_out_requests();
            }
            driver.step(Event::Prefetched { token, ok });
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

/// Reads with the file that is open anyhow, or with one of its own.
async fn read_ahead(
    driver: &Handle,
    segment: SegmentId,
    path: PathBuf,
    from: u64,
    len: usize,
) -> Result<bool, GlommioError<()>> {
    let kept = driver.borrow().files.get(&segment).cloned();
    if let Some(file) = kept {
        return read_through(&file, from, len).await;
    }
    let file = BufferedFile::open(path).await?;
    let read = read_through(&file, from, len).await;
    // Nothing was written through it, so nothing can be lost at its end.
    let _ = file.close().await;
    read
}

/// Whether all of it is there; an error when the medium says why not.
async fn read_through(
    file: &BufferedFile,
    from: u64,
    len: usize,
) -> Result<bool, GlommioError<()>> {
    let mut done = 0;
    while done < len {
        let wanted = PREFETCH_BYTES.min(len - done);
        if file.read_at(from + done as u64, wanted).await?.len() != wanted {
            return Ok(false);
        }
        done += wanted;
    }
    Ok(true)
}

/// Whether a read failed for want of something of our own, which says nothing
/// about the bytes. What the kernel did not refuse is ours as well.
fn is_shortage(error: &GlommioError<()>) -> bool {
    let short = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::AGAIN];
    error.raw_os_error().is_none_or(|raw| short.contains(&Errno::from_raw_os_error(raw)))
}

#[cfg(test)]
mod tests {
    use shard::effect::Effect;

    use super::*;
    use crate::inbox::Mail;
    use crate::script::{Fleet, script, seen};

    /// Descriptors of this process that stand for a segment file in `folder`.
    fn open_segments(folder: &std::path::Path) -> usize {
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
            .filter(|file| file.starts_with(folder))
            .filter(|file| file.to_string_lossy().contains("segment-"))
            .count()
    }

    #[test]
    fn a_read_ahead_of_a_foreign_segment_leaves_no_file_open() {
        let (saw, seen) = seen();
        let mut begun = false;
        let fleet = Fleet::start(
            vec![script(move |event, stage| match event {
                Event::Disk { .. } if !begun => {
                    begun = true;
                    let (segment, offset, len) = (SegmentId(7), 0, 4);
                    stage.effects.push(Effect::Prefetch { token: 1, segment, offset, len });
                }
                // Beyond the end: the way out of a failed read closes as well.
                Event::Prefetched { token: 1, ok } => {
                    saw.send(ok).unwrap();
                    let (segment, offset, len) = (SegmentId(7), 2, 4);
                    stage.effects.push(Effect::Prefetch { token: 2, segment, offset, len });
                }
                Event::Prefetched { ok, .. } => saw.send(ok).unwrap(),
                _ => {}
            })],
            b"body",
        );
        assert!(seen.next());
        assert!(!seen.next());
        assert_eq!(open_segments(fleet.folder.path()), 0);
    }

    #[test]
    fn a_read_ahead_of_an_own_segment_uses_the_file_that_is_open() {
        let (saw, seen) = seen();
        let mut begun = false;
        let fleet = Fleet::start(
            vec![script(move |event, stage| match event {
                Event::Disk { .. } if !begun => {
                    begun = true;
                    stage.medium.request_segment();
                }
                Event::SegmentReady { segment, .. } => {
                    stage.effects.push(Effect::Prefetch { token: 1, segment, offset: 0, len: 8 });
                }
                Event::Prefetched { ok, .. } => saw.send(ok).unwrap(),
                _ => {}
            })],
            b"",
        );
        assert!(seen.next());
        assert_eq!(open_segments(fleet.folder.path()), 1, "it stays open for its syncs");
    }

    /// For want of a descriptor, say: the core asks for another segment a second
    /// later, and each one that it never heard of stayed on the disk for good.
    ///
    /// Covers: B24
    #[test]
    fn a_segment_that_cannot_be_opened_is_given_back() {
        let (saw, seen) = seen();
        let fleet = Fleet::start(
            vec![script(move |event, stage| match event {
                Event::NoSegment { .. } => stage.medium.request_segment(),
                Event::SegmentReady { segment, .. } => saw.send(segment).unwrap(),
                _ => {}
            })],
            b"",
        );
        let path = fleet.folder.path().join("segment-99");
        std::os::unix::fs::symlink(&path, &path).unwrap();
        fleet.post(0, Mail::SegmentReady { segment: SegmentId(99), bytes: 4_096 });
        assert_ne!(seen.next(), SegmentId(99));
        assert!(std::fs::symlink_metadata(&path).is_err(), "it was given back before the next");
    }

    /// Covers: B15
    #[test]
    fn only_what_the_disk_refuses_speaks_against_the_bytes() {
        let short = |errno: Errno| is_shortage(&GlommioError::IoError(errno.into()));
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::AGAIN] {
            assert!(short(errno), "{errno:?}");
        }
        for errno in [Errno::IO, Errno::NOENT, Errno::NODATA] {
            assert!(!short(errno), "{errno:?}");
        }
    }
}
