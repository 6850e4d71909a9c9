//! Which shard owns a next hop: does its look-ups, schedules and delivers its
//! mail. A function of the name and the number of shards, never stored: start
//! with another number of shards and nothing moves on disk.

use base::ShardId;
use mail::{Address, Host};

use crate::delivery::Delivery;

/// Where a recipient's mail is scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// At the shard that accepted it: everything goes to this next hop, so
    /// every shard takes its part.
    Local,
    /// At the owner of the next hop.
    Owner(ShardId),
}

/// Where mail for `recipient`, going `way`, is scheduled among `shards` shards
/// (at least 1). Relay hosts are shared by all shards; a domain has one owner,
/// so that its mail meets in one place and shares connections.
pub fn place(way: &Delivery, recipient: &Address, shards: u16) -> Placement {
    match (&way.mode, recipient.host()) {
        (mode, _) if mode.is_one_place() => Placement::Local,
        (_, Host::Name(domain)) => Placement::Owner(owner(domain.as_str(), shards)),
        (_, Host::Literal(ip)) => Placement::Owner(owner(&ip.to_string(), shards)),
    }
}

/// The shard that owns `key` among `shards` shards (at least 1): the owner of
/// a next hop, and the home of a limit ([`crate::throttle`]).
pub fn owner(key: &str, shards: u16) -> ShardId {
    assert!(shards > 0, "a program has at least one shard");
    let hash = u128::from(stable_hash(key.as_bytes()));
    ShardId(((hash * u128::from(shards)) >> 64) as u16)
}

/// FNV-1a with a final mix, because the multiply and shift above looks at the
/// upper bits only. The same in every version and on every machine.
fn stable_hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mode::Mode;

    #[test]
    fn domains_spread_evenly_and_stay_where_they_are() {
        for shards in [1u16, 2, 3, 16, 256] {
            let mut load = vec![0u32; usize::from(shards)];
            for number in 0..25_600 {
                let domain = format!("d{number}.example");
                let shard = owner(&domain, shards);
                assert_eq!(owner(&domain, shards), shard);
                load[usize::from(shard.0)] += 1;
            }
            let mean = 25_600 / u32::from(shards);
            let fair = mean * 6 / 10..=mean * 14 / 10;
            assert!(load.iter().all(|n| fair.contains(n)), "{shards}: {load:?}");
        }
    }

    #[test]
    fn ownership_is_the_same_in_every_version() {
        let owners = ["example.com", "example.net", "example.org", ""].map(|d| owner(d, 8).0);
        assert_eq!(owners, [4, 3, 6, 7]);
    }

    #[test]
    fn relayed_mail_stays_where_it_came_in() {
        let recipient = Address::parse("a@example.com", false).unwrap();
        let mut way = Delivery::default();
        assert_eq!(place(&way, &recipient, 8), Placement::Owner(owner("example.com", 8)));
        way.mode = Mode::Relay([].into());
        assert_eq!(place(&way, &recipient, 8), Placement::Local);
        let literal = Address::parse("a@[192.0.2.1]", false).unwrap();
        let way = Delivery::default();
        assert_eq!(place(&way, &literal, 8), Placement::Owner(owner("192.0.2.1", 8)));
    }
}
