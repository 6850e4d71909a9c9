//! Which text rules at a start: the history's, or that of the configuration
//! file where it says something new.
//!
//! Never writes before the data folder is locked: [`begin`] reads, and what it
//! found is stored when the server runs.

use std::path::Path;

use control::revisions::{Fate, FileSays, History, Origin, Revision};

use crate::clock::Clock;
use crate::error::StartError;
use crate::revisions::{Store, StoreError};

/// What a daemon starts with.
#[derive(Debug)]
pub struct Beginning {
    text: String,
    revision: Option<u64>,
    complaint: Option<String>,
    store: Store,
    history: Option<History>,
    /// The text is the file's and no revision yet.
    is_new: bool,
    file_agrees: bool,
}

/// Reads the history in the data folder, and finds out what rules beside what
/// the configuration file says, if there is one.
///
/// # Errors
/// [`StoreError`].
pub fn begin(data: &Path, file: Option<String>) -> Result<Beginning, StoreError> {
    let store = Store::new(data);
    let history = store.history()?;
    let mut beginning = Beginning {
        text: String::new(),
        revision: None,
        complaint: None,
        store,
        history,
        is_new: true,
        file_agrees: false,
    };
    let Some(history) = &beginning.history else {
        beginning.text = file.unwrap_or_default();
        return Ok(beginning);
    };
    let (current, of_file) = (history.current(), history.of_file());
    let ruling = beginning.store.known_text(current)?;
    let says = match &file {
        None => FileSays::Nothing,
        Some(file) => {
            let of_file = beginning.store.known_text(of_file)?;
            history.file_says(file, &of_file, &ruling)
        }
    };
    match says {
        FileSays::Something => beginning.text = file.unwrap_or_default(),
        FileSays::Nothing | FileSays::TheSame | FileSays::Outdated(_) => {
            beginning.file_agrees = says == FileSays::TheSame && of_file != current;
            beginning.complaint = match says {
                FileSays::Outdated(of_file) => Some(outdated(of_file, current)),
                _ => None,
            };
            beginning.is_new = false;
            beginning.revision = Some(current);
            beginning.text = ruling;
        }
    }
    Ok(beginning)
}

/// What to tell about a file that others have overtaken.
pub(super) fn outdated(of_file: u64, current: u64) -> String {
    format!(
        "the configuration file was changed, but from revision {of_file}, and revision {current} \
         rules by now: the file is not taken. `ringpost config show --revision {current}` prints \
         what rules; `ringpost config propose FILE` makes a change of the file"
    )
}

impl Beginning {
    /// The text that rules.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The revision that it is of; `None` where it is the file's and new.
    pub fn revision(&self) -> Option<u64> {
        self.revision
    }

    /// What the operator must be told about the configuration file.
    pub fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    /// The history, with what was found put in.
    pub(super) fn stored(self, clock: Clock) -> Result<(Store, History), StartError> {
        let Self { text, store, history, is_new, file_agrees, .. } = self;
        let failed = |error: std::io::Error| StartError::LocalThread {
            what: "the configuration's history",
            reason: error.to_string(),
        };
        let (uid, pid) = crate::machine::own_ids();
        let revision = |number, base| Revision {
            number,
            base,
            time: clock.now().wall,
            uid,
            pid,
            origin: Origin::File,
            comment: String::new(),
        };
        let history = match history {
            Some(mut history) if is_new => {
                let new = revision(history.next_number(), history.current());
                store.write(&new, &text).map_err(failed)?;
                history.add(new, text.len() as u64, Fate::Rules);
                for old in history.forget_old() {
                    store.forget(old);
                }
                history
            }
            Some(mut history) => {
                if file_agrees {
                    history.file_agrees();
                }
                history
            }
            None => {
                let first = revision(1, 0);
                store.write(&first, &text).map_err(failed)?;
                History::new(first, text.len() as u64)
            }
        };
        if is_new || file_agrees {
            store.point(history.pointers()).map_err(failed)?;
        }
        Ok((store, history))
    }
}
