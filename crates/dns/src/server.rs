//! What has been learned of one name server: whether it answers, whether OPT
//! records and mixed letter case survive it. All of it is forgotten in time.
//!
//! Never here: the choice between servers (`resolver`).
//!
//! Read first: RFC 6891 §6.2.2, RFC 9520 §3.

use std::net::SocketAddr;
use std::time::Duration;

use base::Monotonic;

/// One name server.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// Where it is asked.
    pub address: SocketAddr,
    misses: u32,
    down_until: Monotonic,
    folds: u32,
    folding_until: Monotonic,
    plain_until: Monotonic,
}

impl Server {
    /// A server of which nothing is known yet.
    pub fn new(address: SocketAddr) -> Self {
        let never = Monotonic::default();
        Self {
            address,
            misses: 0,
            down_until: never,
            folds: 0,
            folding_until: never,
            plain_until: never,
        }
    }

    /// Whether it left the last few queries unanswered: to be asked last.
    pub fn is_down(&self, now: Monotonic) -> bool {
        now < self.down_until
    }

    /// Whether queries to it carry an OPT record.
    pub fn takes_edns(&self, now: Monotonic) -> bool {
        now >= self.plain_until
    }

    /// Whether queries to it carry random letter case.
    pub fn keeps_case(&self, now: Monotonic) -> bool {
        now >= self.folding_until
    }

    /// It answered.
    pub fn answered(&mut self) {
        self.misses = 0;
        self.down_until = Monotonic::default();
    }

    /// It left a datagram unanswered. One lost packet is no failure, and one
    /// domain that times out behind it is none of its own.
    pub fn missed(&mut self, now: Monotonic) {
        self.misses = self.misses.saturating_add(1);
        if self.misses >= MISSES_MAX {
            self.down_until = now + DOWN_TIME;
        }
    }

    /// Nobody listens there.
    pub fn unreachable(&mut self, now: Monotonic) {
        self.misses = MISSES_MAX;
        self.down_until = now + DOWN_TIME;
    }

    /// It gave back the letter case it was sent.
    pub fn kept_case(&mut self) {
        self.folds = 0;
    }

    /// It answered only once asked without mixed case. Believed on the second
    /// time, for a forger may have played it once.
    pub fn folded(&mut self, now: Monotonic) {
        self.folds = self.folds.saturating_add(1);
        if self.folds >= FOLDS_MAX {
            self.folding_until = now + FOLDING_TIME;
        }
    }

    /// It answered only once asked without OPT record.
    pub fn answered_plain(&mut self, now: Monotonic) {
        self.plain_until = now + PLAIN_TIME;
    }
}

const MISSES_MAX: u32 = 3;
const DOWN_TIME: Duration = Duration::from_secs(30);
const FOLDS_MAX: u32 = 2;
const FOLDING_TIME: Duration = Duration::from_secs(3_600);
const PLAIN_TIME: Duration = Duration::from_secs(900);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_millis(seconds * 1_000)
    }

    fn server() -> Server {
        Server::new(([192, 0, 2, 53], 53).into())
    }

    /// Covers: A12.14
    #[test]
    fn a_few_lost_packets_do_not_make_a_server_dead_and_an_answer_revives_it() {
        let mut server = server();
        server.missed(at(1));
        server.missed(at(2));
        assert!(!server.is_down(at(2)));
        server.missed(at(3));
        assert!(server.is_down(at(3)));
        assert!(server.is_down(at(32)));
        assert!(!server.is_down(at(33)));
        server.missed(at(40));
        assert!(server.is_down(at(40)));
        server.answered();
        assert!(!server.is_down(at(40)));
        server.unreachable(at(50));
        assert!(server.is_down(at(50)));
    }

    /// Covers: A12.3
    #[test]
    fn what_was_learned_is_forgotten_in_time() {
        let mut server = server();
        server.folded(at(1));
        assert!(server.keeps_case(at(1)));
        server.kept_case();
        server.folded(at(2));
        server.folded(at(3));
        assert!(!server.keeps_case(at(3)));
        assert!(server.keeps_case(at(3_603)));
        server.answered_plain(at(1));
        assert!(!server.takes_edns(at(900)));
        assert!(server.takes_edns(at(901)));
    }
}
