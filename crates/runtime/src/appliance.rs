//! The appliance's first process, as far as the daemon may ask it for something:
//! orders are files in a folder that both know, its state is one.
//!
//! Never does any of it itself: without privileges, it could not. Invariants: an
//! order is there whole or not at all; an update is bounded, takes no room that
//! the queue needs, and one comes at a time.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use base::Wall;
use control::api::ApplianceRequest;
use control::appliance::{
    self, LAST_WORDS, LAST_WORDS_BYTES_MAX, ORDERS, STATE, STATE_BYTES_MAX, UPDATE, UPDATE_PART,
};
use mail::Timestamp;
use segment::small_file;
use serde_json::{Map, Value, json};

use crate::http::{HttpResponse, Takes};

/// Octets of the disk that an update leaves free.
const ROOM_LEFT_MIN: u64 = 32 << 20;

/// What answers for the appliance.
#[derive(Clone, Debug)]
pub struct Appliance {
    /// None: this is no appliance.
    folder: Option<PathBuf>,
    is_taking: Arc<AtomicBool>,
}

impl Appliance {
    /// With the folder of orders and of the state, if this is an appliance. What
    /// is left of an update that was cut off goes.
    pub fn new(folder: Option<PathBuf>) -> Self {
        if let Some(folder) = &folder {
            let _ = std::fs::remove_file(folder.join(UPDATE_PART));
        }
        Self { folder, is_taking: Arc::default() }
    }

    /// What is kept of how the daemon, the kernel and the machine went down, by
    /// name; None where this is no appliance.
    pub fn last_words(&self) -> Option<Map<String, Value>> {
        let ours = self.folder.as_ref()?.parent()?;
        let found = |name: &&str| Some(((*name).to_owned(), kept(&ours.join(name))?));
        Some(LAST_WORDS.iter().filter_map(found).collect())
    }

    /// Answers; `host` is what the daemon calls itself.
    pub fn answer(&self, request: &ApplianceRequest, host: &str) -> HttpResponse {
        let Some(folder) = &self.folder else {
            return HttpResponse::error(
                404,
                "this is not an appliance: its system is yours to run",
            );
        };
        match request {
            ApplianceRequest::State => state(folder),
            ApplianceRequest::Update => HttpResponse::after(Taking {
                folder: folder.clone(),
                is_taking: self.is_taking.clone(),
                file: None,
            }),
            ApplianceRequest::Network { confirm, text } => {
                order(folder, appliance::NETWORK, &appliance::network_order(*confirm, text))
            }
            ApplianceRequest::NetworkConfirm => match said(folder) {
                Ok(said) if appliance::is_on_trial(&said) => {
                    order(folder, appliance::NETWORK_CONFIRM, "")
                }
                Ok(_) => HttpResponse::error(409, "no settings of the network are on trial"),
                Err(error) => unreadable(&error),
            },
            ApplianceRequest::Reset { host: meant, .. } if meant != host => {
                let why = format!("this is {host}, not {meant}: nothing was reset");
                HttpResponse::error(409, &why)
            }
            ApplianceRequest::Reset { keeps_queue, .. } => {
                order(folder, appliance::RESET, &appliance::reset_order(*keeps_queue))
            }
            ApplianceRequest::Restart => order(folder, appliance::RESTART, ""),
        }
    }
}

/// What is kept of one end, and when that was; none where nothing is.
fn kept(path: &Path) -> Option<Value> {
    let file = File::open(path).ok()?;
    let written = file.metadata().and_then(|metadata| metadata.modified()).ok()?;
    let at = written.duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = Wall::from_millis(u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
    let mut words = Vec::new();
    // What was read before an error is what there is.
    let _ = file.take(LAST_WORDS_BYTES_MAX).read_to_end(&mut words);
    let words = plain(&String::from_utf8_lossy(&words));
    Some(json!({ "at": Timestamp(at).to_string(), "words": words }))
}

/// A text that may be shown: a crash says anything.
fn plain(text: &str) -> String {
    let is_bad = |sign: char| sign.is_control() && !matches!(sign, '\n' | '\t');
    text.chars().map(|sign| if is_bad(sign) { char::REPLACEMENT_CHARACTER } else { sign }).collect()
}

fn state(folder: &Path) -> HttpResponse {
    let waiting: Vec<&str> = ORDERS
        .iter()
        .filter(|(file, _)| folder.join(file).exists())
        .map(|(_, name)| *name)
        .collect();
    match said(folder) {
        Ok(said) => HttpResponse::json(200, &appliance::shown(&said, &waiting)),
        Err(error) => unreadable(&error),
    }
}

/// The state as it is written; empty before it first is.
fn said(folder: &Path) -> io::Result<String> {
    let state = small_file::read(&folder.join(STATE), STATE_BYTES_MAX)?;
    Ok(String::from_utf8_lossy(&state.unwrap_or_default()).into_owned())
}

/// Gives an order; 202, as it is carried out later.
fn order(folder: &Path, name: &str, text: &str) -> HttpResponse {
    match small_file::replace(&folder.join(name), text.as_bytes()) {
        Ok(()) => ordered(),
        Err(error) => HttpResponse::error(507, &format!("the order cannot be given: {error}")),
    }
}

fn ordered() -> HttpResponse {
    HttpResponse::json(202, &json!({ "ordered": true }))
}

fn unreadable(error: &io::Error) -> HttpResponse {
    HttpResponse::error(503, &format!("the appliance's state cannot be read: {error}"))
}

/// An update on its way into its file.
struct Taking {
    folder: PathBuf,
    is_taking: Arc<AtomicBool>,
    /// Once it has begun.
    file: Option<File>,
}

impl Taking {
    fn part(&self) -> PathBuf {
        self.folder.join(UPDATE_PART)
    }

    fn opened(&self) -> io::Result<File> {
        let _ = std::fs::remove_file(self.part());
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.part())
    }

    /// Puts the whole file where it is taken up.
    fn placed(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else { return Err(io::ErrorKind::InvalidInput.into()) };
        file.sync_all()?;
        std::fs::rename(self.part(), self.folder.join(UPDATE))?;
        File::open(&self.folder)?.sync_all()
    }
}

impl Takes for Taking {
    fn begin(&mut self, bytes: u64) -> Result<(), HttpResponse> {
        if bytes == 0 {
            return Err(HttpResponse::error(400, "the update is missing: it is the body"));
        }
        if self.folder.join(UPDATE).exists() {
            let why = "an update waits to be looked at; `appliance status` tells what became of it";
            return Err(HttpResponse::error(409, why));
        }
        if self.is_taking.swap(true, Ordering::AcqRel) {
            return Err(HttpResponse::error(409, "another update is just being sent"));
        }
        // From here on it is ours to give back: see `drop`.
        let opened = self.opened().and_then(|file| {
            let disk = rustix::fs::fstatvfs(&file)?;
            Ok((disk.f_bavail.saturating_mul(disk.f_frsize), file))
        });
        let (free, file) = opened.map_err(|error| {
            self.is_taking.store(false, Ordering::Release);
            no_room(&error)
        })?;
        self.file = Some(file);
        if free < bytes.saturating_add(ROOM_LEFT_MIN) {
            let why = format!("it has {bytes} octets, and {free} are free on the disk");
            return Err(HttpResponse::error(507, &why));
        }
        Ok(())
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), HttpResponse> {
        let Some(file) = &mut self.file else { return Err(HttpResponse::error(400, "not begun")) };
        file.write_all(piece).map_err(|error| no_room(&error))
    }

    fn end(mut self: Box<Self>) -> HttpResponse {
        match self.placed() {
            Ok(()) => ordered(),
            Err(error) => no_room(&error),
        }
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // Gone already where it was taken in whole.
            let _ = std::fs::remove_file(self.part());
            self.is_taking.store(false, Ordering::Release);
        }
    }
}

fn no_room(error: &io::Error) -> HttpResponse {
    HttpResponse::error(507, &format!("the update cannot be stored: {error}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use control::Span;

    use super::*;

    fn asked(appliance: &Appliance, request: &ApplianceRequest) -> (u16, String) {
        let response = appliance.answer(request, "mx.example");
        (response.status, response.body)
    }

    #[test]
    fn who_is_no_appliance_says_so() {
        let none = Appliance::new(None);
        for request in
            [ApplianceRequest::State, ApplianceRequest::Update, ApplianceRequest::Restart]
        {
            let (status, body) = asked(&none, &request);
            assert!(status == 404 && body.contains("not an appliance"), "{body}");
        }
    }

    #[test]
    fn last_words_are_bounded_and_plain() {
        assert!(Appliance::new(None).last_words().is_none());
        let data = tempfile::tempdir().unwrap();
        let appliance = Appliance::new(Some(data.path().join("appliance")));
        assert!(appliance.last_words().unwrap().is_empty(), "it never went down");
        let most = usize::try_from(LAST_WORDS_BYTES_MAX).unwrap();
        std::fs::write(data.path().join("last-reboot"), "asked for\n").unwrap();
        std::fs::write(data.path().join("last-panic"), b"a\x1b[2J\xc2\x9b\xff\n\tb").unwrap();
        std::fs::write(data.path().join("last-kernel-panic"), vec![b'x'; most + 1]).unwrap();
        let words = appliance.last_words().unwrap();
        assert_eq!(words["last-reboot"]["words"], "asked for\n");
        assert!(words["last-reboot"]["at"].as_str().unwrap().starts_with("20"), "{words:?}");
        assert_eq!(words["last-panic"]["words"], "a\u{fffd}[2J\u{fffd}\u{fffd}\n\tb");
        assert_eq!(words["last-kernel-panic"]["words"].as_str().map(str::len), Some(most));
    }

    #[test]
    fn orders_lie_in_the_folder_until_they_are_taken_up() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("update.new.part"), "cut off").unwrap();
        let appliance = Appliance::new(Some(folder.path().to_path_buf()));
        assert!(!at("update.new.part").exists());
        let ask = |request: ApplianceRequest| asked(&appliance, &request);
        assert_eq!(ask(ApplianceRequest::NetworkConfirm).0, 409);
        let (confirm, text) = (Span(Duration::from_secs(90)), "address = x\n".into());
        assert_eq!(ask(ApplianceRequest::Network { confirm, text }).0, 202);
        assert_eq!(
            std::fs::read_to_string(at("network.new")).unwrap(),
            "confirm = 90\naddress = x\n"
        );
        std::fs::write(at("state"), "network = trial\n").unwrap();
        assert_eq!(ask(ApplianceRequest::NetworkConfirm).0, 202);
        let reset = |host: &str| ApplianceRequest::Reset { keeps_queue: true, host: host.into() };
        let (status, why) = ask(reset("other.example"));
        assert!(status == 409 && why.contains("mx.example") && !at("reset.new").exists(), "{why}");
        assert_eq!(ask(reset("mx.example")).0, 202);
        assert_eq!(std::fs::read_to_string(at("reset.new")).unwrap(), "queue = keep\n");
        assert_eq!(ask(ApplianceRequest::Restart).0, 202);
        let (_, state) = ask(ApplianceRequest::State);
        let waiting = r#""waiting":["network","network confirm","reset","restart"]"#;
        assert!(state.contains(waiting), "{state}");
    }

    #[test]
    fn one_update_comes_at_a_time_and_lies_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let (part, whole) =
            (folder.path().join("update.new.part"), folder.path().join("update.new"));
        let appliance = Appliance::new(Some(folder.path().to_path_buf()));
        let taking = || {
            let response = appliance.answer(&ApplianceRequest::Update, "mx.example");
            response.intake.expect("it takes an update").0
        };
        let status = |refused: Result<(), HttpResponse>| refused.unwrap_err().status;
        assert_eq!(status(taking().begin(0)), 400);
        assert_eq!(status(taking().begin(u64::MAX)), 507);
        assert!(!part.exists());
        let mut first = taking();
        first.begin(6).unwrap();
        first.take(b"one").unwrap();
        assert_eq!(status(taking().begin(6)), 409);
        assert!(part.exists() && !whole.exists());
        drop(first);
        assert!(!part.exists(), "what was cut off is gone");
        let mut second = taking();
        second.begin(6).unwrap();
        second.take(b"two").unwrap();
        second.take(b"two").unwrap();
        assert_eq!(second.end().status, 202);
        assert_eq!(std::fs::read(&whole).unwrap(), b"twotwo");
        assert_eq!(status(taking().begin(6)), 409, "it waits");
    }
}
