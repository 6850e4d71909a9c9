//! A fixed 64-bit hash over what happened, so that two runs of one seed can be
//! compared by one number, on any machine.
//!
//! Never a guard against people who choose the input. Invariant: the result
//! depends on the bytes and their order alone, not on the machine's words.

/// Takes in numbers and bytes; gives one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hasher64 {
    state: u64,
}

/// An odd number without pattern: the golden ratio's 64 bits.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher64 {
    /// Nothing taken in yet.
    pub fn new() -> Self {
        Self { state: STEP }
    }

    /// Takes in a number.
    pub fn number(&mut self, n: u64) {
        let mixed = (self.state ^ n).wrapping_mul(STEP);
        self.state = mixed ^ (mixed >> 29);
    }

    /// Takes in bytes and their count, so that neighbours do not run together.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.number(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.number(u64::from_le_bytes(last));
    }

    /// Takes in a text.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Takes in a number that may be missing.
    pub fn maybe(&mut self, n: Option<u64>) {
        self.number(u64::from(n.is_some()));
        self.number(n.unwrap_or_default());
    }

    /// The hash of all so far; more can follow.
    pub fn finish(&self) -> u64 {
        let mixed = (self.state ^ (self.state >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^ (mixed >> 32)
    }
}

impl Default for Hasher64 {
    fn default() -> Self {
        Self::new()
    }
}

/// The hash of some bytes.
pub fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = Hasher64::new();
    hasher.bytes(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are the promise: a history's hash means the same everywhere.
    #[test]
    fn the_same_bytes_give_the_same_number_on_every_machine() {
        assert_eq!(digest(b""), 0xcdb6_8fbc_32d0_892c);
        assert_eq!(digest(b"Received: from"), 0x2d2b_a7c7_bbd0_d18d);
    }

    #[test]
    fn order_length_and_borders_count() {
        let of = |parts: &[&str]| {
            let mut hasher = Hasher64::new();
            parts.iter().for_each(|part| hasher.text(part));
            hasher.finish()
        };
        let all = [
            of(&["ab", "c"]),
            of(&["a", "bc"]),
            of(&["c", "ab"]),
            of(&["abc"]),
            of(&["ab", "c\0"]),
        ];
        for (n, one) in all.iter().enumerate() {
            assert!(!all[n + 1..].contains(one), "{n}");
        }
        let (mut none, mut zero) = (Hasher64::new(), Hasher64::new());
        none.maybe(None);
        zero.maybe(Some(0));
        assert_ne!(none.finish(), zero.finish());
    }
}
