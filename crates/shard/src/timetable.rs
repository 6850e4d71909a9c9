//! Ways whose mail leaves in windows of the week: outside them it waits like
//! mail that an operator stopped, and is asked for when a window opens. A flush
//! lets single mail leave once all the same.
//!
//! Invariants: outside its way's windows no transaction begins but of mail that
//! was hurried; what had begun goes on; no attempt is counted; lifetimes go on.

use std::sync::Arc;
use std::time::Duration;

use base::Wall;
use control::{Exit, Timetable};
use queue::{DestinationKey, EntryKey, NextHop, State};

use crate::armed::{Armed, Timer};
use crate::delivery_log::{Line, rfc3339};
use crate::epoch::Way;
use crate::shard::{Shard, Turn};
use crate::suspend::Stop;

/// How often timetables are looked at although none should have changed: the
/// wall clock may have jumped.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// The timetables of the policy in force.
#[derive(Debug, Default)]
pub(crate) struct Timetables {
    /// Each with whether it was open when it was looked at last.
    known: Vec<(Arc<Timetable>, bool)>,
    pub(crate) armed: Armed,
}

impl Shard {
    /// Another policy is in force.
    pub(crate) fn adopt_timetables(&mut self, turn: &mut Turn<'_>) {
        let old = std::mem::take(&mut self.timetables.known);
        let was_open = |table: &Arc<Timetable>| {
            let known = old.iter().find(|(other, _)| other == table).map(|(_, open)| *open);
            known.unwrap_or_else(|| table.is_open(turn.now.wall))
        };
        let tables = self.policy.timetables().iter();
        self.timetables.known = tables.map(|table| (table.clone(), was_open(table))).collect();
        self.timetables_due(turn);
    }

    /// A window may have opened or closed.
    pub(crate) fn timetables_due(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.wall;
        let mut changed = false;
        for (table, was_open) in &mut self.timetables.known {
            let open = table.is_open(now);
            if open == *was_open {
                continue;
            }
            (*was_open, changed) = (open, true);
            if self.id.0 == 0 {
                let line = Line::new(now, "schedule").show("schedule", &*table);
                let until = table.changes(now).map(rfc3339).unwrap_or_default();
                let state = if open { "open" } else { "closed" };
                turn.log(line.text("state", state).text_if("until", &until));
            }
        }
        if changed {
            self.look_at_all_again(turn);
        }
        let Timetables { known, armed } = &mut self.timetables;
        let next = known.iter().filter_map(|(table, _)| table.changes(now)).min();
        let look = (!known.is_empty()).then_some(now + LOOK_EVERY);
        let at = next.into_iter().chain(look).min().map(|at| turn.now.mono_at(at));
        armed.set(&mut self.timers, at, Timer::Timetables);
    }

    /// Until when mail of a way must wait for a window, and the words for it.
    pub(crate) fn outside_windows(&self, now: Wall, way: &Way) -> Option<Stop> {
        let table = closed(now, way)?;
        let opens = table.changes(now);
        let when =
            opens.map_or_else(|| "does not open".to_owned(), |at| format!("opens {}", rfc3339(at)));
        Some((opens, format!("outside its schedule, {table}: {when}")))
    }

    /// Lets a waiting recipient leave once although its way's windows are shut.
    pub(crate) fn hurry(&mut self, turn: &Turn<'_>, key: EntryKey) {
        let Some(view) = self.queue.entry(turn.now, key) else { return };
        let waits = matches!(view.state, State::Deferred | State::Ready);
        let way = self.way_of(view.destination).filter(|_| waits);
        if way.is_some_and(|way| closed(turn.now.wall, &way).is_some()) {
            self.set_hurried(key, view.destination, true);
        }
    }

    /// A hurried recipient's attempt is over: it keeps to the windows again.
    pub(crate) fn hurried_enough(&mut self, key: EntryKey, destination: DestinationKey) {
        self.set_hurried(key, destination, false);
    }

    fn set_hurried(&mut self, key: EntryKey, destination: DestinationKey, hurried: bool) {
        let Some((hop, _)) = self.queue.destination(destination) else { return };
        let exit = Exit::from_bits(hop.exit);
        if exit.is_hurried() != hurried {
            let (name, route): (Box<str>, u32) = (hop.name.into(), hop.route);
            let exit = exit.hurried(hurried).to_bits();
            self.queue.reroute(key, NextHop { name: &name, route, exit });
        }
    }
}

/// The timetable that keeps mail of a way from leaving at `now`.
fn closed(now: Wall, way: &Way) -> Option<&Timetable> {
    way.schedule.as_deref().filter(|table| !way.exit().is_hurried() && !table.is_open(now))
}
