//! Commands that walk over the queue: what each is about and what it has found
//! so far. The walking is `admin`'s.

use std::collections::BTreeSet;

use base::{MessageId, Monotonic, ShardId};
use control::api::How;
use control::{Filter, QueueAct, Why};
use queue::{EntryKey, Sweep, View};
use serde_json::Value;

use crate::why::Tallied;

/// Next hops of one forecast; those of a domain are few.
const QUEUES_MAX: usize = 100;

/// A command on its way over the queue.
#[derive(Debug)]
pub(crate) struct Job {
    /// None where nobody waits for the answer.
    pub(crate) request: Option<u64>,
    pub(super) sweep: Sweep,
    pub(super) filter: Filter,
    pub(super) task: Task,
    pub(super) how: How,
    /// Where mail is moved to, if that was said, in the numbers of an epoch.
    pub(super) to: Option<u32>,
    pub(super) count: u64,
    pub(crate) rows: Vec<Value>,
    /// Of these rows, those about which another shard knows more: its writer.
    pub(crate) elsewhere: Vec<Elsewhere>,
    pub(super) keys: Vec<EntryKey>,
    /// What it met and could not read; where that stands is asked.
    pub(super) unread: Vec<EntryKey>,
    /// The same, once its writers have told.
    pub(super) placed: Vec<EntryKey>,
    pub(super) ids: BTreeSet<MessageId>,
    pub(super) queues: Vec<Tallied>,
    pub(super) not_before: Monotonic,
}

/// A row about mail that another shard wrote.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elsewhere {
    /// Its place among the rows.
    pub(crate) row: usize,
    pub(crate) writer: ShardId,
    pub(crate) recipient: (MessageId, u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    List {
        limit: usize,
    },
    /// The first messages behind one, so many of them.
    Ids {
        after: Option<MessageId>,
        limit: usize,
    },
    Show(MessageId),
    /// Why single recipients wait, so many of them at most.
    Why {
        limit: usize,
    },
    /// How long queues last: each next hop's, or the whole site's as one.
    Forecast {
        whole: bool,
    },
    Do(QueueAct),
    /// Not asked for by anybody: a new policy wants it.
    Reroute,
}

impl Job {
    pub(super) fn new(request: Option<u64>, sweep: Sweep, filter: Filter, task: Task) -> Self {
        Self {
            request,
            sweep,
            filter,
            task,
            how: How::default(),
            to: None,
            count: 0,
            rows: Vec::new(),
            elsewhere: Vec::new(),
            keys: Vec::new(),
            unread: Vec::new(),
            placed: Vec::new(),
            ids: BTreeSet::new(),
            queues: Vec::new(),
            not_before: Monotonic::default(),
        }
    }

    /// Counts an entry at its next hop, of so many hops as a list may have; or
    /// at its site.
    pub(super) fn tally(&mut self, view: &View, whole: bool) {
        let same = |queue: &Tallied| whole || queue.destination == view.destination;
        let known = self.queues.iter().position(same);
        match known {
            Some(at) => self.queues[at].count(view),
            None if self.queues.len() < QUEUES_MAX => {
                let mut queue = Tallied::new(view.destination, whole);
                queue.count(view);
                self.queues.push(queue);
            }
            None => {}
        }
    }

    /// Keeps a message if it is among the first behind `after`.
    pub(super) fn keep_first(
        &mut self,
        message: MessageId,
        after: Option<MessageId>,
        limit: usize,
    ) {
        let full = self.ids.len() >= limit;
        if after.is_some_and(|after| message <= after)
            || full && self.ids.last().is_some_and(|last| message >= *last)
        {
            return;
        }
        if self.ids.insert(message) && full {
            self.ids.pop_last();
        }
    }

    /// Whether its answer tells of messages what stands in them.
    pub(super) fn shows(&self) -> bool {
        self.how.idle || matches!(self.task, Task::List { .. } | Task::Show(_) | Task::Why { .. })
    }

    /// Whether what it meets is written into the log.
    pub(super) fn writes(&self) -> bool {
        let act = matches!(self.task, Task::Do(act) if act != QueueAct::Flush);
        act && !self.how.dry_run
    }
}

/// Which mail a question is about.
pub(super) fn why_task(asked: Why, limit: usize) -> (Filter, Task) {
    let filter = Filter::default();
    match asked {
        Why::Message(id) => (Filter { id: Some(id), ..filter }, Task::Why { limit }),
        Why::Recipient(address) => {
            let domain = match address.host() {
                mail::Host::Name(domain) => Some(domain.clone()),
                mail::Host::Literal(_) => None,
            };
            let recipient = Some(address.to_string());
            (Filter { recipient, domain, ..filter }, Task::Why { limit })
        }
        Why::Domain(domain) => {
            (Filter { domain: Some(domain), ..filter }, Task::Forecast { whole: false })
        }
        Why::Site(site) => (Filter { site: Some(site), ..filter }, Task::Forecast { whole: true }),
    }
}
