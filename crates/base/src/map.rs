//! Hash maps whose order depends on nothing but their content and history, so
//! that a run repeats. Where strangers choose the keys, the seed handed to
//! [`seeded`] keeps them from choosing collisions.

use foldhash::fast::FixedState;

/// Lets a map be asked with a borrowed form of its key.
pub use hashbrown::Equivalent;

/// A hash map with a fixed or given hash seed.
pub type Map<K, V> = hashbrown::HashMap<K, V, FixedState>;

/// A hash set with a fixed or given hash seed.
pub type Set<K> = hashbrown::HashSet<K, FixedState>;

/// An empty map for keys that strangers choose; `seed` is secret to the run.
pub fn seeded<K, V>(seed: u64) -> Map<K, V> {
    Map::with_hasher(FixedState::with_seed(seed))
}
