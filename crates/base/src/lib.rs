//! Floor 0: what every room stands on. Time and size types, ids, bounds, an
//! array in pieces, a generation-checked slab, a timer wheel, a seeded
//! generator, maps with a fixed hasher.
//!
//! Nothing here reads a clock, a file, a socket or the machine's randomness:
//! time and seeds are arguments, so that every run can be repeated bit by bit.

pub mod chunks;
pub mod hex;
pub mod ids;
pub mod limits;
pub mod map;
pub mod planted;
pub mod prng;
pub mod secret;
pub mod slab;
pub mod time;
pub mod wheel;

pub use chunks::Chunks;
pub use ids::{ConnId, MessageId, SegmentId, ShardId};
pub use map::{Map, Set};
pub use prng::Rng;
pub use slab::{Key, Slab};
pub use time::{Micros, Monotonic, Now, Wall};
pub use wheel::{TimerKey, Wheel};
