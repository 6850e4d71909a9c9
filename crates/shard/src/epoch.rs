//! Which policy a queued recipient was routed by. The queue keeps one number
//! per next hop; here it becomes a policy and a way of it.
//!
//! A number is an epoch (12 bits, one per change of ways) and the way's index
//! (20 bits). Mail of an earlier epoch is routed anew before it is tried, so an
//! index never meets a policy that it is not from.

use std::net::IpAddr;
use std::sync::Arc;

use control::{Delivery, Exit, Mode, Policy, Proxy, RouteIndex, Source};
use queue::NextHop;

const INDEX_BITS: u32 = 20;
const EPOCH_MASK: u32 = 0xfff;

/// Ways of one policy that can be numbered, the default way included.
pub const WAYS_MAX: usize = 1 << INDEX_BITS;

/// The policy in force and its epoch.
#[derive(Debug)]
pub(crate) struct Epochs {
    epoch: u32,
    revision: u64,
    policy: Arc<Policy>,
}

impl Epochs {
    /// The first epoch.
    pub(crate) fn new(policy: Arc<Policy>) -> Self {
        Self { epoch: 0, revision: 0, policy }
    }

    /// Takes a new policy in. True when its ways differ, so that waiting mail
    /// must be routed anew.
    pub(crate) fn adopt(&mut self, policy: Arc<Policy>) -> bool {
        let same = self.policy.ways() == policy.ways()
            && self.policy.patterns() == policy.patterns()
            && self.policy.obeys_routes() == policy.obeys_routes()
            && self.policy.locals.same_domains(&policy.locals)
            && self.policy.egress == policy.egress
            && self.policy.exits == policy.exits;
        self.policy = policy;
        self.revision += 1;
        if !same {
            self.epoch = (self.epoch + 1) & EPOCH_MASK;
        }
        !same
    }

    /// Grows with each change; limits of a higher one replace those of a lower.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// The way of the same name under the policy in force, if there is one, by
    /// an exit of the same name.
    pub(crate) fn renewed(&self, way: &Way) -> Option<Way> {
        let same = self.policy.ways().iter().find(|other| other.name == way.name)?;
        let exit = same.same_exit(way, way.exit)?;
        self.way(NextHop { name: "", route: self.route(same.index), exit: exit.to_bits() })
    }

    /// The number of a way of the policy in force.
    pub(crate) fn route(&self, index: RouteIndex) -> u32 {
        assert!((index.0 as usize) < WAYS_MAX, "the configuration bounds its routes");
        self.epoch << INDEX_BITS | index.0
    }

    /// The way that a number means, if it is of the policy in force.
    pub(crate) fn index(&self, route: u32) -> Option<RouteIndex> {
        self.is_current(route).then_some(RouteIndex(route & (WAYS_MAX as u32 - 1)))
    }

    /// Whether `route` is of the policy in force.
    pub(crate) fn is_current(&self, route: u32) -> bool {
        route >> INDEX_BITS == self.epoch
    }

    /// Whether `way` is of the ways in force.
    pub(crate) fn is_of_current(&self, way: &Way) -> bool {
        way.epoch == self.epoch
    }

    /// The way to a next hop that was named under the policy in force.
    pub(crate) fn way(&self, hop: NextHop<'_>) -> Option<Way> {
        let index = RouteIndex(hop.route & (WAYS_MAX as u32 - 1));
        let known = self.is_current(hop.route) && self.policy.way(index).is_some();
        let (epoch, exit) = (self.epoch, Exit::from_bits(hop.exit));
        known.then(|| Way { policy: self.policy.clone(), index, exit, epoch })
    }
}

/// A way of a policy and an exit of it, kept alive with the policy: a session
/// under way ends on the settings it began with.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    policy: Arc<Policy>,
    index: RouteIndex,
    exit: Exit,
    epoch: u32,
}

impl Way {
    /// The exit.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// The source that its connections leave from, if they have one.
    pub(crate) fn source(&self) -> Option<&Arc<Source>> {
        Delivery::source(self, self.exit)
    }

    /// The proxy that its connections go through, if they do.
    pub(crate) fn proxy(&self) -> Option<&Proxy> {
        self.source()?.proxy.as_ref()
    }

    /// Whether its connections lead from this machine to exchangers.
    pub(crate) fn is_direct(&self) -> bool {
        matches!(self.mode, Mode::Independent) && self.proxy().is_none()
    }

    /// Whether a connection to `ip` may leave by its source.
    pub(crate) fn reaches(&self, ip: IpAddr) -> bool {
        self.source().is_none_or(|source| source.reaches(ip))
    }

    /// What is allowed of one site.
    pub(crate) fn limits(&self, revision: u64) -> control::Limits {
        Delivery::limits(self, self.exit, revision)
    }

    /// The name that its connections greet with.
    pub(crate) fn ehlo_name(&self) -> &str {
        let own = self.source().and_then(|source| source.hostname.as_ref());
        own.unwrap_or(&self.policy.hostname).as_str()
    }

    /// The policy that the way is of.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }
}

impl std::ops::Deref for Way {
    type Target = Delivery;

    fn deref(&self) -> &Delivery {
        self.policy.way(self.index).expect("checked when the way was taken")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail::Domain;
    use std::time::Duration;

    fn policy() -> Policy {
        Policy::new(Domain::parse("mail.example.com").unwrap())
    }

    #[test]
    fn a_change_of_ways_makes_old_numbers_stale() {
        let mut epochs = Epochs::new(Arc::new(policy()));
        let route = epochs.route(RouteIndex(0));
        let hop = NextHop { name: "", route, exit: 0 };
        assert!(epochs.way(hop).is_some());
        let mut other = policy();
        other.set_ways(
            Delivery { lifetime: Duration::from_secs(60), ..Delivery::default() },
            Vec::new(),
        );
        assert!(epochs.adopt(Arc::new(other)));
        assert!(epochs.way(hop).is_none());
        assert_ne!(epochs.route(RouteIndex(0)), route);
    }

    #[test]
    fn a_change_elsewhere_leaves_waiting_mail_alone() {
        let mut epochs = Epochs::new(Arc::new(policy()));
        let route = epochs.route(RouteIndex(0));
        let mut other = policy();
        other.log.level = control::LogLevel::Detail;
        assert!(!epochs.adopt(Arc::new(other)));
        assert!(epochs.is_current(route));
    }
}
