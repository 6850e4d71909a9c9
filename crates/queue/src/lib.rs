//! Floor 3: ready and deferred mail, fairness, concurrency feedback, who goes next.
