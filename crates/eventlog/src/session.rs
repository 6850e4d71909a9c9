//! What a session is called in the log: unique over shards and, but for starts
//! within one second, over starts of the daemon.

use std::fmt;

use base::{ConnId, ShardId, Wall};

use crate::line::push_number;

/// One session, inbound or outbound: `6740a1b2-0-17`. Inbound numbers are even.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionName {
    /// The second since 1970 in which its shard started.
    started: u32,
    shard: ShardId,
    conn: ConnId,
}

impl SessionName {
    /// The name of a connection of a shard that started at a certain time.
    pub fn new(started: Wall, shard: ShardId, conn: ConnId) -> Self {
        // Wraps in 2106, where names repeat after 136 years.
        Self { started: (started.as_millis() / 1_000) as u32, shard, conn }
    }

    /// What is printed, without the detour by way of formatting.
    pub(crate) fn push(self, bytes: &mut Vec<u8>) {
        let Self { started, shard: ShardId(shard), conn: ConnId(conn) } = self;
        let mut text = *b"00000000-";
        for (place, octet) in text[..8].iter_mut().rev().enumerate() {
            *octet = b"0123456789abcdef"[(started >> (4 * place)) as usize & 15];
        }
        bytes.extend_from_slice(&text);
        push_number(bytes, shard.into());
        bytes.push(b'-');
        push_number(bytes, conn);
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { started, shard: ShardId(shard), conn: ConnId(conn) } = self;
        write!(f, "{started:08x}-{shard}-{conn}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_starts_shards_and_connections_apart() {
        let name = |ms, shard, conn| {
            SessionName::new(Wall::from_millis(ms), ShardId(shard), ConnId(conn)).to_string()
        };
        assert_eq!(name(1_732_288_946_999, 0, 17), "6740a1b2-0-17");
        assert_ne!(name(1_000, 1, 23), name(1_000, 12, 3));
        assert_ne!(name(1_000, 1, 23), name(2_000, 1, 23));
    }
}
