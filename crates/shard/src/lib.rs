//! Floor 4: where the rooms meet: step(now, event) -> effects.
