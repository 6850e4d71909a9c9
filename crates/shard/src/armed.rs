//! A deadline that moves with every event, on a wheel that should not be
//! touched with every event: the timer stays where it is while the deadline
//! moves later, and is hung up again when it fires too early.

use base::{Monotonic, TimerKey, Wheel};

/// What a shard's timers are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// A connection's deadline, inbound or outbound.
    Conn(base::ConnId),
    /// The spool has a deadline.
    Spool,
    /// The DNS room has a deadline.
    Dns,
    /// The queue has a deadline.
    Queue,
    /// A diagnosis has a deadline.
    Diagnosis,
    /// The permit bank has a deadline.
    Bank,
    /// A link that is raised on demand is to be looked at.
    Links,
    /// A suspension ends.
    Suspensions,
    /// Somebody has looked for long enough.
    Watches,
    /// A window of a way opens or closes.
    Timetables,
    /// More of a long job waits: reclaim, commands, the first hand-off,
    /// outcomes that the log refused.
    Work,
}

/// One movable deadline.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Armed {
    hung: Option<(TimerKey, Monotonic)>,
}

impl Armed {
    /// Makes sure that `timer` fires no later than `deadline`.
    pub(crate) fn set(
        &mut self,
        wheel: &mut Wheel<Timer>,
        deadline: Option<Monotonic>,
        timer: Timer,
    ) {
        let Some(deadline) = deadline else { return };
        if let Some((key, at)) = self.hung {
            if at <= deadline {
                return;
            }
            wheel.cancel(key);
        }
        self.hung = Some((wheel.insert(deadline, timer), deadline));
    }

    /// The timer fired: it hangs no more.
    pub(crate) fn fired(&mut self) {
        self.hung = None;
    }

    /// Takes the timer down.
    pub(crate) fn clear(&mut self, wheel: &mut Wheel<Timer>) {
        if let Some((key, _)) = self.hung.take() {
            wheel.cancel(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_millis(ms)
    }

    #[test]
    fn a_later_deadline_leaves_the_timer_an_earlier_one_moves_it() {
        let mut wheel = Wheel::new(at(0));
        let mut armed = Armed::default();
        armed.set(&mut wheel, Some(at(100)), Timer::Dns);
        armed.set(&mut wheel, Some(at(500)), Timer::Dns);
        armed.set(&mut wheel, None, Timer::Dns);
        assert_eq!(wheel.len(), 1);
        let mut due = Vec::new();
        wheel.advance(at(100), &mut due);
        assert_eq!(due, [Timer::Dns], "fires early; its owner looks and hangs it up again");
        armed.fired();
        armed.set(&mut wheel, Some(at(500)), Timer::Dns);
        armed.set(&mut wheel, Some(at(200)), Timer::Dns);
        assert_eq!(wheel.len(), 1);
        armed.clear(&mut wheel);
        assert!(wheel.is_empty());
    }
}
