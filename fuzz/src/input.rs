//! What a target reads its decisions from: the fuzzer's bytes, taken off one
//! by one, and zeros for ever when they are used up.
//!
//! Never fails: every sequence of bytes is a valid input.

use base::Rng;

/// Bytes of the fuzzer, read from the front.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// An input of these bytes.
    pub fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// Whether all bytes were taken.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    /// The lowest bit of the next byte.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `bound`, which is 1 to 256.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    /// One of `items`, of which there is at least one.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// The next eight bytes as a number.
    pub fn number(&mut self) -> u64 {
        u64::from_be_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// A byte that says how many, then so many bytes; fewer at the end.
    pub fn bytes(&mut self) -> &'a [u8] {
        let count = usize::from(self.byte()).min(self.rest.len());
        let (head, rest) = self.rest.split_at(count);
        self.rest = rest;
        head
    }

    /// As [`Input::bytes`], as text; what is no UTF-8 is replaced.
    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}

/// `bytes` in pieces of at least one byte: whole for `way` 0, one by one for 1,
/// else of sizes that repeat for the same `way`, mostly small.
pub fn cut(bytes: &[u8], way: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    let mut random = Rng::new(u64::from(way));
    std::iter::from_fn(move || {
        let size = match way {
            0 => rest.len(),
            1 => 1,
            _ => {
                let most = 1 << (1 + random.below(9));
                1 + random.below(most) as usize
            }
        };
        let (piece, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}
