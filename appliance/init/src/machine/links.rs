//! What the kernel is told of links and tells of them, and the sockets on them.
//!
//! Never decides anything: `super::ports` does. Sockets never wait.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use init::advertised::Taken;
use init::network::is_outside;
use init::rtnetlink;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, SockaddrIn, bind, recv,
    sendto, setsockopt, socket, sockopt,
};

/// Ports and loopback, by name.
pub fn names() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/class/net") else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A file of a link in sysfs.
pub fn sys(name: &str, file: &str) -> impl AsRef<Path> {
    Path::new("/sys/class/net").join(name).join(file)
}

/// Settings of a port before it gets addresses, and what it takes of router
/// advertisements; what could not be set, and why.
pub fn settings(name: &str, taken: Taken) -> Vec<String> {
    // Two ports may each have a way out: one without a cable is none.
    const LINK_DOWN: (&str, &str) = ("ignore_routes_with_linkdown", "1");
    let advertised = taken.settings().map(|setting| ("ipv6", setting));
    let all = [("ipv4", LINK_DOWN), ("ipv6", LINK_DOWN)].into_iter().chain(advertised);
    let mut troubles = Vec::new();
    for (family, (setting, value)) in all {
        let place = format!("/proc/sys/net/{family}/conf/{name}/{setting}");
        match fs::write(place, value) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                troubles.push(format!("{family} {setting}: {error}"));
            }
            _ => {}
        }
    }
    troubles
}

/// `52:54:00:12:34:56`, and no other than six octets.
pub fn hardware(text: &str) -> Option<[u8; 6]> {
    let octets: Vec<u8> =
        text.split(':').map(|two| u8::from_str_radix(two, 16).ok()).collect::<Option<_>>()?;
    octets.try_into().ok()
}

/// A number that nobody else on the wire has.
pub fn random() -> u32 {
    let mut four = [0; 4];
    let read = fs::File::open("/dev/urandom")
        .and_then(|mut pool| io::Read::read_exact(&mut pool, &mut four));
    read.expect("every kernel has random numbers");
    u32::from_ne_bytes(four)
}

/// What a DHCP client on the port hears and says.
pub fn dhcp_socket(name: &str) -> io::Result<UdpSocket> {
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

/// Sends to the servers' port, of all or of one.
pub fn send(socket: &UdpSocket, packet: &[u8], to: Option<Ipv4Addr>) -> io::Result<()> {
    socket.send_to(packet, (to.unwrap_or(Ipv4Addr::BROADCAST), 67)).map(drop)
}

/// Gives the link an address with the bits of its network.
pub fn set_address(link: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
    tell_kernel(&[rtnetlink::add_address(1, link, address, prefix)])
}

/// Makes `gateway` the way to everything else of a link with these addresses.
pub fn lead_out(link: u32, gateway: IpAddr, addresses: &[(IpAddr, u8)]) -> io::Result<()> {
    let is_outside = is_outside(gateway, addresses);
    tell_kernel(&[rtnetlink::default_route(1, link, gateway, is_outside)])
}

/// Puts requests to the kernel, numbered from 1, and hears its answers.
pub fn tell_kernel(requests: &[Vec<u8>]) -> io::Result<()> {
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
