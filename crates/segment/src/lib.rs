//! Floor 5: segment files behind spool::Medium: allocate, zero, write, map, retire.
