//! Floor 2: SMTP on both sides as state machines without I/O or clock.
