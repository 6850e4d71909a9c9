//! Promise 8, bounded memory: every count that a shard keeps stays within its
//! bound.

use crate::observation::{Observation, Stamped};

use super::{Book, Fault, Oracle, Verdict};

#[derive(Debug, Default)]
pub(super) struct Memory;

impl Oracle for Memory {
    fn name(&self) -> &'static str {
        "memory is bounded"
    }

    fn promise(&self) -> u8 {
        8
    }

    fn see(&mut self, _: &Book, seen: &Stamped) -> Verdict {
        let Observation::Gauged { shard, gauges } = &seen.what else { return Ok(()) };
        for (name, count, bound) in &gauges.counts {
            if bound.is_some_and(|bound| *count > bound) {
                let bound = bound.unwrap_or_default();
                let what = format!("shard {shard} keeps {count} {name}, bound {bound}");
                return Err(Fault::new(what));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Gauges;
    use crate::oracle::play::Play;

    #[test]
    fn a_count_at_its_bound_is_fine_and_one_beyond_is_caught() {
        let mut play = Play::of(Memory);
        let gauge = |play: &mut Play, count| {
            let counts = vec![("sessions", count, Some(10)), ("anything", u64::MAX, None)];
            play.see(Observation::Gauged { shard: 1, gauges: Gauges { counts } });
        };
        gauge(&mut play, 10);
        play.still_fine();
        gauge(&mut play, 11);
        play.caught("11 sessions, bound 10");
    }
}
