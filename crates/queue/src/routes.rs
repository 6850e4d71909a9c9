//! The routes that mail waits for: how much and how old, and whether any of
//! the places that they lead to takes mail just now.
//!
//! Made of the counters of next hops and sites; no entry is looked at. Never
//! here: what a route is called, and from when on it counts as down.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::Now;

use crate::destination::{Destination, Resolution};
use crate::list::member;
use crate::qshape::{Row, Status, row, site_status};
use crate::queue::Queue;
use crate::tally::Tally;

/// Sites of one route that are named as down.
const SITES_DOWN_MAX: usize = 16;

/// One route. A next hop that is being looked up, or that has only mail for
/// later and was never asked for, is neither up nor down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRow {
    /// What waits for it; its name is the caller's to find. `reason` is why a
    /// next hop takes no mail.
    pub row: Row,
    /// Next hops with mail at sites that answer, as far as is known.
    pub hops_up: u32,
    /// Next hops with mail that cannot be looked up, whose site is down, or
    /// that an operator stopped.
    pub hops_down: u32,
    /// The sites of these, the first few that were met.
    pub sites_down: Vec<Arc<str>>,
}

/// What is gathered of one route.
struct Gathered {
    tally: Tally,
    up: u32,
    down: u32,
    sites: Vec<Arc<str>>,
    reason: Option<Arc<str>>,
}

impl Queue {
    /// All routes that mail waits for, by number. One look at each next hop.
    pub fn routes(&self, now: Now) -> Vec<RouteRow> {
        let mut routes: BTreeMap<u32, Gathered> = BTreeMap::new();
        for (_, at) in self.destinations.iter().filter(|(_, at)| at.tally.counts.total() > 0) {
            let route = routes.entry(at.hop.route).or_insert_with(Gathered::new);
            route.tally.merge(&at.tally);
            self.gather(now, at, route);
        }
        let clocks = (now, self.steady(now));
        let made = |(number, route): (u32, Gathered)| {
            let Gathered { tally, up, down, sites, reason } = route;
            let row = row(clocks, "".into(), Some(number), &tally, Status::Unknown, reason);
            RouteRow { row, hops_up: up, hops_down: down, sites_down: sites }
        };
        routes.into_iter().map(made).collect()
    }

    /// Adds whether a next hop takes mail.
    fn gather(&self, now: Now, at: &Destination, route: &mut Gathered) {
        let reason = match &at.resolution {
            Resolution::Unresolved | Resolution::Resolving | Resolution::Rejected => return,
            Resolution::Failed { .. } | Resolution::Suspended { .. } => &at.reason,
            Resolution::At { site, .. } => {
                let site = member(&self.sites, *site);
                match site_status(now, site) {
                    Status::Down(_) | Status::Probing | Status::Suspended(_) => {
                        route.name_down(&site.name);
                        &site.reason
                    }
                    _ => {
                        route.up += 1;
                        return;
                    }
                }
            }
        };
        route.down += 1;
        if route.reason.is_none() {
            route.reason = reason.clone();
        }
    }
}

impl Gathered {
    fn new() -> Self {
        Self { tally: Tally::new(), up: 0, down: 0, sites: Vec::new(), reason: None }
    }

    fn name_down(&mut self, site: &Arc<str>) {
        if self.sites.len() < SITES_DOWN_MAX && !self.sites.contains(site) {
            self.sites.push(site.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{HOUR, SECOND, Story, hop};
    use crate::{Counts, Phase, When, Work};

    #[test]
    fn mail_of_all_next_hops_of_a_route_adds_up() {
        let mut story = Story::new();
        for hours in [3, 2, 7] {
            let new = story.new_mail();
            story.put("a.example", &new, When::At(story.wall_in(hours * HOUR)));
        }
        story.mails("b.example", 4);
        let routes = story.queue.routes(story.now);
        assert_eq!((routes.len(), routes[0].row.route), (1, Some(0)));
        assert_eq!(routes[0].row.counts, Counts { deferred: 3, ready: 4, ..Counts::default() });
        assert_eq!((routes[0].hops_up, routes[0].hops_down), (0, 0), "nobody has looked yet");
    }

    /// A site that is down, probed or stopped, and a name that cannot be looked
    /// up, take no mail; one that answers does.
    #[test]
    fn a_next_hop_is_down_by_its_site_its_name_or_an_order() {
        let mut story = Story::new();
        let counts = |story: &Story| {
            let route = story.queue.routes(story.now).remove(0);
            (route.hops_up, route.hops_down, route.row.reason.as_deref().map(String::from))
        };
        story.mails("a.example", 2);
        let site = story.connections("relay", 1)[0];
        assert_eq!(counts(&story), (1, 0, None));
        story.queue.connection_closed(site, Phase::Dispatched);
        story.queue.site_failed(story.now.mono, site, story.mono_in(HOUR), "refused");
        assert_eq!(counts(&story), (0, 1, Some("refused".into())));
        assert_eq!(&*story.queue.routes(story.now)[0].sites_down[0], "relay");
        story.after(HOUR);
        assert_eq!(counts(&story).1, 1, "one connection finds out whether it is back");
        story.queue.site_succeeded(site);
        assert_eq!(counts(&story).0, 1);
        story.queue.suspend_site(site, None, "their move");
        assert_eq!(counts(&story), (0, 1, Some("their move".into())));
        story.queue.resume_site(site);
        story.work();
        story.mail("lame.example");
        let [Work::Resolve(lame)] = story.work()[..] else { panic!("one next hop is new") };
        assert_eq!(counts(&story), (1, 0, None), "it is being looked up");
        story.queue.resolve_failed(lame, story.mono_in(60 * SECOND), "SERVFAIL");
        assert_eq!(counts(&story), (1, 1, Some("SERVFAIL".into())));
        assert_eq!(story.queue.find_destination(hop("lame.example")), Some(lame));
    }

    #[test]
    fn so_many_sites_of_a_route_are_named_as_down() {
        let mut story = Story::new();
        for number in 0..=SITES_DOWN_MAX {
            story.mail(&format!("{number}.example"));
            let site = story.connections(&format!("site {number}"), 1)[0];
            story.queue.connection_closed(site, Phase::Dispatched);
            story.queue.site_failed(story.now.mono, site, story.mono_in(HOUR), "refused");
        }
        let route = story.queue.routes(story.now).remove(0);
        assert_eq!((route.hops_down as usize, route.sites_down.len()), (SITES_DOWN_MAX + 1, 16));
    }
}
