//! The list of suspensions: on disk first, then in force on all shards. Kept in
//! one small file of the data folder, which is read before any shard starts.
//!
//! Decides nothing: what an order covers is `control`'s to say. Invariant: what
//! was answered with success is on disk, and what the file says is in force.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::Wall;
use control::api::Suspend;
use control::{Request, Scope, Suspension, Suspensions};
use eventlog::{Field, Kind, Line, rfc3339};
use segment::small_file;
use serde_json::{Value, json};
use shard::command::Answer;

use crate::error::StartError;
use crate::inbox::Mail;
use crate::server::Running;

/// The file's name within the data folder.
const FILE: &str = "suspensions.json";
/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The orders in force and their file.
#[derive(Debug)]
pub(crate) struct SuspensionBook {
    path: PathBuf,
    orders: Mutex<Arc<Suspensions>>,
}

impl SuspensionBook {
    /// Reads the orders of `folder`.
    ///
    /// # Errors
    /// The file is there and cannot be read: what was stopped must not start
    /// by itself.
    pub(crate) fn open(folder: &Path) -> Result<Self, StartError> {
        let path = folder.join(FILE);
        let damaged = |reason: String| StartError::LocalFile { path: path.clone(), reason };
        let stored =
            small_file::read(&path, FILE_BYTES_MAX).map_err(|error| damaged(error.to_string()))?;
        let orders = match stored {
            Some(stored) => {
                Suspensions::from_stored(&stored).map_err(|error| damaged(error.to_string()))?
            }
            None => Suspensions::default(),
        };
        Ok(Self { path, orders: Mutex::new(Arc::new(orders)) })
    }

    /// The orders in force.
    pub(crate) fn orders(&self) -> Arc<Suspensions> {
        self.locked().clone()
    }

    /// Adds an order. `enforce` puts the new list in force.
    pub(crate) fn suspend(
        &self,
        now: Wall,
        order: Suspend,
        enforce: impl FnOnce(Arc<Suspensions>),
    ) -> Answer {
        let Suspend { scope, reason, end } = order;
        let until = end.from(now);
        if until.is_some_and(|until| until <= now) {
            return Answer::refused("the suspension would be over before it began");
        }
        let suspension = Suspension { scope, reason, since: now, until };
        self.change(now, enforce, |list| {
            list.suspend(suspension).map_err(|error| Answer::refused(&error.to_string()))
        })
    }

    /// Takes an order back.
    pub(crate) fn resume(
        &self,
        now: Wall,
        scope: &Scope,
        enforce: impl FnOnce(Arc<Suspensions>),
    ) -> Answer {
        self.change(now, enforce, |list| match list.resume(scope) {
            Some(_) => Ok(()),
            None => Err(Answer::not_found(&format!("no suspension of {scope} stands"))),
        })
    }

    /// The list as an answer.
    pub(crate) fn list(&self, now: Wall) -> Answer {
        shown(&self.locked(), now)
    }

    fn change(
        &self,
        now: Wall,
        enforce: impl FnOnce(Arc<Suspensions>),
        change: impl FnOnce(&mut Suspensions) -> Result<(), Answer>,
    ) -> Answer {
        let mut orders = self.locked();
        let mut list = Suspensions::clone(&orders);
        list.forget_ended(now);
        if let Err(answer) = change(&mut list) {
            return answer;
        }
        if let Err(error) = small_file::replace(&self.path, list.to_stored().as_bytes()) {
            let error = format!("{} cannot be written: {error}", self.path.display());
            return Answer::new(503, json!({ "error": error }));
        }
        let list = Arc::new(list);
        *orders = list.clone();
        // Under the lock, so that shards hear of changes in their order.
        enforce(list.clone());
        shown(&list, now)
    }

    fn locked(&self) -> MutexGuard<'_, Arc<Suspensions>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shown(list: &Suspensions, now: Wall) -> Answer {
    let rows = list.iter().filter(|one| one.is_on(now)).map(|one| {
        json!({
            "scope": one.scope.kind(),
            "name": one.scope.name(),
            "reason": one.reason,
            "since": rfc3339(one.since),
            "until": one.until.map(rfc3339),
        })
    });
    Answer::ok(json!({ "suspensions": Value::Array(rows.collect()) }))
}

impl Running {
    /// Answers what is about suspensions; `None` for any other request.
    pub fn suspension(&self, request: &Request) -> Option<Answer> {
        let now = self.clock.now().wall;
        let enforce = |orders: Arc<Suspensions>| {
            for inbox in self.inboxes.iter() {
                let mail = Mail::Suspensions(orders.clone());
                inbox.post_patiently(mail, || self.is_running());
            }
        };
        match request {
            Request::SuspensionsList => Some(self.suspensions.list(now)),
            Request::Suspend(order) => {
                let answer = self.suspensions.suspend(now, order.clone(), enforce);
                if answer.status == 200 {
                    let line = Line::new(now, Kind::Suspended).show(Field::Scope, &order.scope);
                    let line = line.text_if(Field::Reason, &order.reason);
                    self.log(line.time_some(Field::Until, order.end.from(now)));
                }
                Some(answer)
            }
            Request::Resume(scope) => {
                let answer = self.suspensions.resume(now, scope, enforce);
                if answer.status == 200 {
                    self.log(Line::new(now, Kind::Resumed).show(Field::Scope, scope));
                }
                Some(answer)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use control::api::End;

    use super::*;

    const NOW: Wall = Wall::from_millis(1_000);

    fn order(end: End) -> Suspend {
        Suspend { scope: Scope::All, reason: "a test".into(), end }
    }

    /// What is on disk is in force after a start, and a damaged file stops the
    /// start instead of the suspension.
    #[test]
    fn orders_outlive_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let book = SuspensionBook::open(folder.path()).unwrap();
        let mut enforced = None;
        let answer = book.suspend(NOW, order(End::Resumed), |list| enforced = Some(list));
        assert_eq!(answer.body["suspensions"][0]["scope"], "all");
        let again = SuspensionBook::open(folder.path()).unwrap();
        assert_eq!(Some(again.orders()), enforced);
        assert_eq!(again.resume(NOW, &Scope::All, |_| {}).status, 200);
        assert_eq!(again.resume(NOW, &Scope::All, |_| {}).status, 404);
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        let error = SuspensionBook::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(FILE), "{error}");
    }

    #[test]
    fn an_order_that_is_over_is_refused_and_an_ended_one_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let book = SuspensionBook::open(folder.path()).unwrap();
        assert_eq!(book.suspend(NOW, order(End::At(NOW)), |_| {}).status, 400);
        let second = std::time::Duration::from_secs(1);
        assert_eq!(book.suspend(NOW, order(End::After(second)), |_| {}).status, 200);
        assert_eq!(book.list(NOW).body["suspensions"].as_array().map(Vec::len), Some(1));
        assert_eq!(book.list(NOW + second).body["suspensions"].as_array().map(Vec::len), Some(0));
        assert_eq!(book.resume(NOW + second, &Scope::All, |_| {}).status, 404);
    }
}
