//! Floor 1: addresses, domains, envelopes, header scan, status codes, delivery status notifications.
