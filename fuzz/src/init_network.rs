//! `network.conf` of the appliance, out of any text.
//!
//! Oracle: what is taken can be lived with: addresses have a network, each
//! family at most one gateway; what is refused names a line that is there.

use init::boot_count::{path_parts, variable_text, without_counter};
use init::network::Network;
use init::partition::Partition;

/// Runs the target.
pub fn init_network(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Network::parse(&text) {
        Ok(network) => {
            for (address, prefix) in &network.addresses {
                let bits_max = if address.is_ipv4() { 32 } else { 128 };
                assert!((1..=bits_max).contains(prefix));
            }
            assert!(network.gateways.len() <= 2);
            assert!(network.gateways.is_empty() || !network.addresses.is_empty());
        }
        Err(refused) => {
            assert!((1..=text.lines().count()).contains(&refused.line), "{refused:?}");
            assert!(!refused.why.is_empty());
        }
    }
    // The other texts that PID 1 reads of firmware and kernel.
    if let Some(path) = variable_text(data) {
        let parts = path_parts(&path).unwrap_or_default();
        assert!(parts.iter().all(|part| !part.is_empty() && *part != ".."));
    }
    if let Some(good) = without_counter(&text) {
        assert!(good.len() < text.len() && good.ends_with(".efi"));
    }
    if let Some(partition) = Partition::from_uevent("sda", &text) {
        assert!(!partition.device.contains(".."));
    }
}
