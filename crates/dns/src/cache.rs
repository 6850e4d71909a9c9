//! A bounded table of values that expire. Full, it drops what has expired or
//! was not used of late ("second chance"), at a cost bounded per insertion.
//!
//! Never here: what a value means or how long it should live. Invariant: the
//! index and the entries name each other, one to one.

use std::hash::Hash;

use base::map::seeded;
use base::{Map, Monotonic};

/// At most a fixed number of values, each found until it expires.
#[derive(Clone, Debug)]
pub(crate) struct Cache<K, V> {
    index: Map<K, u32>,
    entries: Vec<Entry<K, V>>,
    entries_max: usize,
    hand: usize,
}

#[derive(Clone, Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
    expires: Monotonic,
    used: bool,
}

impl<K: Clone + Eq + Hash, V> Cache<K, V> {
    /// An empty cache of at most `entries_max` entries (at least 1). Strangers
    /// choose the keys, so the hash `seed` must be secret to the run.
    pub fn new(entries_max: usize, seed: u64) -> Self {
        let entries_max = entries_max.clamp(1, u32::MAX as usize);
        Self { index: seeded(seed), entries: Vec::new(), entries_max, hand: 0 }
    }

    /// Entries held, expired ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The value of `key` unless it has expired by `now`.
    pub fn get(&mut self, now: Monotonic, key: &K) -> Option<&V> {
        let at = *self.index.get(key)?;
        let entry = &mut self.entries[at as usize];
        if entry.expires <= now {
            return None;
        }
        entry.used = true;
        Some(&entry.value)
    }

    /// The value of `key` and when it expires or expired.
    pub fn peek(&self, key: &K) -> Option<(&V, Monotonic)> {
        let at = *self.index.get(key)?;
        let entry = &self.entries[at as usize];
        Some((&entry.value, entry.expires))
    }

    /// Stores `value` until `expires`, in place of the key's old value or, when
    /// full, of some other entry.
    pub fn insert(&mut self, now: Monotonic, key: K, value: V, expires: Monotonic) {
        let entry = Entry { key, value, expires, used: false };
        if let Some(at) = self.index.get(&entry.key) {
            self.entries[*at as usize] = entry;
            return;
        }
        if self.entries.len() < self.entries_max {
            self.index.insert(entry.key.clone(), self.entries.len() as u32);
            self.entries.push(entry);
            return;
        }
        let at = self.victim(now);
        self.index.insert(entry.key.clone(), at as u32);
        let old = std::mem::replace(&mut self.entries[at], entry);
        self.index.remove(&old.key);
    }

    /// Takes the value of `key` out, expired or not.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.index.remove(key)?;
        let entry = self.entries.swap_remove(at as usize);
        if let Some(moved) = self.entries.get(at as usize) {
            self.index.insert(moved.key.clone(), at);
        }
        Some(entry.value)
    }

    /// Keeps only what `keep` says yes to.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.entries.retain(|entry| keep(&entry.key, &entry.value));
        self.index.clear();
        for (at, entry) in self.entries.iter().enumerate() {
            self.index.insert(entry.key.clone(), at as u32);
        }
    }

    /// All entries, expired ones included, in no stated order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V, Monotonic)> {
        self.entries.iter().map(|entry| (&entry.key, &entry.value, entry.expires))
    }

    /// The entry to drop.
    fn victim(&mut self, now: Monotonic) -> usize {
        for _ in 0..SWEEP_MAX {
            self.hand = (self.hand + 1) % self.entries.len();
            let entry = &mut self.entries[self.hand];
            if entry.expires <= now || !entry.used {
                break;
            }
            entry.used = false;
        }
        self.hand %= self.entries.len();
        self.hand
    }
}

/// Entries looked at for one insertion into a full cache.
const SWEEP_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use base::Rng;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_millis(ms)
    }

    #[test]
    fn a_value_is_found_until_it_expires() {
        let mut cache = Cache::new(10, 1);
        cache.insert(at(0), "a", 1, at(100));
        assert_eq!(cache.get(at(99), &"a"), Some(&1));
        assert_eq!(cache.get(at(100), &"a"), None);
        assert_eq!(cache.peek(&"a"), Some((&1, at(100))));
        cache.insert(at(100), "a", 2, at(200));
        assert_eq!(cache.get(at(100), &"a"), Some(&2));
        assert_eq!(cache.len(), 1);
    }

    /// Covers: A12.15
    #[test]
    fn the_bound_holds_and_what_is_used_stays() {
        let mut cache = Cache::new(4, 1);
        for key in 0..4 {
            cache.insert(at(0), key, key, at(1_000));
        }
        cache.get(at(1), &2);
        for key in 4..7 {
            cache.insert(at(1), key, key, at(1_000));
            assert_eq!(cache.len(), 4);
        }
        assert_eq!(cache.get(at(1), &2), Some(&2));
        assert_eq!(cache.get(at(1), &6), Some(&6));
    }

    #[test]
    fn what_has_expired_goes_before_what_is_unused() {
        let mut cache = Cache::new(2, 1);
        cache.insert(at(0), "unused", 0, at(100));
        cache.insert(at(0), "expired", 1, at(10));
        cache.get(at(0), &"expired");
        cache.insert(at(20), "new", 2, at(100));
        assert_eq!(cache.peek(&"expired"), None);
        assert_eq!(cache.get(at(20), &"unused"), Some(&0));
    }

    #[test]
    fn all_in_use_is_no_reason_to_grow_or_to_search_for_ever() {
        let mut cache = Cache::new(1_000, 1);
        for key in 0..1_000 {
            cache.insert(at(0), key, key, at(9));
            cache.get(at(0), &key);
        }
        cache.insert(at(0), 1_000, 0, at(9));
        assert_eq!(cache.len(), 1_000);
        let spared = (0..1_000).filter(|key| cache.peek(key).is_some()).count();
        assert_eq!(spared, 999);
    }

    #[test]
    fn index_and_entries_agree_after_any_history() {
        let mut rng = Rng::new(5);
        let mut cache = Cache::new(20, 2);
        for step in 0..5_000 {
            let key = rng.below(50);
            match rng.below(4) {
                0 => drop(cache.remove(&key)),
                1 => drop(cache.get(at(step), &key).copied()),
                2 if rng.chance(1, 50) => cache.retain(|key, _| key % 3 != 0),
                _ => cache.insert(at(step), key, key, at(step + rng.below(100))),
            }
            assert!(cache.len() <= 20);
            assert_eq!(cache.index.len(), cache.len());
            assert!(cache.iter().all(|(key, value, _)| key == value));
            assert!(cache.iter().all(|(key, _, _)| cache.peek(key).is_some()));
        }
    }
}
