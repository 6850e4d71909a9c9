//! Floor 2: DNS client, cache and MX order as state machines without I/O or clock.
