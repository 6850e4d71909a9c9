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
use eventlog::{Field, Kind, Line, rfc3339};
use queue::{DestinationKey, EntryKey, NextHop, State};

use crate::armed::{Armed, Timer};
use crate::epoch::Way;
use crate::shard::{Shard, Turn};
use crate::suspend::Stop;

/// How often timetables are looked at although none should have changed: the
/// wall clock may have jumped.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(600);

/// How a timetable stood when it was looked at last.
#[derive(Clone, Debug)]
struct Standing {
    table: Arc<Timetable>,
    open: bool,
    /// When that changes, as far as it is known.
    changes: Option<Wall>,
}

/// The timetables of the policy in force.
#[derive(Debug, Default)]
pub(crate) struct Timetables {
    known: Vec<Standing>,
    pub(crate) armed: Armed,
}

impl Shard {
    /// Another policy is in force.
    pub(crate) fn adopt_timetables(&mut self, turn: &mut Turn<'_>) {
        let old = std::mem::take(&mut self.timetables.known);
        let stood = |table: &Arc<Timetable>| {
            let known = old.iter().find(|other| other.table == *table).cloned();
            known.unwrap_or_else(|| Standing {
                table: table.clone(),
                open: table.is_open(turn.now.wall),
                changes: None,
            })
        };
        self.timetables.known = self.policy.timetables().iter().map(stood).collect();
        self.timetables_due(turn);
    }

    /// A window may have opened or closed.
    pub(crate) fn timetables_due(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.wall;
        let mut changed = false;
        for standing in &mut self.timetables.known {
            let open = standing.table.is_open(now);
            standing.changes = standing.table.changes(now);
            if open == standing.open {
                continue;
            }
            (standing.open, changed) = (open, true);
            if self.id.0 == 0 {
                let line = Line::new(now, Kind::Schedule).show(Field::Schedule, &standing.table);
                let line = line.text(Field::State, if open { "open" } else { "closed" });
                turn.log(line.time_some(Field::Until, standing.changes));
            }
        }
        if changed {
            self.look_at_all_again(turn);
        }
        let Timetables { known, armed } = &mut self.timetables;
        let next = known.iter().filter_map(|standing| standing.changes).min();
        let look = (!known.is_empty()).then_some(now + LOOK_EVERY);
        let at = next.into_iter().chain(look).min().map(|at| turn.now.mono_at(at));
        armed.set(&mut self.timers, at, Timer::Timetables);
    }

    /// When a timetable changes; many recipients that wait for it ask.
    pub(crate) fn timetable_changes(&self, now: Wall, table: &Timetable) -> Option<Wall> {
        let known = self.timetables.known.iter().find(|standing| *standing.table == *table);
        known.and_then(|it| it.changes.filter(|at| *at > now)).or_else(|| table.changes(now))
    }

    /// Until when mail of a way must wait for a window, and the words for it.
    pub(crate) fn outside_windows(&self, now: Wall, way: &Way) -> Option<Stop> {
        let table = closed(now, way)?;
        let opens = self.timetable_changes(now, table);
        let when =
            opens.map_or_else(|| "does not open".to_owned(), |at| format!("opens {}", rfc3339(at)));
        Some((opens, format!("outside its schedule, {table}: {when}")))
    }

    /// Lets a waiting recipient leave once although its way's windows are shut.
    pub(crate) fn hurry(&mut self, turn: &Turn<'_>, key: EntryKey) {
        let Some(view) = self.queue.entry(turn.now, key) else { return };
        let waits = matches!(view.state, State::Deferred | State::Ready);
        let Some(way) = self.way_of(view.destination).filter(|_| waits) else { return };
        self.urge_link(&way);
        if closed(turn.now.wall, &way).is_some() {
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
