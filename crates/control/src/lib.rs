//! Floor 2: configuration, modes, routes, retry and expiry, limits, placement.
