//! Sites that go down and come up again: what the queue is told of it, and what
//! the log tells of it, once each way.
//!
//! Never decides when a site is down: that is the queue's.

use base::Monotonic;
use eventlog::{Field, Kind, Line};
use queue::{Health, SiteKey};

use crate::epoch::Way;
use crate::outbound::Outbound;
use crate::shard::{Shard, Turn};

impl Shard {
    /// The site of a connection took part in a transaction.
    pub(crate) fn site_took_mail(&mut self, turn: &mut Turn<'_>, out: &Outbound) {
        self.exchanger_heard(turn, out);
        self.queue.site_served(out.site, turn.now.micros.since(out.since));
        let is_back = self.queue.site_succeeded(out.site);
        if is_back && self.logs_mail() {
            let line = Line::new(turn.now.wall, Kind::SiteUp).text(Field::Site, &out.limit_key);
            turn.log(line.text_if(Field::Route, &out.way.name));
        }
    }

    /// No host of a site would do, by a way; one more is tried then.
    pub(crate) fn site_gave_out(
        &mut self,
        turn: &mut Turn<'_>,
        (site, limit_key, way): (SiteKey, &str, &Way),
        until: Monotonic,
        why: &str,
    ) -> Health {
        let before = self.queue.site(site).map(|site| site.health);
        let after = self.queue.site_failed(turn.now.mono, site, until, why);
        let went_down = before == Some(Health::Up) && after == Health::Down;
        if went_down && self.logs_mail() {
            let line = Line::new(turn.now.wall, Kind::SiteDown).text(Field::Site, limit_key);
            let line = line.text(Field::Reason, why);
            let line = line.time(Field::Until, turn.now.wall_at(until));
            turn.log(line.text_if(Field::Route, &way.name));
        }
        after
    }
}
