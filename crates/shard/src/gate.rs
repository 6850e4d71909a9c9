//! What a session with a client asks the shard about while it runs: whether it
//! may relay, whether there is room, who somebody is.
//!
//! Nothing is done here but answering; what was seen is logged when the session
//! rests ([`Shard::let_out`]).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use base::planted::{Bug, planted};
use base::{ConnId, Monotonic};
use control::Policy;
use eventlog::{Field, Kind, Line};
use mail::{Envelope, Recipient, ReversePath, Status};
use smtp::Answer;
use smtp::command::Node;
use smtp::sasl::server::Users;
use smtp::submission::{self, Session};

use crate::accept::INTAKE_BYTES_MAX;
use crate::etrn::Etrns;
use crate::local;
use crate::log_in::LogIns;
use crate::logged::Reached;
use crate::quota::{Quotas, Taken, Who};
use crate::shard::{Shard, Turn};
use crate::watching::Named;

/// One run of one session.
pub(crate) struct Gate {
    pub(crate) may_relay: bool,
    pub(crate) closed: Option<Answer>,
    /// Where there are local domains.
    pub(crate) policy: Option<Arc<Policy>>,
    pub(crate) log_ins: Option<Box<LogIns>>,
    pub(crate) quotas: Option<Box<Quotas>>,
    pub(crate) etrns: Option<Box<Etrns>>,
    pub(crate) who: Who,
    pub(crate) client: IpAddr,
    pub(crate) now: Monotonic,
    /// What is heard is wanted.
    pub(crate) detailed: bool,
    /// Whose mail it is may matter to who looks.
    pub(crate) watched: bool,
    pub(crate) seen: Vec<Seen>,
}

/// What is told when the session rests.
pub(crate) enum Seen {
    /// A command line, as far as it may be shown.
    Heard(Vec<u8>),
    /// Whose message it hands in, and to whom.
    Named(Named),
    LoggedIn(Arc<str>),
    /// Who it claimed to be, if there is such a user.
    NotLoggedIn(Option<Box<str>>),
    /// A limit on what it may hand in was reached.
    Limited(Taken),
    /// It asked for waiting mail, and may.
    Asked(Node),
}

impl submission::Policy for Gate {
    fn mail(&mut self, envelope: &Envelope, _: Option<u64>) -> Result<(), Answer> {
        if self.watched {
            let sender = match &envelope.sender {
                ReversePath::Null => Box::default(),
                ReversePath::Address(sender) => sender.to_string().into(),
            };
            self.seen.push(Seen::Named(Named::Sender(sender)));
        }
        self.closed.clone().map_or(Ok(()), Err)?;
        self.take(Taken::Message, "Too many messages, try again later")
    }

    fn rcpt(&mut self, _: &Envelope, recipient: &Recipient) -> Result<submission::Taken, Answer> {
        if self.watched {
            self.seen.push(Seen::Named(Named::domain_of(&recipient.address)));
        }
        if !self.may_relay {
            let text = format!("<{}>: relaying denied", recipient.address);
            return Err(Answer::new(550, Status::POLICY, text));
        }
        let taken = match &self.policy {
            Some(policy) => local::taken(&policy.locals, recipient)?,
            None => submission::Taken::AsIs,
        };
        self.take(Taken::Recipient, "Too many recipients for now, try again later")?;
        Ok(taken)
    }

    fn content(&mut self, _: &Envelope, _: Option<u64>) -> Result<(), Answer> {
        self.closed.clone().map_or(Ok(()), Err)
    }

    fn etrn(&mut self, node: &Node) -> Result<(), Answer> {
        let Some(etrns) = &mut self.etrns else {
            // A policy meanwhile.
            let text = format!("Node {node} not allowed: nobody may ask any more");
            return Err(Answer::new(459, Status::new(4, 7, 1), text));
        };
        etrns.ask(self.client, node, self.now)?;
        self.seen.push(Seen::Asked(node.clone()));
        Ok(())
    }

    fn users(&mut self) -> Result<&mut dyn Users, Answer> {
        let later = |text| Answer::new(454, Status::new(4, 7, 0), text);
        let Some(log_ins) = &mut self.log_ins else {
            return Err(later("Nobody can log in now"));
        };
        if !log_ins.may_try(self.client, self.now) {
            return Err(later("Too many wrong passwords from your address, try again later"));
        }
        Ok(&mut **log_ins)
    }

    fn log_in_ended(&mut self, user: Option<&str>, proved: bool) -> Result<(), Answer> {
        let Some(log_ins) = &mut self.log_ins else { return Ok(()) };
        match user.filter(|_| proved) {
            Some(user) => {
                let user: Arc<str> = user.into();
                if let Some(quotas) = &mut self.quotas {
                    if !quotas.enter_user(&user, self.now) {
                        let text = "Too many sessions of this user, try again later";
                        return Err(Answer::new(454, Status::new(4, 7, 0), text));
                    }
                    self.who.user = Some(user.clone());
                }
                self.may_relay = true;
                self.seen.push(Seen::LoggedIn(user));
            }
            None => {
                log_ins.failed(self.client, self.now);
                // A name that nobody has may be a password in the wrong field.
                let known = user.filter(|user| log_ins.knows(user));
                self.seen.push(Seen::NotLoggedIn(known.map(Box::from)));
            }
        }
        Ok(())
    }

    fn heard(&mut self, line: &[u8]) {
        if self.detailed {
            self.seen.push(Seen::Heard(line.to_vec()));
        }
    }
}

impl Gate {
    fn take(&mut self, what: Taken, text: &'static str) -> Result<(), Answer> {
        match &mut self.quotas {
            Some(quotas) => match quotas.take(&self.who, what, self.now) {
                true => Ok(()),
                false => {
                    self.seen.push(Seen::Limited(what));
                    Err(Answer::new(450, Status::new(4, 7, 1), text))
                }
            },
            None => Ok(()),
        }
    }
}

impl Shard {
    /// Why no mail is taken now, as the answer to MAIL; `None` while it is.
    pub(crate) fn closed_for_mail(&self) -> Option<Answer> {
        let queue = &self.policy.queue;
        let text = if self.spool.is_down() {
            return Some(Answer::new(451, Status::SYSTEM, "the queue's storage has failed"));
        } else if !self.spool.has_room()
            || self.free.bytes < queue.min_free
            || self.free.inodes < 64
        {
            "insufficient disk space, try again later"
        } else if self.spool.live_messages() >= self.share_u64(queue.max_messages)
            || self.spool.live_bytes() >= self.share_u64(queue.max_bytes)
        {
            "the queue is full, try again later"
        } else if self.intake_held >= INTAKE_BYTES_MAX {
            "insufficient memory, try again later"
        } else {
            return None;
        };
        Some(full(text))
    }

    /// A session has ended, or is no longer theirs.
    pub(crate) fn leave(&mut self, who: &Who) {
        if let Some(quotas) = &mut self.quotas {
            quotas.leave(who);
        }
    }

    /// The session of a client at that address, with what it may do there.
    pub(crate) fn with_rights(&self, session: Session, client: IpAddr, listener: u16) -> Session {
        let set = &self.policy.submission;
        let session = match set.may_log_in_in_the_clear(client) {
            true => session.with_log_in_in_the_clear(),
            false => session,
        };
        let session = if set.may_ask_for_mail(client) { session.with_etrn() } else { session };
        if self.speaks_lmtp(listener) { session.with_lmtp() } else { session }
    }

    /// What a client is told that finds no room for its session.
    pub(crate) fn too_many_clients(&mut self, turn: &mut Turn<'_>, peer: SocketAddr) -> Answer {
        self.metrics.sessions_refused += 1;
        let of = peer.ip().to_string();
        let reached = Reached { limit: "sessions of clients", of: &of, most: None, rate: None };
        self.log_limit(turn, &reached);
        Answer::new(421, Status::SYSTEM_CLOSED, "too many connections, try again later")
    }

    /// A session rests: what was lent to it comes back, what was seen is told.
    pub(crate) fn let_out(&mut self, turn: &mut Turn<'_>, conn: ConnId, gate: Gate) {
        self.log_ins = gate.log_ins;
        self.quotas = gate.quotas;
        self.etrns = gate.etrns;
        let session = self.session_name(conn);
        for seen in gate.seen {
            let about = |event: Kind| {
                let line = Line::new(turn.now.wall, event).show(Field::Client, gate.client);
                line.session(session)
            };
            match seen {
                Seen::Heard(line) => {
                    if begins_mail(&line) {
                        self.client_begins(turn, conn);
                    }
                    self.heard_in(turn, conn, "in", &line);
                }
                Seen::Named(named) => self.client_names(turn, conn, named),
                Seen::Limited(what) => {
                    let quotas = self.quotas.as_ref();
                    let rate = quotas.and_then(|quotas| quotas.rate_of(&gate.who, what));
                    let limit = match what {
                        Taken::Message => "messages handed in",
                        Taken::Recipient => "recipients handed in",
                    };
                    let whose = match &gate.who.user {
                        Some(user) => user.to_string(),
                        None => gate.client.to_string(),
                    };
                    self.log_limit(turn, &Reached { limit, of: &whose, most: None, rate });
                }
                Seen::Asked(node) => {
                    let by = match &gate.who.user {
                        Some(user) => format!("{user} at {}", gate.client),
                        None => gate.client.to_string(),
                    };
                    self.etrn_granted(turn, &node, &by);
                }
                Seen::LoggedIn(user) => {
                    self.metrics.log_ins += 1;
                    if gate.detailed {
                        let line = about(Kind::LogIn).text(Field::User, &user);
                        self.tell(turn, conn, line);
                    }
                }
                Seen::NotLoggedIn(user) => {
                    self.metrics.log_ins_refused += 1;
                    let line = about(Kind::LogInRefused);
                    turn.log(line.text_if(Field::User, user.as_deref().unwrap_or_default()));
                }
            }
        }
    }
}

/// The answer that there is no room now (design §1.8).
pub(crate) fn full(text: &'static str) -> Answer {
    match planted(Bug::FullDiskIsPermanent) {
        true => Answer::new(552, Status::TOO_LARGE, text),
        false => Answer::new(452, Status::SYSTEM_FULL, text),
    }
}

/// Whether a command begins a transaction, or tries to.
fn begins_mail(line: &[u8]) -> bool {
    line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"MAIL"))
}
