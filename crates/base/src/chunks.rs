//! A growable array in pieces: it never moves what it holds once the first
//! piece is full, so that growing costs one allocation of fixed size instead
//! of a copy of everything and, for a moment, twice the memory.
//!
//! It only grows; whoever needs holes keeps a free list ([`crate::Slab`],
//! [`crate::Wheel`]). The first piece grows like a `Vec`, so a table of three
//! entries stays small.

use std::ops::{Index, IndexMut};

/// Entries of one piece.
const PIECE: usize = 1 << PIECE_BITS;
const PIECE_BITS: u32 = 12;

/// An array that grows by pieces of 4096 entries.
#[derive(Clone, Debug)]
pub struct Chunks<T> {
    pieces: Vec<Vec<T>>,
    len: usize,
}

impl<T> Chunks<T> {
    /// An empty array; allocates nothing.
    pub const fn new() -> Self {
        Self { pieces: Vec::new(), len: 0 }
    }

    /// Entries held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds `value` at the end; its index is the length before.
    pub fn push(&mut self, value: T) {
        let piece = self.len >> PIECE_BITS;
        if piece == self.pieces.len() {
            self.pieces.push(if piece == 0 { Vec::new() } else { Vec::with_capacity(PIECE) });
        }
        self.pieces[piece].push(value);
        self.len += 1;
    }

    /// The entry at `index`, if there is one.
    pub fn get(&self, index: usize) -> Option<&T> {
        self.pieces.get(index >> PIECE_BITS)?.get(index % PIECE)
    }

    /// The entry at `index`, to be changed, if there is one.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.pieces.get_mut(index >> PIECE_BITS)?.get_mut(index % PIECE)
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flatten()
    }

    /// All entries in order, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.pieces.iter_mut().flatten()
    }
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Index<usize> for Chunks<T> {
    type Output = T;
    fn index(&self, index: usize) -> &T {
        &self.pieces[index >> PIECE_BITS][index % PIECE]
    }
}

impl<T> IndexMut<usize> for Chunks<T> {
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut self.pieces[index >> PIECE_BITS][index % PIECE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found_across_pieces() {
        let mut chunks = Chunks::new();
        for n in 0..2 * PIECE + 1 {
            assert_eq!(chunks.len(), n);
            chunks.push(n);
        }
        chunks[PIECE] += 1_000_000;
        *chunks.get_mut(2 * PIECE).unwrap() += 1;
        assert_eq!(chunks[PIECE - 1], PIECE - 1);
        assert_eq!(chunks[PIECE], PIECE + 1_000_000);
        assert_eq!(chunks.get(2 * PIECE), Some(&(2 * PIECE + 1)));
        assert_eq!(chunks.get(2 * PIECE + 1), None);
        assert_eq!(chunks.get(usize::MAX), None);
        assert_eq!(chunks.iter().count(), 2 * PIECE + 1);
        assert_eq!(chunks.iter_mut().map(|n| *n).take(3).collect::<Vec<_>>(), [0, 1, 2]);
    }

    /// A full piece never moves, and no piece takes more than its 4096 entries.
    #[test]
    fn growing_moves_nothing_and_doubles_nothing() {
        let mut chunks = Chunks::new();
        for n in 0..PIECE {
            chunks.push(n);
        }
        let first: *const usize = &raw const chunks[0];
        for n in 0..4 * PIECE {
            chunks.push(n);
        }
        assert_eq!(first, &raw const chunks[0]);
        assert!(chunks.pieces.iter().all(|piece| piece.capacity() == PIECE));
    }

    #[test]
    fn a_small_array_stays_small() {
        let mut chunks = Chunks::new();
        chunks.push(1u64);
        assert!(chunks.pieces[0].capacity() <= 8);
    }
}
