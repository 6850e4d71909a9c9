//! Connections that could not be tried for want of something of our own: their
//! mail stays, their site waits.
//!
//! Invariant: nobody is blamed: neither the mail, which bears no attempt, nor
//! the host or its site (design §1.5).

use std::time::Duration;

use eventlog::{Field, Kind, Line};

use crate::outbound::Outbound;
use crate::shard::{Shard, Turn};

/// Wait after a shortage of our own before a site is tried again.
const SHORTAGE_WAIT: Duration = Duration::from_secs(1);

impl Shard {
    /// We could not try: nobody's attempt (design §1.5).
    pub(crate) fn shortage(&mut self, turn: &mut Turn<'_>, out: Box<Outbound>, reason: &str) {
        self.shortage_for(turn, out, reason, SHORTAGE_WAIT);
    }

    /// The same where that is known to last.
    pub(crate) fn shortage_for(
        &mut self,
        turn: &mut Turn<'_>,
        mut out: Box<Outbound>,
        reason: &str,
        wait: Duration,
    ) {
        self.metrics.local_shortages += 1;
        self.leave_log_in(turn, &mut out);
        let line = Line::new(turn.now.wall, Kind::Shortage).text(Field::Reason, reason);
        turn.log(line.text(Field::Host, &out.host()));
        out.armed.clear(&mut self.timers);
        if let Some(batch) = out.batch.take() {
            for key in batch.unsettled().rev() {
                self.queue.ready_again(turn.now, key);
            }
        }
        self.queue.pause(out.site, Some(turn.now.mono + wait));
        self.close_permit(turn, &out.limit_key);
        self.queue.connection_closed(out.site, out.phase);
    }
}
