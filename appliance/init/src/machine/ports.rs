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
    is_static_done: bool,
    resolv_conf: String,
}

#[derive(Debug)]
struct Port {
    link: u32,
    has_carrier: bool,
    dhcp: Option<(UdpSocket, Client)>,
    addresses: Vec<String>,
}

impl Ports {
    /// No port yet, and what is wanted of them.
    pub fn with(network: Network) -> Self {
        Self { network, ..Self::default() }
    }

    /// Looks for new ports, and for links that came back.
    pub fn look(&mut self, consoles: &mut Consoles, now: Duration) {
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
        self.set_static(consoles);
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
        self.ports.values().flat_map(|port| port.addresses.clone()).collect()
    }

    /// Shows each port with its state.
    pub fn tell(&self, consoles: &mut Consoles) {
        for (name, port) in &self.ports {
            let addresses = port.addresses.join(" ");
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
                        let address = format!("{}/{}", lease.address, lease.prefix);
                        if port.addresses != [address.clone()] {
                            consoles.say(&format!("network: {name} has {address} by DHCP"));
                        }
                        port.addresses = vec![address];
                        let own = IpAddr::V4(lease.address);
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
        let is_port = files::word(sys(name, "type")) == ETHERNET;
        let dhcp = match hardware(&files::word(sys(name, "address"))) {
            Some(hardware) if is_port && self.network.addresses.is_empty() => {
                Some((dhcp_socket(name)?, Client::new(hardware, random())))
            }
            _ => None,
        };
        Ok(Port { link, has_carrier, dhcp, addresses: Vec::new() })
    }

    fn set_static(&mut self, consoles: &mut Consoles) {
        if self.is_static_done || self.network.addresses.is_empty() {
            return;
        }
        let wanted = |name: &str| match &self.network.interface {
            Some(wanted) => wanted == name || *wanted == files::word(sys(name, "address")),
            None => files::word(sys(name, "type")) == ETHERNET,
        };
        let Some((name, port)) = self.ports.iter_mut().find(|(name, _)| wanted(name)) else {
            return;
        };
        self.is_static_done = true;
        for (address, prefix) in &self.network.addresses {
            let same_family = |gateway: &&IpAddr| gateway.is_ipv4() == address.is_ipv4();
            let gateway = self.network.gateways.iter().find(same_family);
            port.addresses.push(format!("{address}/{prefix}"));
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
