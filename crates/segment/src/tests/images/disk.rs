//! A disk as it may be after a power cut: which changes are on it for sure,
//! and one of the ways in which the others may have reached it or not.
//!
//! The rules are POSIX's and no file system's: a file's bytes, its length and
//! its name are durable by a sync of the file and of its folder and by nothing
//! else, in no order, except that changes of one file or one name follow one
//! another. Sectors of 512 bytes are written whole. Never here: what the bytes
//! mean.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base::Rng;

use crate::tests::trace::Act;

/// Files by their paths below the data folder.
pub type Image = BTreeMap<PathBuf, Vec<u8>>;

/// How changes that were not synced fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// None is there.
    Lost,
    /// All are there, as after a crash of the program alone.
    Kept,
    /// Each sector of a file is as it was at some moment since its last sync.
    Sectors,
    /// Each sector of each write is there or not, whatever came before it.
    Scattered,
}

/// Bytes at an offset, or without bytes a length.
type Change = (u64, Option<Vec<u8>>);

#[derive(Clone, Debug, Default)]
struct Node {
    folder: bool,
    durable: Vec<u8>,
    pending: Vec<Change>,
    /// The first of them were to be synced by a sync that failed: no later one
    /// brings them to the disk.
    doomed: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Naming {
    node: usize,
    /// The name it had and the name it has.
    from: Option<PathBuf>,
    to: Option<PathBuf>,
}

/// A disk, followed act by act.
#[derive(Clone, Debug)]
pub struct Disk {
    root: PathBuf,
    nodes: Vec<Node>,
    inodes: BTreeMap<u64, usize>,
    durable: BTreeMap<PathBuf, usize>,
    live: BTreeMap<PathBuf, usize>,
    pending: Vec<Naming>,
}

impl Disk {
    /// The folder `root` as it lies there, all of it durable.
    pub fn of_folder(root: &Path) -> Self {
        let mut disk = Self {
            root: root.to_path_buf(),
            nodes: Vec::new(),
            inodes: BTreeMap::new(),
            durable: BTreeMap::new(),
            live: BTreeMap::new(),
            pending: Vec::new(),
        };
        let segments = root.join(SEGMENTS);
        if segments.exists() {
            disk.nodes.push(Node { folder: true, ..Node::default() });
            disk.durable.insert(SEGMENTS.into(), 0);
            for entry in fs::read_dir(&segments).unwrap() {
                let path = entry.unwrap().path();
                let node = Node { durable: fs::read(&path).unwrap(), ..Node::default() };
                disk.inodes.insert(fs::metadata(&path).unwrap().ino(), disk.nodes.len());
                disk.durable.insert(disk.below(&path), disk.nodes.len());
                disk.nodes.push(node);
            }
        }
        disk.live = disk.durable.clone();
        disk
    }

    /// Follows one act.
    pub fn apply(&mut self, act: &Act) {
        match act {
            Act::MakeFolder(path) => {
                let path = self.below(path);
                if !path.as_os_str().is_empty() && !self.live.contains_key(&path) {
                    let node = self.node(true);
                    self.name(node, None, Some(path));
                }
            }
            Act::Create { path, inode } => {
                let path = self.below(path);
                if let Some(node) = self.live.get(&path) {
                    // Emptied: all that was in it goes, one way or the other.
                    self.nodes[*node].pending.push((0, None));
                    return;
                }
                let node = self.node(false);
                self.inodes.insert(*inode, node);
                self.name(node, None, Some(path));
            }
            Act::Allocate { inode, bytes } => self.file(*inode).pending.push((*bytes, None)),
            Act::Write { inode, offset, bytes } => {
                self.file(*inode).pending.push((*offset, Some(bytes.clone())));
            }
            Act::Sync { inode } => self.file(*inode).sync(),
            Act::FailedSync { inode } => {
                let node = self.file(*inode);
                node.doomed = node.pending.len();
            }
            Act::SyncFolder(path) => {
                let folder = self.below(path);
                let (here, elsewhere) = std::mem::take(&mut self.pending)
                    .into_iter()
                    .partition(|naming: &Naming| naming.is_in(&folder));
                self.pending = elsewhere;
                rename(&mut self.durable, here.iter());
            }
            Act::Rename { from, to } => {
                let (from, to) = (self.below(from), self.below(to));
                let node = self.live[&from];
                self.name(node, Some(from), Some(to));
            }
            Act::Remove(path) => {
                let path = self.below(path);
                let node = self.live[&path];
                self.name(node, Some(path), None);
            }
        }
    }

    /// Whether a sync has failed on a file that still has a name: what a
    /// restarted program reads of it is in memory only, and nobody can tell.
    pub fn is_doomed(&self) -> bool {
        self.live.values().any(|node| self.nodes[*node].doomed > 0)
    }

    /// What a power cut leaves at this moment.
    pub fn image(&self, fate: Fate, rng: &mut Rng) -> Image {
        let mut names = self.durable.clone();
        match fate {
            Fate::Lost => {}
            Fate::Kept => names = self.live.clone(),
            // A journal keeps their order.
            Fate::Sectors if rng.chance(1, 2) => {
                let kept = rng.below(self.pending.len() as u64 + 1) as usize;
                rename(&mut names, self.pending[..kept].iter());
            }
            Fate::Sectors | Fate::Scattered => rename(&mut names, self.coherent(rng).into_iter()),
        }
        let folders: BTreeSet<&PathBuf> =
            names.iter().filter(|(_, node)| self.nodes[**node].folder).map(|(p, _)| p).collect();
        let reachable = |path: &Path| folders.iter().any(|f| path.parent() == Some(f.as_path()));
        let mut contents = BTreeMap::new();
        for node in names.values() {
            contents.entry(*node).or_insert_with(|| self.nodes[*node].after(fate, rng));
        }
        let files = names.iter().filter(|(path, _)| reachable(path));
        files.map(|(path, node)| (path.clone(), contents[node].clone())).collect()
    }

    /// Some of the unsynced namings: none without those before it that had to
    /// do with the same file or the same name.
    fn coherent(&self, rng: &mut Rng) -> Vec<&Naming> {
        let (mut kept, mut lost): (Vec<&Naming>, Vec<&Naming>) = Default::default();
        for naming in &self.pending {
            let blocked = lost.iter().any(|earlier| earlier.touches(naming));
            if blocked || rng.chance(1, 3) { lost.push(naming) } else { kept.push(naming) }
        }
        kept
    }

    fn node(&mut self, folder: bool) -> usize {
        self.nodes.push(Node { folder, ..Node::default() });
        self.nodes.len() - 1
    }

    fn name(&mut self, node: usize, from: Option<PathBuf>, to: Option<PathBuf>) {
        self.pending.push(Naming { node, from, to });
        let last = self.pending.len() - 1;
        rename(&mut self.live, self.pending[last..].iter());
    }

    fn file(&mut self, inode: u64) -> &mut Node {
        let node = self.inodes[&inode];
        &mut self.nodes[node]
    }

    /// A path as seen from the data folder; that itself is empty, as is
    /// whatever lies above it, which is never lost here.
    fn below(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).unwrap_or(Path::new("")).to_path_buf()
    }
}

impl Naming {
    fn is_in(&self, folder: &Path) -> bool {
        self.from.iter().chain(&self.to).any(|path| path.parent() == Some(folder))
    }

    fn touches(&self, other: &Self) -> bool {
        let names = |naming: &Self| naming.from.clone().into_iter().chain(naming.to.clone());
        self.node == other.node || names(self).any(|name| names(other).any(|n| n == name))
    }
}

fn rename<'a>(names: &mut BTreeMap<PathBuf, usize>, acts: impl Iterator<Item = &'a Naming>) {
    for Naming { node, from, to } in acts {
        if let Some(from) = from {
            let gone = names.remove(from);
            assert_eq!(gone, Some(*node), "a name is taken from the file that has it");
        }
        if let Some(to) = to {
            names.insert(to.clone(), *node);
        }
    }
}

impl Node {
    fn sync(&mut self) {
        let doomed = std::mem::take(&mut self.doomed);
        let later = self.pending.split_off(doomed);
        let range = |(offset, bytes): &Change| {
            let end = offset + bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
            *offset..end
        };
        // What shares bytes with a later write goes to the disk with it.
        let meets = |change: &Change| {
            let (a, all) = (range(change), later.iter().map(range));
            all.into_iter().any(|b| a.start < b.end && b.start < a.end)
        };
        let along: Vec<Change> = self.pending.extract_if(.., |change| meets(change)).collect();
        self.doomed = self.pending.len();
        for (offset, bytes) in along.into_iter().chain(later) {
            put(&mut self.durable, offset, bytes.as_deref());
        }
    }

    fn after(&self, fate: Fate, rng: &mut Rng) -> Vec<u8> {
        let mut content = self.durable.clone();
        // Moments of single sectors, where the fate asks for them.
        let mut until: BTreeMap<u64, usize> = BTreeMap::new();
        let moments = self.pending.len() as u64 + 1;
        for (at, (offset, bytes)) in self.pending.iter().enumerate() {
            let Some(bytes) = bytes else {
                if fate == Fate::Kept || fate != Fate::Lost && rng.chance(1, 2) {
                    put(&mut content, *offset, None);
                }
                continue;
            };
            let mut from = 0;
            while from < bytes.len() {
                let start = offset + from as u64;
                let to = bytes.len().min(from + (SECTOR - start % SECTOR) as usize);
                let mut moment =
                    || *until.entry(start / SECTOR).or_insert_with(|| rng.below(moments) as usize);
                let kept = match fate {
                    Fate::Lost => false,
                    Fate::Kept => true,
                    Fate::Sectors => at < moment(),
                    Fate::Scattered => rng.chance(1, 2),
                };
                if kept {
                    put(&mut content, start, Some(&bytes[from..to]));
                }
                from = to;
            }
        }
        content
    }
}

/// Writes, or without bytes makes as long as `offset`; a file that is longer
/// is cut only by being emptied.
fn put(content: &mut Vec<u8>, offset: u64, bytes: Option<&[u8]>) {
    let offset = offset as usize;
    let Some(bytes) = bytes else {
        if offset == 0 {
            content.clear();
        }
        return content.resize(offset.max(content.len()), 0);
    };
    if content.len() < offset + bytes.len() {
        content.resize(offset + bytes.len(), 0);
    }
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// Writes an image as real files below `root`, in the place of what is there.
pub fn write(image: &Image, root: &Path) {
    let segments = root.join(SEGMENTS);
    fs::create_dir_all(&segments).unwrap();
    for entry in fs::read_dir(&segments).unwrap() {
        let path = entry.unwrap().path();
        if !image.contains_key(path.strip_prefix(root).unwrap()) {
            fs::remove_file(path).unwrap();
        }
    }
    for (path, content) in image {
        fs::write(root.join(path), content).unwrap();
    }
}

/// Reads real files back as an image.
pub fn read(root: &Path) -> Image {
    let entries = fs::read_dir(root.join(SEGMENTS)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.map(|p| (p.strip_prefix(root).unwrap().to_path_buf(), fs::read(&p).unwrap())).collect()
}

const SEGMENTS: &str = "segments";
const SECTOR: u64 = 512;

#[test]
fn what_is_not_synced_may_be_there_or_not_and_the_rest_is() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    let path = |name: &str| root.join(SEGMENTS).join(name);
    let mut disk = Disk::of_folder(root);
    for act in [
        Act::MakeFolder(root.join(SEGMENTS)),
        Act::SyncFolder(root.to_path_buf()),
        Act::Create { path: path("a"), inode: 7 },
        Act::Write { inode: 7, offset: 0, bytes: vec![1; 1024] },
        Act::Sync { inode: 7 },
        Act::SyncFolder(root.join(SEGMENTS)),
        Act::Write { inode: 7, offset: 256, bytes: vec![2; 512] },
        Act::Rename { from: path("a"), to: path("b") },
    ] {
        disk.apply(&act);
    }
    let mut rng = Rng::new(1);
    let (a, b): (PathBuf, PathBuf) = ("segments/a".into(), "segments/b".into());
    assert_eq!(disk.image(Fate::Lost, &mut rng), Image::from([(a.clone(), vec![1; 1024])]));
    let new = [vec![1; 256], vec![2; 512], vec![1; 256]].concat();
    assert_eq!(disk.image(Fate::Kept, &mut rng), Image::from([(b.clone(), new)]));
    let mut seen = BTreeSet::new();
    for _ in 0..200 {
        let image = disk.image(Fate::Scattered, &mut rng);
        assert_eq!(image.len(), 1, "a file has one name: {image:?}");
        let (name, content) = image.into_iter().next().unwrap();
        assert_eq!((content[0], content[1023], content.len()), (1, 1, 1024));
        seen.insert((name == b, content[256], content[512]));
    }
    assert_eq!(seen.len(), 8, "each of the three on its own");
}
