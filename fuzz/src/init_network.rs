//! `network.conf` of the appliance, out of any text, and the other texts that
//! PID 1 reads or writes.
//!
//! Oracle: what is taken can be lived with: addresses have a network, each
//! family at most one gateway, a VLAN has a number, a trial an end; what is
//! refused names a line that is there; what is told of the machine has one line
//! for each key, whatever is in it.

use init::boot_count::{path_parts, variable_text, without_counter};
use init::network::Network;
use init::partition::Partition;
use init::reset::{self, Folder, goes};
use init::state::State;
use init::trial::{CONFIRM_SECONDS, Proposal};

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
            assert!(network.vlan.is_none_or(|vlan| (1..=4_094).contains(&vlan)));
        }
        Err(refused) => {
            assert!((1..=text.lines().count()).contains(&refused.line), "{refused:?}");
            assert!(!refused.why.is_empty());
        }
    }
    requests(&text);
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

/// What the daemon may ask for, and what it is told.
fn requests(text: &str) {
    match Proposal::parse(text) {
        Ok(proposal) => {
            assert!(CONFIRM_SECONDS.contains(&proposal.confirm.as_secs()));
            assert_eq!(Network::parse(&proposal.text), Ok(proposal.network));
        }
        Err(why) => assert!(!why.is_empty()),
    }
    if let Ok(queue) = reset::parse(text) {
        assert!(!goes(queue, Folder::Data, "lost+found"));
    }
    let told = State {
        network_file: text.to_owned(),
        update_outcome: text.to_owned(),
        ..State::default()
    };
    let keys = State::default().text().lines().count();
    let told = told.text();
    assert_eq!(told.lines().count(), keys);
    assert!(told.lines().all(|line| line.contains(" = ")));
}
