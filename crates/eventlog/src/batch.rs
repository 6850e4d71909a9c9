//! Lines on their way out of the log, together: as they stand in it, with the
//! place in the log behind each.
//!
//! Invariants: lines are never changed; a batch holds at most
//! [`BATCH_BYTES_MAX`] octets, or a single line.

use crate::bookmark::Place;

/// Octets of the lines of one batch, unless it is a single line.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Lines that go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    from: Place,
    /// Each line with its end.
    bytes: Vec<u8>,
    /// Behind each line: in `bytes`, and in the log.
    ends: Vec<(usize, Place)>,
    /// The place up to which nothing else is wanted.
    until: Place,
}

impl Batch {
    /// An empty one, for what stands behind `from`.
    pub fn new(from: Place) -> Self {
        Self { from, bytes: Vec::new(), ends: Vec::new(), until: from }
    }

    /// Takes a line without its end, behind which the log goes on at `behind`.
    /// False: there is no room, and it was not taken.
    pub fn push(&mut self, line: &[u8], behind: Place) -> bool {
        if !self.ends.is_empty() && self.bytes.len() + line.len() >= BATCH_BYTES_MAX {
            return false;
        }
        self.bytes.extend_from_slice(line);
        self.bytes.push(b'\n');
        self.ends.push((self.bytes.len(), behind));
        self.until = behind;
        true
    }

    /// What stands before `behind` and was not pushed is not wanted.
    pub fn pass(&mut self, behind: Place) {
        debug_assert!(self.until <= behind, "a log is read forward");
        self.until = behind;
    }

    /// Where it begins in the log.
    pub fn from(&self) -> Place {
        self.from
    }

    /// Where the log goes on behind it.
    pub fn until(&self) -> Place {
        self.until
    }

    /// How many lines.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Its lines, without their ends.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().map(|(end, _)| *end));
        begins.zip(&self.ends).map(|(begin, (end, _))| &self.bytes[begin..end - 1])
    }

    /// Forgets the first `count` lines: they were taken.
    pub fn drop_front(&mut self, count: usize) {
        let Some((end, place)) = count.checked_sub(1).and_then(|last| self.ends.get(last)).copied()
        else {
            return;
        };
        self.from = if count == self.ends.len() { self.until } else { place };
        self.bytes.drain(..end);
        self.ends.drain(..count);
        self.ends.iter_mut().for_each(|(later, _)| *later -= end);
    }

    /// All lines as one JSON array, each on a line of its own.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(self.bytes.len() + self.ends.len() + 4);
        json.push(b'[');
        for (place, line) in self.lines().enumerate() {
            json.extend_from_slice(if place == 0 { b"\n" } else { b",\n" });
            json.extend_from_slice(line);
        }
        json.extend_from_slice(b"\n]\n");
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u64) -> Place {
        Place { number: 3, offset }
    }

    fn three() -> Batch {
        let mut batch = Batch::new(place(0));
        for (line, behind) in [(&br#"{"a":1}"#[..], 8), (br#"{"a":2}"#, 30), (br#"{"a":3}"#, 38)] {
            assert!(batch.push(line, place(behind)));
        }
        batch.pass(place(99));
        batch
    }

    #[test]
    fn lines_stay_as_they_are_and_make_an_array() {
        let batch = three();
        assert_eq!(batch.to_json(), b"[\n{\"a\":1},\n{\"a\":2},\n{\"a\":3}\n]\n");
        assert_eq!(
            batch.lines().collect::<Vec<_>>(),
            [&b"{\"a\":1}"[..], b"{\"a\":2}", b"{\"a\":3}"]
        );
        assert_eq!((batch.len(), batch.from(), batch.until()), (3, place(0), place(99)));
        assert_eq!(Batch::new(place(0)).to_json(), b"[\n]\n");
        let read: serde_json::Value = serde_json::from_slice(&batch.to_json()).unwrap();
        assert_eq!(read[2]["a"], 3);
    }

    #[test]
    fn what_was_taken_is_forgotten_from_the_front() {
        let mut batch = three();
        batch.drop_front(0);
        assert_eq!(batch, three());
        batch.drop_front(2);
        assert_eq!((batch.len(), batch.from(), batch.until()), (1, place(30), place(99)));
        assert_eq!(batch.lines().collect::<Vec<_>>(), [b"{\"a\":3}"]);
        batch.drop_front(1);
        assert_eq!((batch.is_empty(), batch.from()), (true, place(99)));
        batch.drop_front(5);
        assert_eq!(batch.from(), place(99));
    }

    #[test]
    fn a_batch_is_bounded_but_for_a_single_line() {
        let mut batch = Batch::new(place(0));
        let long = vec![b'x'; BATCH_BYTES_MAX + 7];
        assert!(batch.push(&long, place(1)), "it would never go otherwise");
        assert!(!batch.push(b"{}", place(2)));
        let mut batch = Batch::new(place(0));
        let quarter = vec![b'x'; BATCH_BYTES_MAX / 4 - 1];
        let taken = (0..9).take_while(|n| batch.push(&quarter, place(*n))).count();
        assert_eq!(taken, 4, "the fourth ends at the bound");
        assert_eq!((batch.len(), batch.until()), (4, place(3)));
    }
}
