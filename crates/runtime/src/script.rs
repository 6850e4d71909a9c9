//! A scripted core, a store of plain files and a keeper for tests: what the
//! runtime does with effects and events shows without a shard.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use base::{Monotonic, Now, SegmentId, ShardId};
use crossbeam::channel::Receiver;
use glommio::{ExecutorJoinHandle, Placement};
use shard::effect::Effect;
use shard::event::Event;
use spool::{AppendError, Medium};

use crate::clock::Clock;
use crate::contract::{Core, Keeper, Store, StoreRequest};
use crate::driver::DriverParts;
use crate::executor::{self, Pulse};
use crate::inbox::{Inbox, Mail};
use crate::keeper::{self, Wish};
use crate::log_files::LogSettings;
use crate::log_sink::LogSink;
use crate::tls_server::ServerConfigs;

/// How long a test waits for anything that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a script may do in a step.
pub(crate) struct Stage<'a> {
    pub(crate) now: Now,
    pub(crate) medium: &'a mut dyn Medium,
    pub(crate) effects: &'a mut Vec<Effect>,
    pub(crate) deadline: &'a mut Option<Monotonic>,
}

/// A core that is one closure.
pub(crate) struct Script<F> {
    act: F,
    deadline: Option<Monotonic>,
}

impl<F: FnMut(Event<'_>, &mut Stage<'_>)> Core for Script<F> {
    fn step(
        &mut self,
        now: Now,
        event: Event<'_>,
        medium: &mut dyn Medium,
        effects: &mut Vec<Effect>,
    ) {
        let deadline = &mut self.deadline;
        (self.act)(event, &mut Stage { now, medium, effects, deadline });
    }

    fn next_deadline(&self) -> Option<Monotonic> {
        self.deadline
    }
}

/// A core from a closure, ready for [`Fleet::start`].
pub(crate) fn script<F>(act: F) -> Box<dyn FnOnce() -> Box<dyn Core> + Send>
where
    F: FnMut(Event<'_>, &mut Stage<'_>) + Send + 'static,
{
    Box::new(move || Box::new(Script { act, deadline: None }))
}

/// Segments as files in a folder, kept in memory for reading.
pub(crate) struct FileStore {
    folder: PathBuf,
    images: BTreeMap<SegmentId, Vec<u8>>,
    requests: Vec<StoreRequest>,
}

impl FileStore {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, images: BTreeMap::new(), requests: Vec::new() }
    }

    /// A segment that is there from the start.
    pub(crate) fn with(mut self, segment: SegmentId, bytes: Vec<u8>) -> Self {
        std::fs::write(self.path(segment), &bytes).unwrap();
        self.images.insert(segment, bytes);
        self
    }
}

impl Medium for FileStore {
    fn read(&self, segment: SegmentId, offset: u32, len: u32) -> Option<&[u8]> {
        let from = offset as usize;
        self.images.get(&segment)?.get(from..from + len as usize)
    }

    fn size(&self, segment: SegmentId) -> Option<u32> {
        self.images.get(&segment).map(|image| image.len() as u32)
    }

    fn append(
        &mut self,
        segment: SegmentId,
        offset: u32,
        parts: &[&[u8]],
    ) -> Result<(), AppendError> {
        let path = self.path(segment);
        let image = self.images.entry(segment).or_insert_with(|| std::fs::read(&path).unwrap());
        let bytes = parts.concat();
        let from = offset as usize;
        image[from..from + bytes.len()].copy_from_slice(&bytes);
        let file = File::options().write(true).open(path).unwrap();
        file.write_all_at(&bytes, u64::from(offset)).unwrap();
        Ok(())
    }

    fn start_sync(&mut self, segment: SegmentId) {
        self.requests.push(StoreRequest::Sync(segment));
    }

    fn request_segment(&mut self) {
        self.requests.push(StoreRequest::NewSegment);
    }

    fn retire(&mut self, segment: SegmentId) {
        self.images.remove(&segment);
        self.requests.push(StoreRequest::Retire(segment));
    }
}

impl Store for FileStore {
    fn take_requests(&mut self, into: &mut Vec<StoreRequest>) {
        into.append(&mut self.requests);
    }

    fn path(&self, segment: SegmentId) -> PathBuf {
        self.folder.join(format!("segment-{segment}"))
    }

    fn pin(&self, _: SegmentId) -> Option<segment::Pin> {
        None
    }
}

/// Makes segments of 4 KiB in a folder.
pub(crate) struct FileKeeper {
    pub(crate) folder: PathBuf,
    pub(crate) next: Arc<AtomicU32>,
}

impl Keeper for FileKeeper {
    fn create(&mut self) -> Result<(SegmentId, u32), String> {
        let segment = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("segment-{segment}"));
        std::fs::write(path, vec![0; 4_096]).map_err(|error| error.to_string())?;
        Ok((SegmentId(segment), 4_096))
    }

    fn prepare(&mut self) -> Result<bool, String> {
        Ok(false)
    }

    fn retire(&mut self, segment: SegmentId) -> Result<(), String> {
        let path = self.folder.join(format!("segment-{segment}"));
        std::fs::remove_file(path).map_err(|error| error.to_string())
    }

    fn free(&self) -> Result<(u64, u64), String> {
        Ok((1 << 30, 1_000))
    }
}

/// Running executors with scripted cores.
pub(crate) struct Fleet {
    pub(crate) inboxes: Vec<Arc<Inbox>>,
    pub(crate) folder: tempfile::TempDir,
    executors: Vec<ExecutorJoinHandle<()>>,
    keeper: Option<std::thread::JoinHandle<()>>,
    stopping: Arc<AtomicBool>,
    pub(crate) drained: Receiver<ShardId>,
}

type MakeCore = Box<dyn FnOnce() -> Box<dyn Core> + Send>;

impl Fleet {
    /// One executor per core, each with segment 7 holding `body`.
    pub(crate) fn start(cores: Vec<MakeCore>, body: &[u8]) -> Self {
        Self::with_certificates(cores, body, Arc::default())
    }

    /// The same, with certificates for its listeners.
    pub(crate) fn with_certificates(
        cores: Vec<MakeCore>,
        body: &[u8],
        server_tls: Arc<ServerConfigs>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let inboxes: Vec<_> = cores.iter().map(|_| Arc::new(Inbox::new().unwrap())).collect();
        let stopping = Arc::new(AtomicBool::new(false));
        let (wish, wishes) = crossbeam::channel::unbounded();
        let folders =
            crate::folders::start(&inboxes.clone().into(), &stopping).expect("threads can be made");
        let (runner, _) =
            crate::errands::start(&inboxes.clone().into(), &stopping).expect("threads can be made");
        let keeper = keeper_thread(&folder, wishes, inboxes.clone(), stopping.clone());
        let settings = LogSettings::of(&control::Policy::new(
            mail::Domain::parse("box.example").expect("a name"),
        ));
        let (log, _) =
            LogSink::start(Clock::start(), folder.path(), settings, &Arc::default(), 0).unwrap();
        let (tell_drained, drained) = crossbeam::channel::unbounded();
        let mut executors = Vec::new();
        for (number, make_core) in cores.into_iter().enumerate() {
            let tell_drained = tell_drained.clone();
            let parts = DriverParts {
                shard: ShardId(number as u16),
                clock: Clock::start(),
                inboxes: inboxes.clone(),
                keeper: wish.clone(),
                folders: folders.clone(),
                runner: runner.clone(),
                log: log.clone(),
                server_tls: server_tls.clone(),
                on_drained: Box::new(move |shard| tell_drained.send(shard).unwrap()),
            };
            let (path, body) = (folder.path().to_path_buf(), body.to_vec());
            let make = Box::new(move || -> (Box<dyn Core>, Box<dyn Store>) {
                (make_core(), Box::new(FileStore::new(path).with(SegmentId(7), body)))
            });
            let pulse = Arc::new(Pulse::default());
            executors.push(
                executor::start(Placement::Unbound, parts, pulse, make, Box::new(|| {})).unwrap(),
            );
        }
        Self { inboxes, folder, executors, keeper: Some(keeper), stopping, drained }
    }

    pub(crate) fn post(&self, shard: usize, mail: Mail) {
        assert!(self.inboxes[shard].post_patiently(mail, || true));
    }
}

fn keeper_thread(
    folder: &tempfile::TempDir,
    wishes: Receiver<Wish>,
    inboxes: Vec<Arc<Inbox>>,
    stopping: Arc<AtomicBool>,
) -> std::thread::JoinHandle<()> {
    let keeper =
        FileKeeper { folder: folder.path().to_path_buf(), next: Arc::new(AtomicU32::new(20)) };
    std::thread::spawn(move || {
        keeper::keep(Box::new(keeper), &wishes, &inboxes, &stopping, &|sentence| {
            panic!("the keeper complained: {sentence}");
        });
    })
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for inbox in &self.inboxes {
            inbox.post_patiently(Mail::Stop, || true);
        }
        for executor in self.executors.drain(..) {
            let joined = executor.join();
            assert!(joined.is_ok() || std::thread::panicking(), "a script failed");
        }
        self.stopping.store(true, Ordering::Release);
        if let Some(keeper) = self.keeper.take() {
            keeper.join().unwrap();
        }
    }
}

/// A channel for what a script saw, and a receiver that does not wait for
/// ever.
pub(crate) fn seen<T>() -> (mpsc::Sender<T>, Seen<T>) {
    let (sender, receiver) = mpsc::channel();
    (sender, Seen(receiver))
}

pub(crate) struct Seen<T>(mpsc::Receiver<T>);

impl<T> Seen<T> {
    pub(crate) fn next(&self) -> T {
        self.0.recv_timeout(PATIENCE).expect("it must have come by now")
    }

    pub(crate) fn nothing(&self) -> bool {
        self.0.try_recv().is_err()
    }
}
