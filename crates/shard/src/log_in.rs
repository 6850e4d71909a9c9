//! Who may log in at this shard, and how often somebody may try.
//!
//! Never here: the dialogue (`smtp`). Invariants: whoever is unknown costs and
//! shows the same as a wrong password; what passwords cost this shard has a
//! bound per second, whoever sends them; a password that was right once costs
//! one hash from then on, of which only a keyed one is kept.
//!
//! Read first: RFC 4954 §9, RFC 5802 §9.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use base::{Map, Monotonic, Rng};
use control::{Policy, Rate};
use smtp::sasl::server::{Keys, Users, hmac, same};

use crate::window::Window;

/// Passwords checked in one second, at about 3 ms each.
const CHECKS_PER_SECOND_MAX: u32 = 50;
/// Addresses of which wrong passwords are remembered.
const ADDRESSES_MAX: usize = 10_000;

/// What a shard knows of log-ins.
#[derive(Debug)]
pub(crate) struct LogIns {
    users: Arc<control::Users>,
    wrong_passwords: Rate,
    secret: [u8; 32],
    rng: Rng,
    /// Keyed hashes of passwords that were right, by user.
    proved: Map<Box<str>, [u8; 32]>,
    wrong: Map<IpAddr, Window>,
    checks: Window,
}

impl LogIns {
    /// What the policy says; none where nobody can log in. Wrong passwords that
    /// `old` remembers are not forgotten by a new policy.
    pub(crate) fn of(policy: &Policy, old: Option<Box<Self>>, seed: u64) -> Option<Box<Self>> {
        let set = &policy.submission;
        let users = set.users.clone()?;
        if let Some(mut old) = old {
            (old.users, old.wrong_passwords) = (users, set.wrong_passwords);
            old.proved.clear();
            return Some(old);
        }
        let mut rng = Rng::new(seed);
        let mut secret = [0; 32];
        for part in secret.chunks_mut(8) {
            part.copy_from_slice(&rng.next_u64().to_le_bytes());
        }
        Some(Box::new(Self {
            users,
            wrong_passwords: set.wrong_passwords,
            secret,
            proved: base::map::seeded(rng.next_u64()),
            wrong: base::map::seeded(rng.next_u64()),
            rng,
            checks: Window::new(Monotonic::from_millis(0)),
        }))
    }

    /// Whether somebody at `client` may try a password now.
    pub(crate) fn may_try(&mut self, client: IpAddr, now: Monotonic) -> bool {
        self.checks.advance(now, Duration::from_secs(1));
        let per = self.wrong_passwords.per();
        let Some(wrong) = self.wrong.get_mut(&network(client)) else { return true };
        wrong.advance(now, per);
        wrong.count < self.wrong_passwords.count()
    }

    /// Somebody at `client` tried a wrong password.
    pub(crate) fn failed(&mut self, client: IpAddr, now: Monotonic) {
        let (client, per) = (network(client), self.wrong_passwords.per());
        if self.wrong.len() >= ADDRESSES_MAX && !self.wrong.contains_key(&client) {
            self.wrong.retain(|_, wrong| now < wrong.since + per);
            if self.wrong.len() >= ADDRESSES_MAX {
                // The bound on checks holds for whoever is not remembered.
                return;
            }
        }
        self.wrong.entry(client).or_insert(Window::new(now)).count += 1;
    }

    /// Whether there is such a user.
    pub(crate) fn knows(&self, user: &str) -> bool {
        self.users.find(user).is_some()
    }
}

impl Users for LogIns {
    fn keys(&mut self, user: &str) -> Keys {
        let stored =
            self.users.find(user).and_then(|user| Keys::parse(user.password.as_ref()?.expose()));
        stored.unwrap_or_else(|| Keys::made_up(&self.secret, user))
    }

    fn is_password(&mut self, user: &str, password: &[u8]) -> Option<bool> {
        // A NUL stands in no name.
        let tag = hmac(&self.secret, &[user.as_bytes(), b"\0", password].concat());
        if self.proved.get(user).is_some_and(|proved| same(proved, &tag)) {
            return Some(true);
        }
        if self.checks.count >= CHECKS_PER_SECOND_MAX {
            return None;
        }
        self.checks.count += 1;
        let fits = self.keys(user).fit(password) && self.knows(user);
        if fits {
            self.proved.insert(user.into(), tag);
        }
        Some(fits)
    }

    fn nonce(&mut self) -> [u8; 16] {
        let bits = [self.rng.next_u64(), self.rng.next_u64()].map(u64::to_le_bytes);
        // What is drawn next must not follow from what was seen.
        let hashed = hmac(&self.secret, &bits.concat());
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&hashed[..16]);
        nonce
    }
}

/// What one client has: an address, or a whole /64.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use control::Config;
    use mail::Domain;
    use smtp::sasl::server::ITERATIONS_MIN;

    use super::*;

    fn log_ins(rate: &str) -> Box<LogIns> {
        let keys = Keys::derive(b"pencil", b"salt", ITERATIONS_MIN).to_text();
        let text = format!("[submission]\nusers = \"u\"\nwrong_passwords = \"{rate}\"\n");
        let file = format!("tim = \"{keys}\"\n").into_bytes();
        let name = Domain::parse("box.example").unwrap();
        let mut files = |_: &str| Ok(file.clone());
        let config = Config::parse_with(&text, &name, &mut files).unwrap();
        LogIns::of(&config.policy, None, 7).unwrap()
    }

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_millis(millis)
    }

    /// Covers: A5.10
    #[test]
    fn the_right_password_is_known_and_cheap_the_second_time() {
        let mut log_ins = log_ins("10/10m");
        assert_eq!(log_ins.is_password("tim", b"pencils"), Some(false));
        assert_eq!(log_ins.is_password("tom", b"pencil"), Some(false));
        assert_eq!(log_ins.is_password("tim", b"pencil"), Some(true));
        assert_eq!(log_ins.checks.count, 3);
        assert_eq!(log_ins.is_password("tim", b"pencil"), Some(true));
        assert_eq!(log_ins.checks.count, 3, "computed once");
        assert_eq!(log_ins.is_password("tim", b"pen"), Some(false), "and only for this one");
        assert_eq!(log_ins.keys("tom"), log_ins.keys("tom"), "nobody learns who is there");
        assert_ne!(log_ins.nonce(), log_ins.nonce());
        // A changed file is obeyed at once.
        let mut policy = Policy::new(Domain::parse("box.example").unwrap());
        let nobody = control::Users::parse("u", b"").unwrap();
        policy.submission.users = Some(Arc::new(nobody));
        let mut changed = LogIns::of(&policy, Some(log_ins), 7).unwrap();
        assert_eq!(changed.is_password("tim", b"pencil"), Some(false));
        policy.submission.users = None;
        assert!(LogIns::of(&policy, Some(changed), 7).is_none());
    }

    /// Covers: A5.10, B91
    /// Shows: A67
    #[test]
    fn an_address_has_so_many_wrong_passwords_in_its_time() {
        let mut log_ins = log_ins("3/10m");
        let [bad, beside, other]: [IpAddr; 3] =
            ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|ip| ip.parse().unwrap());
        for _ in 0..3 {
            assert!(log_ins.may_try(bad, at(5)));
            log_ins.failed(bad, at(5));
        }
        assert!(!log_ins.may_try(bad, at(600_004)) && !log_ins.may_try(beside, at(600_004)));
        assert!(log_ins.may_try(other, at(5)), "others may");
        assert!(log_ins.may_try(bad, at(600_005)), "in time it may again");
    }

    /// Covers: A5.10
    #[test]
    fn what_is_remembered_and_what_is_computed_has_a_bound() {
        let mut log_ins = log_ins("1/10m");
        for client in 0..ADDRESSES_MAX as u32 + 5 {
            log_ins.failed(IpAddr::V4(client.into()), at(0));
        }
        assert_eq!(log_ins.wrong.len(), ADDRESSES_MAX);
        log_ins.failed(IpAddr::V4(u32::MAX.into()), at(600_000));
        assert_eq!(log_ins.wrong.len(), 1, "the old ones made room");
        let anybody = IpAddr::V4(1.into());
        assert!(log_ins.may_try(anybody, at(700_000)));
        for _ in 0..CHECKS_PER_SECOND_MAX {
            assert_eq!(log_ins.is_password("tim", b"x"), Some(false));
        }
        assert_eq!(log_ins.is_password("tim", b"pencil"), None);
        assert!(log_ins.may_try(anybody, at(701_000)));
        assert_eq!(log_ins.is_password("tim", b"pencil"), Some(true), "a second later");
    }
}
