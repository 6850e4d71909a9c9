//! A timer wheel: many timers, one deadline. Retry times, session deadlines,
//! TTLs and permits hang here; the runtime sleeps until [`Wheel::next_deadline`]
//! and calls [`Wheel::advance`].
//!
//! Seven levels of 64 slots, one millisecond at the lowest. Insert, cancel and
//! expiry cost a few list operations each, whatever the number of timers; a
//! timer costs 20 bytes beside its value, padding and the value's `Option` apart.
//! Timers of one millisecond fire in no stated order, but in the same order in
//! every run. A slot that holds very many timers can be worked off in bounded
//! steps ([`Wheel::advance_some`]); growing copies nothing ([`Chunks`]).

use crate::chunks::Chunks;
use crate::time::Monotonic;

const LEVELS: usize = 7;
const SLOTS: usize = 64;
const SLOT_BITS: u32 = 6;
const NONE: u32 = u32::MAX;

/// Names one timer; stale once it fired or was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerKey {
    index: u32,
    generation: u32,
}

impl TimerKey {
    /// Names no timer of any wheel.
    pub const NONE: Self = Self { index: NONE, generation: 0 };
}

#[derive(Clone, Debug)]
struct Node<T> {
    at: u64,
    previous: u32,
    next: u32,
    generation: u32,
    value: Option<T>,
}

/// Timers, each carrying a value of type `T`.
#[derive(Clone, Debug)]
pub struct Wheel<T> {
    now: u64,
    nodes: Chunks<Node<T>>,
    free: u32,
    len: usize,
    /// First node of a slot that has been taken down and is being worked off.
    taken: u32,
    heads: [[u32; SLOTS]; LEVELS],
    occupied: [u64; LEVELS],
}

impl<T> Wheel<T> {
    /// Memory that one timer takes, its value included.
    pub const TIMER_BYTES: usize = size_of::<Node<T>>();

    /// A wheel without timers that stands at `now`.
    pub fn new(now: Monotonic) -> Self {
        Self {
            now: now.as_millis(),
            nodes: Chunks::new(),
            free: NONE,
            len: 0,
            taken: NONE,
            heads: [[NONE; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
        }
    }

    /// Timers now waiting.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no timer waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Hangs up `value` until `at`; a time that has passed fires with the next
    /// [`Wheel::advance`].
    pub fn insert(&mut self, at: Monotonic, value: T) -> TimerKey {
        let node = Node {
            at: at.as_millis(),
            previous: NONE,
            next: NONE,
            generation: 0,
            value: Some(value),
        };
        let index = if self.free == NONE {
            assert!(self.nodes.len() < NONE as usize, "more timers than a wheel can number");
            self.nodes.push(node);
            self.nodes.len() as u32 - 1
        } else {
            let index = self.free;
            let old = &mut self.nodes[index as usize];
            self.free = old.next;
            *old = Node { generation: old.generation, ..node };
            index
        };
        self.len += 1;
        self.link(index);
        TimerKey { index, generation: self.nodes[index as usize].generation }
    }

    /// Takes a timer down and returns its value; `None` when it has fired or
    /// was cancelled before.
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let node = self.nodes.get(key.index as usize)?;
        if node.generation != key.generation || node.value.is_none() {
            return None;
        }
        self.unlink(key.index);
        self.release(key.index)
    }

    /// Moves the wheel to `now` and appends the values of all timers due by
    /// then to `due`, earliest millisecond first.
    pub fn advance(&mut self, now: Monotonic, due: &mut Vec<T>) {
        let more = self.advance_some(now, usize::MAX, due);
        assert!(!more, "an unbounded advance leaves nothing due");
    }

    /// Like [`Wheel::advance`], but handles at most `timers_max` timers, fired
    /// or moved down a level. True: call again, more may be due;
    /// [`Wheel::next_deadline`] stays in the past until that is done.
    pub fn advance_some(&mut self, now: Monotonic, timers_max: usize, due: &mut Vec<T>) -> bool {
        let target = now.as_millis().max(self.now);
        let mut left = timers_max;
        loop {
            while self.taken != NONE {
                if left == 0 {
                    return true;
                }
                left -= 1;
                let index = self.taken;
                self.unlink(index);
                if self.nodes[index as usize].at <= self.now {
                    due.extend(self.release(index));
                } else {
                    self.link(index);
                }
            }
            match self.first_slot() {
                Some((level, slot, starts)) if starts <= target => {
                    self.now = starts.max(self.now);
                    self.taken = self.take_slot(level, slot);
                }
                _ => break,
            }
        }
        self.now = target;
        false
    }

    /// When to call [`Wheel::advance`] next: never after the earliest timer,
    /// perhaps a little before it.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        if self.taken != NONE {
            return Some(Monotonic::from_millis(self.now));
        }
        self.first_slot().map(|(_, _, starts)| Monotonic::from_millis(starts))
    }

    /// The occupied slot that starts first, as (level, slot, start).
    fn first_slot(&self) -> Option<(usize, usize, u64)> {
        for level in 0..LEVELS {
            if self.occupied[level] == 0 {
                continue;
            }
            let shift = SLOT_BITS * level as u32;
            let here = (self.now >> shift) as u32 % SLOTS as u32;
            // Above the lowest level the slot under the hand is empty, unless
            // a timer beyond the wheel's reach hangs a whole turn ahead.
            let first = here + u32::from(level > 0);
            let ahead = self.occupied[level].rotate_right(first % SLOTS as u32).trailing_zeros();
            let slot = (first + ahead) as usize % SLOTS;
            let turn = 1u64 << (shift + SLOT_BITS);
            let mut starts = (self.now & !(turn - 1)) + ((slot as u64) << shift);
            if slot < here as usize || (level > 0 && slot == here as usize) {
                starts = starts.saturating_add(turn);
            }
            return Some((level, slot, starts));
        }
        None
    }

    /// Hangs a node where its time belongs as seen from now.
    fn link(&mut self, index: u32) {
        let at = self.nodes[index as usize].at.max(self.now);
        let at = at.min(self.now.saturating_add((1 << (SLOT_BITS * LEVELS as u32)) - 1));
        let differs = (at ^ self.now) | (SLOTS as u64 - 1);
        let level = ((63 - differs.leading_zeros()) / SLOT_BITS).min(LEVELS as u32 - 1) as usize;
        let slot = (at >> (SLOT_BITS * level as u32)) as usize % SLOTS;
        let head = self.heads[level][slot];
        let node = &mut self.nodes[index as usize];
        node.previous = NONE;
        node.next = head;
        if head != NONE {
            self.nodes[head as usize].previous = index;
        }
        self.heads[level][slot] = index;
        self.occupied[level] |= 1 << slot;
    }

    fn unlink(&mut self, index: u32) {
        let (previous, next) =
            (self.nodes[index as usize].previous, self.nodes[index as usize].next);
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        if previous != NONE {
            self.nodes[previous as usize].next = next;
            return;
        }
        if self.taken == index {
            self.taken = next;
            return;
        }
        let (level, slot) = self.headed_by(index);
        self.heads[level][slot] = next;
        if next == NONE {
            self.occupied[level] &= !(1 << slot);
        }
    }

    /// The list that node `index` is the first of. A node's time names one slot
    /// a level; only a timer that was overdue or out of reach when it was hung
    /// up stands elsewhere.
    fn headed_by(&self, index: u32) -> (usize, usize) {
        let at = self.nodes[index as usize].at;
        let by_time =
            (0..LEVELS).map(|level| (level, (at >> (SLOT_BITS * level as u32)) as usize % SLOTS));
        let anywhere = (0..LEVELS).flat_map(|level| (0..SLOTS).map(move |slot| (level, slot)));
        by_time
            .chain(anywhere)
            .find(|(level, slot)| self.heads[*level][*slot] == index)
            .expect("a waiting timer hangs in some slot")
    }

    fn take_slot(&mut self, level: usize, slot: usize) -> u32 {
        self.occupied[level] &= !(1 << slot);
        std::mem::replace(&mut self.heads[level][slot], NONE)
    }

    /// Puts a node that hangs nowhere on the free list.
    fn release(&mut self, index: u32) -> Option<T> {
        let node = &mut self.nodes[index as usize];
        node.generation = node.generation.wrapping_add(1);
        node.next = self.free;
        self.free = index;
        self.len -= 1;
        node.value.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prng::Rng;
    use std::collections::BTreeMap;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_millis(ms)
    }

    fn fired(wheel: &mut Wheel<u32>, ms: u64) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.advance(at(ms), &mut due);
        due
    }

    #[test]
    fn timers_fire_on_their_millisecond_and_not_before() {
        let mut wheel = Wheel::new(at(1_000));
        wheel.insert(at(1_063), 1);
        wheel.insert(at(1_064), 2);
        wheel.insert(at(500_000), 3);
        wheel.insert(at(900), 4);
        assert_eq!(fired(&mut wheel, 1_000), [4]);
        assert_eq!(fired(&mut wheel, 1_062), []);
        assert_eq!(fired(&mut wheel, 1_063), [1]);
        assert_eq!(fired(&mut wheel, 499_999), [2]);
        assert_eq!(fired(&mut wheel, 500_000), [3]);
        assert!(wheel.is_empty());
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn a_cancelled_timer_is_gone_and_its_key_stale() {
        let mut wheel = Wheel::new(at(0));
        let a = wheel.insert(at(10), 1);
        let b = wheel.insert(at(10), 2);
        assert_eq!(wheel.cancel(a), Some(1));
        assert_eq!(wheel.cancel(a), None);
        let c = wheel.insert(at(20), 3);
        assert_eq!(wheel.cancel(a), None, "the slot's new tenant is not ours");
        assert_eq!(fired(&mut wheel, 10), [2]);
        assert_eq!(wheel.cancel(b), None);
        assert_eq!(wheel.cancel(c), Some(3));
        assert_eq!(wheel.len(), 0);
    }

    #[test]
    fn a_timer_beyond_the_last_level_still_fires() {
        let mut wheel = Wheel::new(at(5));
        wheel.insert(at(1 << 46), 9);
        assert_eq!(fired(&mut wheel, 1 << 41), []);
        assert_eq!(wheel.len(), 1);
        assert_eq!(fired(&mut wheel, (1 << 46) - 1), []);
        assert_eq!(fired(&mut wheel, 1 << 46), [9]);
    }

    /// A million timers in one slot must not stop their shard: they come in
    /// bounded steps, can still be cancelled in between, and none is lost.
    #[test]
    fn a_crowded_slot_is_worked_off_in_steps() {
        let mut wheel = Wheel::new(at(0));
        let keys: Vec<_> =
            (0..1_000).map(|n| wheel.insert(at(300_000 + u64::from(n)), n)).collect();
        let mut due = Vec::new();
        let mut steps = 0;
        while wheel.advance_some(at(301_000), 64, &mut due) {
            steps += 1;
            assert!(wheel.next_deadline().unwrap() <= at(301_000));
            if steps == 1 {
                assert_eq!(wheel.cancel(keys[0]), Some(0));
                assert_eq!(wheel.cancel(keys[999]), Some(999));
                assert_eq!(wheel.cancel(keys[500]), Some(500));
                wheel.insert(at(1), 1_000);
            }
        }
        assert!(steps > 1_000 / 64, "{steps}");
        due.sort_unstable();
        let expected: Vec<u32> = (1..1_001).filter(|n| *n != 500 && *n != 999).collect();
        assert_eq!(due, expected);
        assert!(wheel.is_empty());
        assert_eq!(wheel.next_deadline(), None);
    }

    /// The wheel against a sorted map, over random times, jumps and cancels.
    #[test]
    fn the_wheel_agrees_with_a_sorted_map() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let mut now = rng.below(1 << 30);
            let mut wheel = Wheel::new(at(now));
            let mut model: BTreeMap<(u64, u32), TimerKey> = BTreeMap::new();
            for n in 0..400u32 {
                let reach = 1 << rng.below(34);
                if rng.chance(3, 5) {
                    let when = now + rng.below(reach);
                    model.insert((when, n), wheel.insert(at(when), n));
                } else if rng.chance(1, 3) && !model.is_empty() {
                    let pick = rng.below(model.len() as u64) as usize;
                    let (&id, &key) = model.iter().nth(pick).unwrap();
                    model.remove(&id);
                    assert_eq!(wheel.cancel(key), Some(id.1), "seed {seed}");
                } else {
                    now += rng.below(reach);
                    let mut due = Vec::new();
                    while wheel.advance_some(at(now), 1 + rng.below(9) as usize, &mut due) {}
                    due.sort_unstable();
                    let later = model.split_off(&(now + 1, 0));
                    let mut expected: Vec<u32> = model.keys().map(|(_, n)| *n).collect();
                    expected.sort_unstable();
                    model = later;
                    assert_eq!(due, expected, "seed {seed}");
                }
                assert_eq!(wheel.len(), model.len());
                let first = model.keys().next().map(|(when, _)| *when);
                match (wheel.next_deadline(), first) {
                    (Some(deadline), Some(first)) => assert!(deadline.as_millis() <= first),
                    (deadline, first) => assert_eq!(deadline.is_none(), first.is_none()),
                }
            }
        }
    }
}
