//! The event log: lines written.

use std::hint::black_box;

use ::eventlog::{Field, Kind, Line, SessionName};
use base::{ConnId, MessageId, ShardId, Wall};
use mail::Status;

use crate::Work;

/// Writes what is said of a delivery, the longest of the usual lines.
pub(crate) fn line() -> Work {
    let started = Wall::from_millis(1_795_299_330_125);
    Box::new(move || {
        let mut bytes = 0;
        for n in 0..100 {
            let session = SessionName::new(started, ShardId(1), ConnId(2 * n + 1));
            let line = Line::new(Wall::from_millis(1_795_299_330_125 + n), Kind::Delivered)
                .id(Field::Id, MessageId::from_u64(0x1_0000_0000 + n))
                .text(Field::From, "bounces+12345@newsletter.example.com")
                .text(Field::To, "somebody.else@recipients.example.net")
                .number(Field::DelayMs, 40 + n)
                .text(Field::Host, "mx1.recipients.example.net [192.0.2.25]")
                .session(session)
                .text(Field::Site, "mx:mx1.recipients.example.net")
                .status(Status::OK)
                .text(Field::Reply, "250 2.0.0 Ok: queued as 4XyZ1234")
                .number(Field::Attempt, 1_u32);
            bytes += black_box(line.end()).len();
        }
        u64::from(bytes > 30_000) * 100
    })
}
