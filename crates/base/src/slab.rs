//! A table of bounded size whose keys stop working when their entry is gone:
//! an answer that arrives for a closed session finds nothing instead of a
//! stranger. Growing copies nothing ([`Chunks`]).

use crate::chunks::Chunks;

/// Names one entry of one [`Slab`]; stale once the entry is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The slot: below [`Slab::slots`], the same for as long as the entry lives,
    /// and another entry's afterwards.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// The key as one number, for use as an outside handle.
    pub const fn as_u64(self) -> u64 {
        ((self.generation as u64) << 32) | self.index as u64
    }

    /// The inverse of [`Key::as_u64`].
    pub const fn from_u64(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// A table with at most a fixed number of entries.
#[derive(Clone, Debug)]
pub struct Slab<T> {
    slots: Chunks<Slot<T>>,
    free: Option<u32>,
    len: usize,
    len_max: usize,
}

#[derive(Clone, Debug)]
struct Slot<T> {
    generation: u32,
    content: Content<T>,
}

#[derive(Clone, Debug)]
enum Content<T> {
    Entry(T),
    Free { next: Option<u32> },
}

impl<T> Slab<T> {
    /// Memory that one entry takes.
    pub const SLOT_BYTES: usize = size_of::<Slot<T>>();

    /// An empty table that never holds more than `len_max` entries.
    pub fn new(len_max: usize) -> Self {
        let len_max = len_max.min(u32::MAX as usize);
        Self { slots: Chunks::new(), free: None, len: 0, len_max }
    }

    /// Entries now held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no entry is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the next [`Slab::insert`] would be refused.
    pub fn is_full(&self) -> bool {
        self.len >= self.len_max
    }

    /// Stores `value`.
    ///
    /// # Errors
    /// Gives `value` back when the table is full.
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        if self.is_full() {
            return Err(value);
        }
        self.len += 1;
        if let Some(index) = self.free {
            let slot = &mut self.slots[index as usize];
            let Content::Free { next } = slot.content else {
                panic!("the free list of a slab points at a used slot");
            };
            self.free = next;
            slot.content = Content::Entry(value);
            return Ok(Key { index, generation: slot.generation });
        }
        let index = self.slots.len() as u32;
        self.slots.push(Slot { generation: 1, content: Content::Entry(value) });
        Ok(Key { index, generation: 1 })
    }

    /// The entry of `key`, unless it was removed.
    pub fn get(&self, key: Key) -> Option<&T> {
        match self.slots.get(key.index as usize) {
            Some(Slot { generation, content: Content::Entry(value) })
                if *generation == key.generation =>
            {
                Some(value)
            }
            _ => None,
        }
    }

    /// The entry of `key`, to be changed, unless it was removed.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.get_mut(key.index as usize) {
            Some(Slot { generation, content: Content::Entry(value) })
                if *generation == key.generation =>
            {
                Some(value)
            }
            _ => None,
        }
    }

    /// Slots in use or used before; every [`Key::index`] lies below.
    pub fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    /// The key of the entry now in slot `index`, for tables that link their
    /// entries by slot and for walking over a table in steps.
    pub fn key_at(&self, index: u32) -> Option<Key> {
        match self.slots.get(index as usize) {
            Some(Slot { generation, content: Content::Entry(_) }) => {
                Some(Key { index, generation: *generation })
            }
            _ => None,
        }
    }

    /// The entry now in slot `index`.
    pub fn at(&self, index: u32) -> Option<&T> {
        match self.slots.get(index as usize) {
            Some(Slot { content: Content::Entry(value), .. }) => Some(value),
            _ => None,
        }
    }

    /// The entry now in slot `index`, to be changed.
    pub fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        match self.slots.get_mut(index as usize) {
            Some(Slot { content: Content::Entry(value), .. }) => Some(value),
            _ => None,
        }
    }

    /// Whether `key` still names an entry.
    pub fn contains(&self, key: Key) -> bool {
        self.get(key).is_some()
    }

    /// Takes the entry of `key` out; `key` and its copies are stale from now on.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        if !self.contains(key) {
            return None;
        }
        let slot = &mut self.slots[key.index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        let content = std::mem::replace(&mut slot.content, Content::Free { next: self.free });
        self.free = Some(key.index);
        self.len -= 1;
        match content {
            Content::Entry(value) => Some(value),
            Content::Free { .. } => unreachable!("checked above"),
        }
    }

    /// All entries with their keys, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| match &slot.content {
            Content::Entry(value) => {
                Some((Key { index: index as u32, generation: slot.generation }, value))
            }
            Content::Free { .. } => None,
        })
    }

    /// All entries with their keys, to be changed, in slot order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.slots.iter_mut().enumerate().filter_map(|(index, slot)| match &mut slot.content {
            Content::Entry(value) => {
                Some((Key { index: index as u32, generation: slot.generation }, value))
            }
            Content::Free { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nothing_even_when_its_slot_is_used_again() {
        let mut slab = Slab::new(2);
        let a = slab.insert("a").unwrap();
        assert_eq!(slab.remove(a), Some("a"));
        let b = slab.insert("b").unwrap();
        assert_eq!(slab.get(a), None);
        assert_eq!(slab.remove(a), None);
        assert_eq!(slab.get(b), Some(&"b"));
        assert_eq!(Key::from_u64(b.as_u64()), b);
    }

    #[test]
    fn a_slot_names_whoever_is_in_it() {
        let mut slab = Slab::new(9);
        let a = slab.insert("a").unwrap();
        let b = slab.insert("b").unwrap();
        assert_eq!((a.index(), b.index(), slab.slots()), (0, 1, 2));
        slab.remove(a);
        assert_eq!((slab.key_at(0), slab.at(0)), (None, None));
        assert_eq!(slab.at_mut(0), None);
        let c = slab.insert("c").unwrap();
        assert_eq!((slab.key_at(0), slab.at(0)), (Some(c), Some(&"c")));
        assert_eq!(slab.key_at(1), Some(b));
        assert_eq!(slab.at_mut(1), Some(&mut "b"));
        assert_eq!(slab.key_at(2), None);
    }

    #[test]
    fn the_bound_holds_and_gives_the_value_back() {
        let mut slab = Slab::new(1);
        let key = slab.insert(1).unwrap();
        assert!(slab.is_full());
        assert_eq!(slab.insert(2), Err(2));
        slab.remove(key);
        assert!(slab.insert(3).is_ok());
        assert_eq!(slab.iter().map(|(_, v)| *v).collect::<Vec<_>>(), [3]);
    }
}
