//! The steps of one look-up: choose a server, send, judge what came back, end.
//!
//! Never here: the doors of the resolver (`resolver`). Invariant: between two
//! calls a task has one timer, and either a flight or a place in the queue for
//! one. A resend in another manner only ever goes from the richer to the plainer
//! (UDP → TCP, OPT → none, mixed → plain case), so it ends.

use base::planted::{Bug, planted};

use super::*;

impl Resolver {
    pub(super) fn new_task(&mut self, now: Monotonic, question: Question) -> Task {
        self.rotation = self.rotation.wrapping_add(1);
        let ends = now + self.timeout * (self.attempts + 2);
        Task {
            current: question.0.clone(),
            question,
            hops: 0,
            ttl_max: Duration::MAX,
            tries: 0,
            tries_at: [0; SERVERS_MAX],
            refused: 0,
            tcp: false,
            rotation: self.rotation,
            reason: Reason::PeerTimeout,
            ends,
            timer: ends,
            flight: None,
        }
    }

    /// Sends the task's question to the next server, or ends the task when
    /// there is none to try.
    pub(super) fn try_next(&mut self, now: Monotonic, key: Key) {
        let (attempts, nobody) = (self.attempts, self.servers.is_empty());
        let task = self.task_mut(key);
        let reason = if nobody { Reason::LocalNoServers } else { task.reason };
        if task.tries >= attempts || now >= task.ends {
            return self.end_unknown(now, key, reason);
        }
        let Some(at) = self.choose(now, key) else {
            return self.end_unknown(now, key, reason);
        };
        if self.flights.len() >= FLIGHTS_MAX {
            self.waiting.push_back(key);
            let ends = self.task_mut(key).ends;
            return self.set_timer(key, ends);
        }
        let task = self.task_mut(key);
        task.tries += 1;
        task.tries_at[at] += 1;
        let tcp = task.tcp;
        let server = &self.servers[at];
        let manner =
            Manner { tcp, edns: server.takes_edns(now), mixed_case: server.keeps_case(now) };
        self.send(now, key, server.address, manner, false);
    }

    /// The server that was tried least, a dead one counting as tried twice, the
    /// turn of the rotation deciding between equals.
    fn choose(&self, now: Monotonic, key: Key) -> Option<usize> {
        let task = self.tasks.get(key).expect("a task lives until it ends");
        let count = self.servers.len();
        (0..count).filter(|at| task.refused >> at & 1 == 0).min_by_key(|at| {
            let down = self.servers[*at].is_down(now);
            let turn = (at + count - task.rotation % count) % count;
            (task.tries_at[*at] + 2 * u32::from(down), down, turn)
        })
    }

    fn send(
        &mut self,
        now: Monotonic,
        key: Key,
        server: SocketAddr,
        manner: Manner,
        fallback: bool,
    ) {
        self.last_query += 1;
        let query = self.last_query;
        let task = self.tasks.get_mut(key).expect("a task lives until it ends");
        let (bytes, sent) = encode(&mut self.dice, &task.current, task.question.1, manner);
        task.flight = Some(query);
        let deadline = task.ends.min(now + self.timeout);
        let flight = Flight { task: key, server, manner, fallback, sent, folded: false };
        self.flights.insert(query, flight);
        self.transmits.push_back(Transmit { query, server, tcp: manner.tcp, bytes });
        self.set_timer(key, deadline);
    }

    /// Ends a transmission; its task lives on without one.
    pub(super) fn close(&mut self, query: u64) -> Option<Flight> {
        let flight = self.flights.remove(&query)?;
        self.closed.push_back(query);
        self.task_mut(flight.task).flight = None;
        Some(flight)
    }

    /// An answer came with the wrong letter case: a forger's, or a server that
    /// folds names. The right one gets a moment more to come.
    pub(super) fn folded(&mut self, now: Monotonic, query: u64) {
        let Some(flight) = self.flights.get_mut(&query) else { return };
        if std::mem::replace(&mut flight.folded, true) {
            return;
        }
        let key = flight.task;
        let deadline = self.task_mut(key).timer.min(now + FOLDED_WAIT);
        self.set_timer(key, deadline);
    }

    /// No answer came in time.
    pub(super) fn expired(&mut self, now: Monotonic, query: u64) {
        let flight = self.close(query).expect("a task's flight is under way");
        if flight.folded && now < self.task_mut(flight.task).ends {
            let manner = Manner { mixed_case: false, ..flight.manner };
            return self.send(now, flight.task, flight.server, manner, true);
        }
        if !flight.manner.tcp
            && let Some(server) = self.server_mut(flight.server)
        {
            server.missed(now);
        }
        self.task_mut(flight.task).reason = Reason::PeerTimeout;
        if planted(Bug::TimeoutIsNone) {
            return self.end(now, flight.task, Lookup::None { nxdomain: true, expires: now });
        }
        self.try_next(now, flight.task);
    }

    /// Remembers of the server what its answer shows.
    pub(super) fn judge_server(&mut self, now: Monotonic, flight: &Flight, reading: &Reading) {
        let manner = flight.manner;
        let Some(server) = self.server_mut(flight.server) else { return };
        server.answered();
        if matches!(reading, Reading::Failed(_) | Reading::NoEdns) {
            return;
        }
        if manner.mixed_case {
            server.kept_case();
        } else if flight.fallback && server.keeps_case(now) {
            server.folded(now);
        }
        if !manner.edns && flight.fallback && server.takes_edns(now) {
            server.answered_plain(now);
        }
    }

    /// Acts on an answer that matches its query.
    pub(super) fn settle(&mut self, now: Monotonic, flight: Flight, reading: Reading) {
        let Flight { task: key, server, manner, .. } = flight;
        match reading {
            Reading::NotOurs | Reading::Folded => unreachable!("told apart by the caller"),
            Reading::Truncated if !manner.tcp => {
                self.task_mut(key).tcp = true;
                self.send_again(now, key, server, Manner { tcp: true, ..manner });
            }
            Reading::Truncated => self.refused(now, key, server, Reason::PeerTruncated),
            Reading::NoEdns if manner.edns => {
                self.send_again(now, key, server, Manner { edns: false, ..manner });
            }
            Reading::NoEdns => self.refused(now, key, server, Reason::PeerFormat),
            Reading::Failed(Reason::PeerAliasLoop) => {
                // The loop is the zone's: no other server would break it.
                self.end_unknown(now, key, Reason::PeerAliasLoop);
            }
            Reading::Failed(reason) => self.refused(now, key, server, reason),
            Reading::Alias { target, hops, ttl } => self.follow(now, key, target, hops, ttl),
            Reading::Found { records, ttl } => {
                let expires = now + ttl.min(self.task_mut(key).ttl_max);
                self.end(now, key, Lookup::Found { records: Arc::new(records), expires });
            }
            Reading::None { nxdomain, ttl } => {
                let expires = now + ttl.min(self.task_mut(key).ttl_max);
                self.end(now, key, Lookup::None { nxdomain, expires });
            }
        }
    }

    /// The same server once more, in another manner: no new try.
    fn send_again(&mut self, now: Monotonic, key: Key, server: SocketAddr, manner: Manner) {
        let task = self.task_mut(key);
        if now >= task.ends {
            let reason = task.reason;
            return self.end_unknown(now, key, reason);
        }
        self.send(now, key, server, manner, true);
    }

    /// This server will not help with this question: the next one.
    fn refused(&mut self, now: Monotonic, key: Key, server: SocketAddr, reason: Reason) {
        let at = self.servers.iter().position(|known| known.address == server);
        let task = self.task_mut(key);
        task.reason = reason;
        if let Some(at) = at {
            task.refused |= 1 << at;
        }
        self.try_next(now, key);
    }

    /// The answer ended in an alias without saying what lies behind it: ask for
    /// that (RFC 1034 §5.3.3, step 4c).
    fn follow(&mut self, now: Monotonic, key: Key, target: Name, hops: usize, ttl: Duration) {
        let task = self.task_mut(key);
        task.hops += hops;
        if task.hops > CNAME_CHAIN_MAX {
            return self.end_unknown(now, key, Reason::PeerAliasLoop);
        }
        task.current = target;
        task.ttl_max = task.ttl_max.min(ttl);
        task.tries = 0;
        task.tries_at = [0; SERVERS_MAX];
        task.refused = 0;
        self.try_next(now, key);
    }

    /// Ends a task without an answer, and makes the next one of its kind wait:
    /// twice as long as after the failure before (RFC 9520 §3.2).
    pub(super) fn end_unknown(&mut self, now: Monotonic, key: Key, reason: Reason) {
        self.end(now, key, Lookup::Unknown { reason, until: now + FAILURE_MIN });
    }

    fn end(&mut self, now: Monotonic, key: Key, mut lookup: Lookup) {
        let task = self.tasks.remove(key).expect("a task ends once");
        assert!(task.flight.is_none(), "a task ends after its last transmission");
        self.timers.remove(&(task.timer, key));
        self.asked.remove(&task.question);
        let mut failures = 0;
        if let Lookup::Unknown { reason, until } = &mut lookup
            && *reason != Reason::LocalBusy
        {
            failures = self.failures(now, &task.question) + 1;
            *until = now + (FAILURE_MIN * (1 << (failures - 1).min(16))).min(FAILURE_MAX);
        }
        if !matches!(lookup, Lookup::Unknown { reason: Reason::LocalBusy, .. }) {
            let stored = Stored { lookup: lookup.clone(), failures };
            self.cache.insert(now, task.question, stored, lookup.expires());
        }
        self.answers.push_back((LookupToken(key), lookup));
    }

    /// Failures in a row up to now.
    fn failures(&self, now: Monotonic, question: &Question) -> u32 {
        match self.cache.peek(question) {
            Some((stored, until)) if now < until + FAILURE_MEMORY => stored.failures,
            _ => 0,
        }
    }

    /// Gives free sockets to tasks that wait for one.
    pub(super) fn pump(&mut self, now: Monotonic) {
        while let Some(key) = self.waiting.front().copied() {
            let waits = self.tasks.contains(key);
            if waits && self.flights.len() >= FLIGHTS_MAX {
                break;
            }
            self.waiting.pop_front();
            if waits {
                self.try_next(now, key);
            }
        }
    }

    fn set_timer(&mut self, key: Key, at: Monotonic) {
        let task = self.tasks.get_mut(key).expect("a task lives until it ends");
        self.timers.remove(&(task.timer, key));
        task.timer = at;
        self.timers.insert((at, key));
    }

    pub(super) fn task_mut(&mut self, key: Key) -> &mut Task {
        self.tasks.get_mut(key).expect("a task lives until it ends")
    }

    pub(super) fn server_mut(&mut self, address: SocketAddr) -> Option<&mut Server> {
        self.servers.iter_mut().find(|server| server.address == address)
    }
}
