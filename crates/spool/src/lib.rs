//! Floor 2: the durable log: records, group commit, index, recovery, reclaim.
