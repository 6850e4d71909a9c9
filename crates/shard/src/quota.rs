//! How much single users and networks may hand in: messages and recipients by
//! time, sessions at once. Each shard keeps its share, at least one.
//!
//! Never here: who a client is, what it is told. Invariants: a refused try
//! costs nothing of any limit; what is kept is bounded by the users and
//! networks that the policy names. Sessions that were open before a limit came
//! are not counted under it.

use std::sync::Arc;

use base::{Map, Monotonic};
use control::{IntakeLimits, Network, Policy, Rate};

use crate::window::Window;

/// What has been used of all limits; there only where the policy has any.
#[derive(Debug)]
pub(crate) struct Quotas {
    policy: Arc<Policy>,
    shards: u32,
    users: Map<Arc<str>, Used>,
    networks: Map<Network, Used>,
}

/// Under whose limits a session is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Who {
    /// A network with limits.
    pub(crate) network: Option<Network>,
    /// A user that has logged in.
    pub(crate) user: Option<Arc<str>>,
}

#[derive(Debug)]
struct Used {
    messages: Window,
    recipients: Window,
    connections: u32,
}

/// What is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Taken {
    Message,
    Recipient,
}

impl Quotas {
    /// What the policy says, with what `old` knows of use.
    pub(crate) fn of(
        policy: &Arc<Policy>,
        old: Option<Box<Self>>,
        shards: u16,
    ) -> Option<Box<Self>> {
        let set = &policy.submission;
        let of_users = set.users.as_ref().is_some_and(|users| users.have_limits());
        if set.limits.is_empty() && set.user_limits.is_empty() && !of_users {
            return None;
        }
        let (users, networks) = old.map_or_else(Default::default, |old| (old.users, old.networks));
        Some(Box::new(Self { policy: policy.clone(), shards: shards.into(), users, networks }))
    }

    /// Takes one of each limit that holds for `who`, or none of any.
    pub(crate) fn take(&mut self, who: &Who, what: Taken, now: Monotonic) -> bool {
        let mut slots: [Option<&mut Window>; 2] = [None, None];
        let (policy, shards) = (self.policy.clone(), self.shards);
        let of_network =
            who.network.and_then(|network| Some((network, network_limits(&policy, network)?)));
        if let Some((network, limits)) = of_network
            && let Some(rate) = what.rate(limits)
        {
            let used = self.networks.entry(network).or_insert_with(|| Used::new(now));
            slots[0] = Some(what.window(used, rate, now));
        }
        if let Some(user) = &who.user
            && let Some(rate) = what.rate(user_limits(&policy, user))
        {
            let used = self.users.entry(user.clone()).or_insert_with(|| Used::new(now));
            slots[1] = Some(what.window(used, rate, now));
        }
        let room = |slot: &Option<&mut Window>, rate: Option<Rate>| {
            let max = rate.map_or(u32::MAX, |rate| share(rate.count(), shards));
            slot.as_ref().is_none_or(|window| window.count < max)
        };
        let of_user = who.user.as_ref().and_then(|user| what.rate(user_limits(&policy, user)));
        let of_network = of_network.and_then(|(_, limits)| what.rate(limits));
        if !room(&slots[0], of_network) || !room(&slots[1], of_user) {
            return false;
        }
        slots.into_iter().flatten().for_each(|window| window.count += 1);
        true
    }

    /// The rate under which somebody hands in, its own before that of its
    /// network.
    pub(crate) fn rate_of(&self, who: &Who, what: Taken) -> Option<Rate> {
        let user = who.user.as_ref().and_then(|user| what.rate(user_limits(&self.policy, user)));
        let network = || what.rate(network_limits(&self.policy, who.network?)?);
        user.or_else(network)
    }

    /// A session from `network` begins, unless there are too many.
    pub(crate) fn enter_network(&mut self, network: Network, now: Monotonic) -> bool {
        let max = network_limits(&self.policy, network).and_then(|limits| limits.connections);
        let max = max.map_or(u32::MAX, |max| share(max, self.shards));
        self.networks.entry(network).or_insert_with(|| Used::new(now)).enter(max)
    }

    /// A session becomes that of `user`, unless it has too many.
    pub(crate) fn enter_user(&mut self, user: &Arc<str>, now: Monotonic) -> bool {
        let max = user_limits(&self.policy, user).connections;
        let max = max.map_or(u32::MAX, |max| share(max, self.shards));
        self.users.entry(user.clone()).or_insert_with(|| Used::new(now)).enter(max)
    }

    /// A session has ended, or is no longer theirs.
    pub(crate) fn leave(&mut self, who: &Who) {
        let network = who.network.and_then(|network| self.networks.get_mut(&network));
        let user = who.user.as_ref().and_then(|user| self.users.get_mut(user));
        for used in network.into_iter().chain(user) {
            used.connections = used.connections.saturating_sub(1);
        }
    }
}

impl Used {
    fn new(now: Monotonic) -> Self {
        Self { messages: Window::new(now), recipients: Window::new(now), connections: 0 }
    }

    fn enter(&mut self, max: u32) -> bool {
        let room = self.connections < max;
        self.connections += u32::from(room);
        room
    }
}

impl Taken {
    fn rate(self, limits: &IntakeLimits) -> Option<Rate> {
        match self {
            Self::Message => limits.messages,
            Self::Recipient => limits.recipients,
        }
    }

    fn window(self, used: &mut Used, rate: Rate, now: Monotonic) -> &mut Window {
        let window = match self {
            Self::Message => &mut used.messages,
            Self::Recipient => &mut used.recipients,
        };
        window.advance(now, rate.per());
        window
    }
}

/// The limits of the first network that holds `client`.
pub(crate) fn network_of(policy: &Policy, client: std::net::IpAddr) -> Option<Network> {
    let limits = policy.submission.limits.iter();
    limits.map(|(network, _)| *network).find(|network| network.contains(client))
}

fn network_limits(policy: &Policy, network: Network) -> Option<&IntakeLimits> {
    let limits = policy.submission.limits.iter().find(|(other, _)| *other == network);
    limits.map(|(_, limits)| limits)
}

fn user_limits<'p>(policy: &'p Policy, user: &str) -> &'p IntakeLimits {
    let own = policy.submission.users.as_ref().and_then(|users| users.find(user)?.limits.as_ref());
    own.unwrap_or(&policy.submission.user_limits)
}

fn share(whole: u32, shards: u32) -> u32 {
    (whole / shards).max(1)
}

#[cfg(test)]
mod tests {
    use control::Config;
    use mail::Domain;

    use super::*;

    const LIMITS: &str = "[submission]\nusers = \"u\"\n\
        user_limits = { messages = \"4/1m\", connections = 2 }\n\
        limits = [{ network = \"10.0.0.0/8\", messages = \"6/1m\", recipients = \"4/1m\", \
        connections = 4 }]\n";

    fn policy(text: &str) -> Arc<Policy> {
        let keys = smtp::sasl::server::Keys::derive(b"x", b"salt", 4_096).to_text();
        let file = format!("app = {{ password = \"{keys}\", messages = \"10/1m\" }}");
        let name = Domain::parse("box.example").unwrap();
        let mut files = |_: &str| Ok(file.clone().into_bytes());
        Arc::new(Config::parse_with(text, &name, &mut files).unwrap().policy)
    }

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_millis(millis)
    }

    fn who(network: Option<&str>, user: Option<&str>) -> Who {
        let network = network.map(|text| text.parse().unwrap());
        Who { network, user: user.map(Arc::from) }
    }

    /// How many of them are let through.
    fn taken(quotas: &mut Quotas, who: &Who, what: Taken, tries: u32, now: u64) -> u32 {
        (0..tries).map(|_| u32::from(quotas.take(who, what, at(now)))).sum()
    }

    /// Shows: A67
    #[test]
    fn limits_hold_at_their_bound_and_begin_anew() {
        let mut quotas = Quotas::of(&policy(LIMITS), None, 1).unwrap();
        let (tim, app, net) =
            (who(None, Some("tim")), who(None, Some("app")), who(Some("10.0.0.0/8"), None));
        assert_eq!(taken(&mut quotas, &tim, Taken::Message, 9, 5), 4);
        assert_eq!(taken(&mut quotas, &app, Taken::Message, 20, 5), 10, "its own limit");
        assert_eq!(taken(&mut quotas, &app, Taken::Recipient, 20, 5), 20, "no limit");
        assert_eq!(taken(&mut quotas, &net, Taken::Recipient, 9, 5), 4);
        assert_eq!(taken(&mut quotas, &tim, Taken::Message, 1, 60_004), 0);
        assert_eq!(taken(&mut quotas, &tim, Taken::Message, 9, 60_005), 4);
        assert_eq!(taken(&mut quotas, &Who::default(), Taken::Message, 99, 5), 99);
    }

    #[test]
    fn a_refused_try_costs_nothing_of_the_other_limit() {
        let mut quotas = Quotas::of(&policy(LIMITS), None, 1).unwrap();
        let both = who(Some("10.0.0.0/8"), Some("tim"));
        assert_eq!(taken(&mut quotas, &both, Taken::Message, 9, 5), 4, "the user's");
        let net = who(Some("10.0.0.0/8"), None);
        assert_eq!(taken(&mut quotas, &net, Taken::Message, 9, 5), 2, "what is left of 6");
    }

    #[test]
    fn each_shard_has_its_share_and_at_least_one() {
        for (shards, share) in [(2, 2), (4, 1), (64, 1)] {
            let mut quotas = Quotas::of(&policy(LIMITS), None, shards).unwrap();
            let tim = who(None, Some("tim"));
            assert_eq!(taken(&mut quotas, &tim, Taken::Message, 9, 5), share, "{shards}");
        }
    }

    #[test]
    fn sessions_are_counted_from_their_beginning_to_their_end() {
        let mut quotas = Quotas::of(&policy(LIMITS), None, 1).unwrap();
        let user: Arc<str> = "tim".into();
        let network = "10.0.0.0/8".parse().unwrap();
        assert!(quotas.enter_user(&user, at(1)) && quotas.enter_user(&user, at(1)));
        assert!(!quotas.enter_user(&user, at(1)));
        for _ in 0..4 {
            assert!(quotas.enter_network(network, at(1)));
        }
        assert!(!quotas.enter_network(network, at(1)));
        quotas.leave(&who(Some("10.0.0.0/8"), Some("tim")));
        // A new policy forgets nothing, one without limits all.
        let mut quotas = Quotas::of(&policy(LIMITS), Some(quotas), 1).unwrap();
        assert!(quotas.enter_user(&user, at(1)) && !quotas.enter_user(&user, at(1)));
        assert!(quotas.enter_network(network, at(1)) && !quotas.enter_network(network, at(1)));
        assert!(Quotas::of(&policy(""), Some(quotas), 1).is_none());
    }
}
