//! The network ports: brought up as they appear, with the addresses of
//! `network.conf` or those that DHCP gives.
//!
//! Never decides what to ask or when: `init::lease` does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::consoles::Consoles;
use super::files;
use super::links::{
    dhcp_socket, hardware, lead_out, names, random, send, set_address, settings, sys, tell_kernel,
};
use init::advertised::{Taken, addresses};
use init::cable::{Cable, Change};
use init::dhcp::Answer;
use init::lease::{Action, Client};
use init::network::Network;
use init::quota::Quota;
use init::rtnetlink;
use nix::errno::Errno;

/// Octets of a DHCP packet that are read.
const PACKET_BYTES_MAX: usize = 1_500;
/// Packets heard at one port in one turn.
const PACKETS_MAX: usize = 64;
/// Ports beyond this many are left alone.
const PORTS_MAX: usize = 32;
/// How often it is looked at what the kernel tells nobody.
const LOOK_TURN: Duration = Duration::from_secs(1);
/// `ARPHRD_ETHER`, as sysfs has it.
const ETHERNET: &str = "1";

/// All ports.
#[derive(Debug, Default)]
pub struct Ports {
    network: Network,
    ports: BTreeMap<String, Port>,
    /// The VLAN's link was made, or could not be.
    is_vlan_done: bool,
    is_static_done: bool,
    /// The port that has what `network.conf` says, if that names none: the first
    /// there was, and no other while it is away.
    holder: Option<String>,
    /// Ports that could not be brought up.
    failed: BTreeSet<String>,
    /// Lines about ports that go or fail.
    quota: Quota,
    resolv_conf: String,
    /// When what the kernel has is looked at again.
    look_at: Duration,
}

#[derive(Debug, Default)]
struct Port {
    link: u32,
    cable: Cable,
    dhcp: Option<(UdpSocket, Client)>,
    addresses: Vec<(IpAddr, u8)>,
    /// Those that the kernel took from router advertisements.
    advertised: Vec<(IpAddr, u8)>,
    /// Lines about those, and about what failed.
    quota: Quota,
}

impl Ports {
    /// Other settings: what those before gave the ports goes, and what these
    /// say comes.
    pub fn replace(&mut self, consoles: &mut Consoles, network: Network, now: Duration) {
        let vlan = self.network.vlan.map(vlan_name);
        for (name, port) in std::mem::take(&mut self.ports) {
            let left = if Some(&name) == vlan.as_ref() {
                // With all that it has.
                tell_kernel(&[rtnetlink::delete_link(1, port.link)])
            } else {
                port.leave(&self.network)
            };
            if let Err(error) = left {
                consoles.say(&format!("network: {name}: {error}"));
            }
        }
        (self.network, self.is_vlan_done, self.is_static_done) = (network, false, false);
        self.holder = None;
        self.look(consoles, now);
    }

    /// Looks for ports that came or went, and tries again those that could not
    /// be brought up.
    pub fn look(&mut self, consoles: &mut Consoles, now: Duration) {
        self.failed.clear();
        self.find(consoles, now);
    }

    fn find(&mut self, consoles: &mut Consoles, now: Duration) {
        self.forget(consoles, now);
        self.add_ports(consoles, now);
        if self.add_vlan(consoles) {
            self.add_ports(consoles, now);
        }
        self.set_static(consoles);
    }

    /// Lets go of ports that are no more, also where another has their name.
    fn forget(&mut self, consoles: &mut Consoles, now: Duration) {
        let is_gone = |name: &String, port: &mut Port| link_of(name) != Some(port.link);
        let gone: Vec<String> = self.ports.extract_if(.., is_gone).map(|(name, _)| name).collect();
        for name in &gone {
            if self.quota.take(now) {
                consoles.say(&format!("network: {name} is gone"));
            }
        }
        // What was made on them is made again.
        let is_vlan = |name: &String| Some(name) == self.network.vlan.map(vlan_name).as_ref();
        self.is_vlan_done &= !gone.iter().any(is_vlan);
        let is_holder = |name: &String| is_vlan(name) || Some(name) == self.holder.as_ref();
        self.is_static_done &= !gone.iter().any(is_holder);
    }

    fn add_ports(&mut self, consoles: &mut Consoles, now: Duration) {
        for name in names() {
            let is_known = self.ports.contains_key(&name) || self.failed.contains(&name);
            if is_known || self.ports.len() + self.failed.len() >= PORTS_MAX {
                continue;
            }
            match self.add(consoles, &name) {
                Ok(port) => drop(self.ports.insert(name, port)),
                Err(error) => {
                    if self.quota.take(now) {
                        consoles.say(&format!("network: {name}: {error}"));
                    }
                    self.failed.insert(name);
                }
            }
        }
    }

    fn look_at_cables(&mut self, consoles: &mut Consoles, now: Duration) {
        for (name, port) in &mut self.ports {
            let is_in = files::word(sys(name, "carrier")) == "1";
            let times = files::word(sys(name, "carrier_up_count")).parse().unwrap_or_default();
            let (change, line) = port.cable.look(now, is_in, times);
            if let Some(line) = line {
                consoles.say(&format!("network: {name}: {line}"));
            }
            match (change, &mut port.dhcp) {
                (Some(Change::Came), Some((_, client))) => client.link_is_up(now),
                (Some(Change::Returned), Some((_, client))) => {
                    client.link_is_back(now);
                    // What was advertised elsewhere lasts for days; what is
                    // advertised here is back in seconds.
                    set_up(consoles, name, Taken::All);
                }
                _ => {}
            }
        }
    }

    /// When `turn` is to be called at the latest.
    pub fn next(&self) -> Option<Duration> {
        self.clients().map(|(_, client)| client.next()).min()
    }

    /// What to wait for.
    pub fn as_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.clients().map(|(socket, _)| socket.as_fd())
    }

    /// Whether a port beside loopback has an address.
    pub fn has_address(&self) -> bool {
        self.ports.values().any(|port| !port.addresses.is_empty())
    }

    /// All addresses, with their networks.
    pub fn addresses(&self) -> Vec<String> {
        self.ports.values().flat_map(Port::words).collect()
    }

    /// Whether they have the addresses of `network.conf`, and ask nobody.
    pub fn are_fixed(&self) -> bool {
        !self.network.addresses.is_empty()
    }

    /// Shows each port with its state.
    pub fn tell(&self, consoles: &mut Consoles) {
        for (name, port) in &self.ports {
            let addresses = port.words().join(" ");
            let state = if files::word(sys(name, "carrier")) == "1" { "up" } else { "no cable" };
            consoles.say(&format!("network: {name} {state} {addresses}"));
        }
    }

    /// Time servers, our own and those that DHCP tells of.
    pub fn time_servers(&self) -> Vec<SocketAddr> {
        let told = self.leases().flat_map(|lease| lease.time_servers.iter().copied());
        self.network.clocks(&told.map(IpAddr::V4).collect::<Vec<_>>())
    }

    /// Asks, hears, and does what follows. True if the name servers changed.
    pub fn turn(&mut self, consoles: &mut Consoles, now: Duration) -> bool {
        if now >= self.look_at {
            self.look_at = now + LOOK_TURN;
            self.find(consoles, now);
            self.look_at_cables(consoles, now);
            self.look_at_advertised(consoles, now);
        }
        for (name, port) in &mut self.ports {
            let Some((socket, client)) = &mut port.dhcp else { continue };
            let mut actions = client.tick(now);
            let mut packet = [0; PACKET_BYTES_MAX];
            // A neighbour that floods us must not keep us from the watchdog.
            for _ in 0..PACKETS_MAX {
                let Ok(count) = socket.recv(&mut packet) else { break };
                actions.extend(client.heard(now, &packet[..count]));
            }
            for action in actions {
                let done = match &action {
                    Action::Send { packet, to } => send(socket, packet, *to),
                    Action::Use(lease) => {
                        let own = IpAddr::V4(lease.address);
                        if port.addresses != [(own, lease.prefix)] {
                            let address = format!("{own}/{}", lease.prefix);
                            consoles.say(&format!("network: {name} has {address} by DHCP"));
                        }
                        port.addresses = vec![(own, lease.prefix)];
                        set_address(port.link, own, lease.prefix).and_then(|()| {
                            let gateway = lease.gateway.map(IpAddr::V4);
                            gateway.map_or(Ok(()), |to| lead_out(port.link, to, &port.addresses))
                        })
                    }
                    Action::Drop(lease) => {
                        consoles.say(&format!("network: {name} lost {}", lease.address));
                        port.addresses.clear();
                        let own = IpAddr::V4(lease.address);
                        tell_kernel(&[rtnetlink::delete_address(1, port.link, own, lease.prefix)])
                    }
                };
                // Without a cable nothing can be sent, and that is no news.
                if let Err(error) = done
                    && error.raw_os_error() != Some(Errno::ENETDOWN as i32)
                    && port.quota.take(now)
                {
                    consoles.say(&format!("network: {name}: {error}"));
                }
            }
        }
        self.write_resolv_conf()
    }

    fn clients(&self) -> impl Iterator<Item = (&UdpSocket, &Client)> {
        self.ports.values().filter_map(|port| port.dhcp.as_ref()).map(|(s, c)| (s, c))
    }

    fn leases(&self) -> impl Iterator<Item = &Answer> {
        self.clients().filter_map(|(_, client)| client.lease())
    }

    fn add(&self, consoles: &mut Consoles, name: &str) -> io::Result<Port> {
        let link = link_of(name).ok_or(io::ErrorKind::NotFound)?;
        let asks = self.asks(name);
        if is_ethernet(name) {
            set_up(consoles, name, if asks { Taken::All } else { Taken::Nothing });
        }
        tell_kernel(&[rtnetlink::link_up(1, link)])?;
        let dhcp = match hardware(&files::word(sys(name, "address"))) {
            Some(hardware) if asks => Some((dhcp_socket(name)?, Client::new(hardware, random()))),
            _ => None,
        };
        Ok(Port { link, dhcp, ..Port::default() })
    }

    /// Whether the port gets its addresses from elsewhere.
    fn asks(&self, name: &str) -> bool {
        let is_it = match self.network.vlan {
            Some(vlan) => name == vlan_name(vlan),
            None => is_ethernet(name),
        };
        is_it && !self.are_fixed()
    }

    /// Looks for addresses that the kernel took from router advertisements.
    fn look_at_advertised(&mut self, consoles: &mut Consoles, now: Duration) {
        let list = files::text("/proc/net/if_inet6");
        let all = addresses(&list);
        for (name, port) in &mut self.ports {
            let others = all.iter().filter(|(link, ..)| link == name);
            let others = others.map(|(_, address, prefix)| (*address, *prefix));
            let mut found: Vec<_> = others.filter(|one| !port.addresses.contains(one)).collect();
            // In the kernel's list the last comes first.
            found.sort_unstable();
            let before = std::mem::replace(&mut port.advertised, found);
            let came = port.advertised.iter().filter(|one| !before.contains(one));
            let came = came.map(|(own, bits)| format!("has {own}/{bits} by advertisement"));
            let went = before.iter().filter(|one| !port.advertised.contains(one));
            let went = went.map(|(own, _)| format!("lost {own}"));
            for news in came.chain(went) {
                if port.quota.take(now) {
                    consoles.say(&format!("network: {name} {news}"));
                }
            }
        }
    }

    /// Makes the VLAN's link once its port is there. True: it is new.
    fn add_vlan(&mut self, consoles: &mut Consoles) -> bool {
        let Some(vlan) = self.network.vlan.filter(|_| !self.is_vlan_done) else { return false };
        let Some(port) = self.port() else { return false };
        let request = rtnetlink::add_vlan(1, self.ports[&port].link, vlan, &vlan_name(vlan));
        self.is_vlan_done = true;
        let made = tell_kernel(&[request]);
        if let Err(error) = &made {
            consoles.say(&format!("network: VLAN {vlan} of {port}: {error}"));
        }
        made.is_ok()
    }

    /// The port that `network.conf` means, by name; it may not be there yet.
    fn port(&mut self) -> Option<String> {
        let vlan = self.network.vlan.map(vlan_name);
        let wanted = |name: &&String| match &self.network.interface {
            Some(wanted) => *wanted == **name || *wanted == files::word(sys(name, "address")),
            None => self.holder.as_ref().map_or_else(|| is_ethernet(name), |first| first == *name),
        };
        // A VLAN has the hardware address of its port.
        let port = self.ports.keys().filter(|name| Some(*name) != vlan.as_ref()).find(wanted);
        self.holder = port.cloned().or(self.holder.take());
        port.cloned()
    }

    fn set_static(&mut self, consoles: &mut Consoles) {
        if self.is_static_done || self.network.addresses.is_empty() {
            return;
        }
        let name = self.network.vlan.map(vlan_name).or_else(|| self.port());
        let Some((name, port)) = name.and_then(|name| {
            let port = self.ports.get_mut(&name)?;
            Some((name, port))
        }) else {
            return;
        };
        self.is_static_done = true;
        let taken = Taken::beside(&self.network);
        if taken != Taken::Nothing {
            set_up(consoles, &name, taken);
        }
        for (address, prefix) in &self.network.addresses {
            port.addresses.push((*address, *prefix));
            match set_address(port.link, *address, *prefix) {
                Ok(()) => consoles.say(&format!("network: {name} has {address}/{prefix}")),
                Err(error) => consoles.say(&format!("network: {name}: {address}: {error}")),
            }
        }
        // Behind all addresses: any of them may have the gateway in its network.
        for gateway in &self.network.gateways {
            if let Err(error) = lead_out(port.link, *gateway, &port.addresses) {
                consoles.say(&format!("network: {name}: gateway {gateway}: {error}"));
            }
        }
    }

    fn write_resolv_conf(&mut self) -> bool {
        let told = self.leases().flat_map(|lease| lease.name_servers.iter().copied());
        let text = self.network.resolv_conf(&told.map(IpAddr::V4).collect::<Vec<_>>());
        if text == self.resolv_conf {
            return false;
        }
        self.resolv_conf = text;
        fs::write("/etc/resolv.conf", &self.resolv_conf).is_ok()
    }
}

impl Port {
    /// Its addresses, with their networks.
    fn words(&self) -> Vec<String> {
        let all = self.addresses.iter().chain(&self.advertised);
        all.map(|(address, prefix)| format!("{address}/{prefix}")).collect()
    }

    /// Gives back what `network` gave it.
    fn leave(&self, network: &Network) -> io::Result<()> {
        if self.addresses.is_empty() {
            return Ok(());
        }
        if self.dhcp.is_none() {
            for gateway in &network.gateways {
                // One that the kernel dropped by itself is gone as well.
                let _ = tell_kernel(&[rtnetlink::delete_default_route(1, self.link, *gateway)]);
            }
        }
        // The last first: with the first of a network the kernel drops the others.
        let left = self.addresses.iter().rev().map(|(address, prefix)| {
            tell_kernel(&[rtnetlink::delete_address(1, self.link, *address, *prefix)])
        });
        left.fold(Ok(()), Result::and)
    }
}

/// Settings of a port before it has addresses.
fn set_up(consoles: &mut Consoles, name: &str, taken: Taken) {
    for trouble in settings(name, taken) {
        consoles.say(&format!("network: {name}: {trouble}"));
    }
}

/// The kernel's number of a link.
fn link_of(name: &str) -> Option<u32> {
    files::word(sys(name, "ifindex")).parse().ok()
}

fn is_ethernet(name: &str) -> bool {
    files::word(sys(name, "type")) == ETHERNET
}

/// What the link of a VLAN is called.
fn vlan_name(vlan: u16) -> String {
    format!("vlan{vlan}")
}
