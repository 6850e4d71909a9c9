//! `ringpost queue export` and `queue import`: waiting messages as files.
//!
//! A file is whole under its name, or it is not there: it is written under
//! another one, synced and renamed. With `--remove` the queue is asked to let go
//! of a message only then, and of what is not being tried just now; what it did
//! not let go of is taken out of the file. An import claims a file by moving
//! it into a folder, so that none is taken in twice: one whose answer never came
//! stays there, for people to look at. Memory holds a few messages at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use clap::Args;
use control::api::FILE_BYTES_MAX;
use serde_json::{Value, json};

use super::{FilterArgs, encoded, told};
use crate::Socket;
use crate::client::{self, Failure};
use crate::print::put;

/// Messages that are under way at once; they share the daemon's syncs.
const AT_ONCE: usize = 8;
/// Ids asked for at once.
const IDS: u32 = 1_000;
/// Where files are while they are taken in.
const CLAIMED: &str = "importing";
/// Where files go that were taken in.
const DONE: &str = "imported";

/// `ringpost queue export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The folder, which is made if it is not there; one file for each message
    #[arg(long)]
    to: PathBuf,
    /// One message
    #[arg(value_name = "ID", conflicts_with_all = ["id", "all"])]
    one: Option<String>,
    /// All messages
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: FilterArgs,
    /// Take each out of the queue once its file is safe; what is being tried just now stays
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    socket: Socket,
}

/// `ringpost queue import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Files, and folders whose files end in `.eml`; each moves to `imported` beside it
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    socket: Socket,
}

/// What came of it.
#[derive(Default)]
struct Tally {
    done: AtomicU64,
    left: AtomicU64,
    failed: AtomicU64,
    /// Nothing more makes sense: there is no daemon, or no room.
    over: AtomicBool,
}

/// `ringpost queue export`
pub fn export(args: &ExportArgs) -> ExitCode {
    let mut named = args.filter.pairs();
    named.extend(args.one.as_ref().map(|id| ("id", id.clone())));
    if named.is_empty() != args.all {
        eprintln!("name what is meant, by an id or conditions, or say --all");
        return ExitCode::from(2);
    }
    let query: String =
        named.iter().map(|(name, value)| format!("&{name}={}", encoded(value))).collect();
    if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(&args.to) {
        return refuse(&format!("{}: {error}", args.to.display()));
    }
    let tally = Tally::default();
    let mut after = String::new();
    while !tally.over.load(Ordering::Relaxed) {
        let path = format!("/v1/queue/messages?limit={IDS}{query}{after}");
        let page = match client::request(&args.socket.at(), "GET", &path, None) {
            Ok(page) => page,
            Err(failure) => return told(failure),
        };
        let ids: Vec<String> =
            page["ids"].as_array().into_iter().flatten().map(super::text).collect();
        let Some(last) = ids.last() else { break };
        after = format!("&after={}", encoded(last));
        each(ids.iter(), &tally, |id| export_one(args, id, &tally));
    }
    if let Err(error) = sync_folder(&args.to) {
        return refuse(&format!("{}: {error}", args.to.display()));
    }
    tally.conclude(&args.socket, "exported")
}

/// Writes one message; what cannot be done is told as a line.
fn export_one(args: &ExportArgs, id: &str, tally: &Tally) -> Result<(), String> {
    let path = format!("/v1/queue/{}/file", encoded(id));
    let told = |failure: Failure| tally.told(id, failure);
    let file = match client::carry(&args.socket.at(), "GET", &path, &[]) {
        Ok(file) => file,
        // It has ended since it was listed.
        Err(Failure::Refused(404, _)) => return Ok(()),
        Err(failure) => return Err(told(failure)),
    };
    let place = args.to.join(format!("{id}.eml"));
    let failed = |error: io::Error| format!("{}: {error}", place.display());
    write_whole(&place, &file).map_err(failed)?;
    if !args.remove {
        tally.done.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    }
    sync_folder(&args.to).map_err(failed)?;
    let order = json!({ "id": id, "idle": true, "reason": "exported" });
    let socket = args.socket.at();
    let answer =
        client::request(&socket, "POST", "/v1/queue/remove", Some(&order)).map_err(told)?;
    let met: Vec<&str> =
        answer["met"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let (mut exported, text) = mail::exported::read(&file).map_err(|e| format!("{id}: {e}"))?;
    let whole = met.len() == exported.envelope.recipients.len();
    if !whole {
        tally.left.fetch_add(1, Ordering::Relaxed);
        if !exported.narrow(&met) {
            return fs::remove_file(&place).map_err(failed);
        }
        let narrowed = [mail::exported::fields(&exported).as_bytes(), text].concat();
        write_whole(&place, &narrowed).map_err(failed)?;
    }
    tally.done.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// `ringpost queue import`
pub fn import(args: &ImportArgs) -> ExitCode {
    let tally = Tally::default();
    for path in &args.paths {
        if !path.is_dir() {
            each([path.clone()], &tally, |path| import_one(args, path, &tally));
            continue;
        }
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => return refuse(&format!("{}: {error}", path.display())),
        };
        for left in fs::read_dir(path.join(CLAIMED)).into_iter().flatten().flatten() {
            let why = "an earlier import of it was cut off, and it may be in the queue; if it is \
                       not, move it back";
            eprintln!("{}: {why}", left.path().display());
            tally.failed.fetch_add(1, Ordering::Relaxed);
        }
        let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let wanted = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            !name.starts_with('.') && name.ends_with(".eml")
        };
        each(files.filter(wanted), &tally, |path| import_one(args, path, &tally));
    }
    tally.conclude(&args.socket, "imported")
}

/// Takes in one file; what cannot be done is told as a line.
fn import_one(args: &ImportArgs, path: &Path, tally: &Tally) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let name = path.file_name().ok_or_else(|| format!("{}: no file", path.display()))?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let file = read_whole(path).map_err(failed)?;
    let claims = made(&folder, CLAIMED).map_err(failed)?;
    let claimed = claims.join(name);
    if claimed.exists() {
        return Err(format!("{}: another of that name is being taken in", path.display()));
    }
    fs::rename(path, &claimed).and_then(|()| sync_folder(&claims)).map_err(failed)?;
    let answer = client::carry(&args.socket.at(), "POST", "/v1/queue/import", &file);
    match answer {
        Ok(_) => {}
        Err(failure @ (Failure::Garbled(_) | Failure::Refused(504, _))) => {
            let why = tally.told(&claimed.display().to_string(), failure);
            return Err(format!("{why}; it may be in the queue, and stays there"));
        }
        Err(failure) => {
            fs::rename(&claimed, path).map_err(failed)?;
            return Err(tally.told(&path.display().to_string(), failure));
        }
    }
    let done = made(&folder, DONE).map_err(failed)?;
    fs::rename(&claimed, done.join(name)).map_err(failed)?;
    tally.done.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Does something with each of a list, a few at a time.
fn each<T: Send>(
    list: impl IntoIterator<Item = T, IntoIter: Send>,
    tally: &Tally,
    act: impl Fn(&T) -> Result<(), String> + Sync,
) {
    let list = Mutex::new(list.into_iter());
    let next = || list.lock().unwrap_or_else(PoisonError::into_inner).next();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while !tally.over.load(Ordering::Relaxed) {
                    let Some(one) = next() else { return };
                    if let Err(why) = act(&one) {
                        tally.failed.fetch_add(1, Ordering::Relaxed);
                        eprintln!("{why}");
                    }
                }
            });
        }
    });
}

impl Tally {
    /// A failure as a line; remembers those after which nothing makes sense.
    fn told(&self, what: &str, failure: Failure) -> String {
        let (over, why) = match failure {
            Failure::NotThere(why) => (true, format!("no daemon answers: {why}")),
            Failure::Refused(status, why) => (status == 503 || status == 403, why),
            Failure::Garbled(why) | Failure::Misuse(why) | Failure::Unproved(why) => (true, why),
        };
        self.over.fetch_or(over, Ordering::Relaxed);
        format!("{what}: {why}")
    }

    fn conclude(&self, socket: &Socket, word: &str) -> ExitCode {
        let [done, left, failed] =
            [&self.done, &self.left, &self.failed].map(|count| count.load(Ordering::Relaxed));
        let counts = json!({ "messages": done, "left": left, "failed": failed });
        let mut shown = match socket.json {
            true => format!("{counts:#}\n"),
            false => format!("{done} messages {word}\n"),
        };
        if left > 0 && !socket.json {
            shown +=
                &format!("{left} of which recipients were being tried and stay in the queue\n");
        }
        if failed > 0 && !socket.json {
            shown += &format!("{failed} failed\n");
        }
        let come = ExitCode::from(u8::from(left + failed > 0));
        put(&shown).map_or_else(|code| code, |()| come)
    }
}

/// Puts a file in place whole, on stable storage but for its name.
fn write_whole(place: &Path, content: &[u8]) -> io::Result<()> {
    let part = place.with_extension("part");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&part, place)
}

/// A folder within another, made where it is not there.
fn made(folder: &Path, name: &str) -> io::Result<PathBuf> {
    let made = folder.join(name);
    DirBuilder::new().recursive(true).mode(0o700).create(&made)?;
    Ok(made)
}

fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut content)?;
    if content.len() > FILE_BYTES_MAX {
        return Err(io::Error::other("it is larger than a message may be"));
    }
    Ok(content)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn refuse(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(1)
}
