//! The network ports: brought up as they appear, with the addresses of
//! `network.conf` or those that DHCP gives.
//!
//! Never decides what to ask or when: `init::lease` does. Sockets never wait.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use init::dhcp::Answer;
use init::lease::{Action, Client};
use init::network::Network;
use init::rtnetlink;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, SockaddrIn, bind, recv,
    sendto, setsockopt, socket, sockopt,
};

use super::consoles::Consoles;
use super::files;

/// Octets of a DHCP packet that are read.
const PACKET_BYTES_MAX: usize = 1_500;
/// Packets heard at one port in one turn.
const PACKETS_MAX: usize = 64;
/// Ports beyond this many are left alone.
const PORTS_MAX: usize = 32;
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
    resolv_conf: String,
}

#[derive(Debug)]
struct Port {
    link: u32,
    has_carrier: bool,
    dhcp: Option<(UdpSocket, Client)>,
    addresses: Vec<(IpAddr, u8)>,
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
        self.look(consoles, now);
    }

    /// Looks for new ports, and for links that came back.
    pub fn look(&mut self, consoles: &mut Consoles, now: Duration) {
        self.find(consoles, now);
        if self.add_vlan(consoles) {
            self.find(consoles, now);
        }
        self.set_static(consoles);
    }

    fn find(&mut self, consoles: &mut Consoles, now: Duration) {
        for name in names() {
            let has_carrier = files::word(sys(&name, "carrier")) == "1";
            if let Some(port) = self.ports.get_mut(&name) {
                let came = has_carrier && !std::mem::replace(&mut port.has_carrier, has_carrier);
                if let (true, Some((_, client))) = (came, &mut port.dhcp) {
                    client.link_is_back(now);
                }
            } else if self.ports.len() < PORTS_MAX {
                match self.add(&name, has_carrier) {
                    Ok(port) => drop(self.ports.insert(name, port)),
                    Err(error) => consoles.say(&format!("network: {name}: {error}")),
                }
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
                        let gateway = lease.gateway.map(IpAddr::V4);
                        set_address(port.link, own, lease.prefix, gateway)
                    }
                    Action::Drop(lease) => {
                        consoles.say(&format!("network: {name} lost {}", lease.address));
                        port.addresses.clear();
                        let own = IpAddr::V4(lease.address);
                        tell_kernel(&[rtnetlink::delete_address(1, port.link, own, lease.prefix)])
                    }
                };
                // Without a cable nothing can be sent, and that is no news.
                if let Err(error) = done.map_err(|error| error.raw_os_error())
                    && error != Some(Errno::ENETDOWN as i32)
                {
                    consoles.say(&format!("network: {name}: error {error:?}"));
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

    fn add(&self, name: &str, has_carrier: bool) -> io::Result<Port> {
        let link = files::word(sys(name, "ifindex")).parse().map_err(io::Error::other)?;
        tell_kernel(&[rtnetlink::link_up(1, link)])?;
        let asks = match self.network.vlan {
            Some(vlan) => name == vlan_name(vlan),
            None => files::word(sys(name, "type")) == ETHERNET,
        };
        let dhcp = match hardware(&files::word(sys(name, "address"))) {
            Some(hardware) if asks && self.network.addresses.is_empty() => {
                Some((dhcp_socket(name)?, Client::new(hardware, random())))
            }
            _ => None,
        };
        Ok(Port { link, has_carrier, dhcp, addresses: Vec::new() })
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
    fn port(&self) -> Option<String> {
        let vlan = self.network.vlan.map(vlan_name);
        let wanted = |name: &&String| match &self.network.interface {
            Some(wanted) => *wanted == **name || *wanted == files::word(sys(name, "address")),
            None => files::word(sys(name, "type")) == ETHERNET,
        };
        // A VLAN has the hardware address of its port.
        self.ports.keys().filter(|name| Some(*name) != vlan.as_ref()).find(wanted).cloned()
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
        for (address, prefix) in &self.network.addresses {
            let same_family = |gateway: &&IpAddr| gateway.is_ipv4() == address.is_ipv4();
            let gateway = self.network.gateways.iter().find(same_family);
            port.addresses.push((*address, *prefix));
            match set_address(port.link, *address, *prefix, gateway.copied()) {
                Ok(()) => consoles.say(&format!("network: {name} has {address}/{prefix}")),
                Err(error) => consoles.say(&format!("network: {name}: {address}: {error}")),
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
        self.addresses.iter().map(|(address, prefix)| format!("{address}/{prefix}")).collect()
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

/// What the link of a VLAN is called.
fn vlan_name(vlan: u16) -> String {
    format!("vlan{vlan}")
}

/// Ports and loopback, by name.
fn names() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/class/net") else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn sys(name: &str, file: &str) -> impl AsRef<Path> {
    Path::new("/sys/class/net").join(name).join(file)
}

/// `52:54:00:12:34:56`, and no other than six octets.
fn hardware(text: &str) -> Option<[u8; 6]> {
    let octets: Vec<u8> =
        text.split(':').map(|two| u8::from_str_radix(two, 16).ok()).collect::<Option<_>>()?;
    octets.try_into().ok()
}

/// A number that nobody else on the wire has.
fn random() -> u32 {
    let mut four = [0; 4];
    let read = fs::File::open("/dev/urandom")
        .and_then(|mut pool| io::Read::read_exact(&mut pool, &mut four));
    read.expect("every kernel has random numbers");
    u32::from_ne_bytes(four)
}

fn dhcp_socket(name: &str) -> io::Result<UdpSocket> {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        None,
    )?;
    setsockopt(&socket, sockopt::Broadcast, &true)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    setsockopt(&socket, sockopt::BindToDevice, &name.into())?;
    bind(socket.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, 68))?;
    Ok(UdpSocket::from(socket))
}

fn send(socket: &UdpSocket, packet: &[u8], to: Option<Ipv4Addr>) -> io::Result<()> {
    socket.send_to(packet, (to.unwrap_or(Ipv4Addr::BROADCAST), 67)).map(drop)
}

fn set_address(link: u32, address: IpAddr, prefix: u8, gateway: Option<IpAddr>) -> io::Result<()> {
    let mut requests = vec![rtnetlink::add_address(1, link, address, prefix)];
    requests.extend(gateway.map(|gateway| rtnetlink::default_route(2, link, gateway)));
    tell_kernel(&requests)
}

/// Puts requests to the kernel, numbered from 1, and hears its answers.
fn tell_kernel(requests: &[Vec<u8>]) -> io::Result<()> {
    let netlink: OwnedFd = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    let kernel = NetlinkAddr::new(0, 0);
    for (request, sequence) in requests.iter().zip(1..) {
        sendto(netlink.as_raw_fd(), request, &kernel, MsgFlags::empty())?;
        // The kernel has answered before `sendto` returns.
        let mut answer = [0; 4 << 10];
        let count = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT)?;
        match rtnetlink::outcome(&answer[..count], sequence) {
            Some(0) => {}
            Some(error) => return Err(io::Error::from_raw_os_error(error)),
            None => return Err(io::Error::other("the kernel answered something else")),
        }
    }
    Ok(())
}
