//! The pieces that every message passes, each by itself and ready to run again
//! and again: one list for criterion, for valgrind and for the tests.
//!
//! Never measures anything here; what a whole server costs is measured by
//! `ringpost bench`. Invariant: a piece does the same work each time and says
//! how many things it did, so that a piece that has stopped working is found.

mod dns;
mod eventlog;
mod queue;
mod route;
mod shard;
mod smtp;
mod spool;

/// A piece.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// Its name, by room.
    pub name: &'static str,
    /// What is done in one run.
    pub what: &'static str,
    /// How many things one run does; 0 where that is not known beforehand.
    pub count: u64,
    /// Makes it ready.
    pub prepare: fn() -> Work,
}

/// One run: how many things were done.
pub type Work = Box<dyn FnMut() -> u64>;

/// All pieces.
pub const PIECES: &[Piece] = &[
    Piece {
        name: "smtp_reply",
        what: "the 9 replies of a delivery read, EHLO in ten lines among them",
        count: 9,
        prepare: smtp::reply,
    },
    Piece {
        name: "smtp_submission",
        what: "a message of 2 KiB taken over an open session, commands in one group",
        count: 1,
        prepare: smtp::submission,
    },
    Piece {
        name: "smtp_data",
        what: "50 KiB of content watched for dots, header and end",
        count: 1,
        prepare: smtp::data,
    },
    Piece {
        name: "dns_answer",
        what: "the exchangers of a domain found: 3 answers read",
        count: 1,
        prepare: dns::answer,
    },
    Piece {
        name: "spool_append",
        what: "100 messages of 2 KiB written, synced once and settled",
        count: 100,
        prepare: spool::append,
    },
    Piece {
        name: "spool_recover",
        what: "a log of 1 000 messages of 2 KiB read back",
        count: 1_000,
        prepare: spool::recover,
    },
    Piece {
        name: "route_look_up",
        what: "100 addresses looked up among 10 000 routes",
        count: 100,
        prepare: route::look_up,
    },
    Piece {
        name: "eventlog_line",
        what: "100 lines of deliveries written for the event log",
        count: 100,
        prepare: eventlog::line,
    },
    Piece {
        name: "queue_schedule",
        what: "100 messages to 10 sites put in, handed out in turn and done",
        count: 100,
        prepare: queue::schedule,
    },
    Piece {
        name: "shard_steps",
        what: "whole shards in the simulator's world for one hour of faults and until all is over, one seed",
        count: 1,
        prepare: shard::steps,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_does_its_work_each_time() {
        for piece in PIECES {
            let mut work = (piece.prepare)();
            for _ in 0..2 {
                assert_eq!(work(), piece.count, "{}: {}", piece.name, piece.what);
            }
        }
    }
}
