//! Network settings on trial: an address that locks everybody out is undone by
//! itself, also after the power went; a cable that goes and comes back; and VLANs,
//! frame by frame.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use super::guest::{Boot, Drive, Guest, Hardware, Wire, free_port};
use super::waiting::Waiting;
use super::{HEALTHY_TIME, healthy};
use crate::image::{Image, data};

/// Where nobody reaches the guest in the emulator's network.
const ASTRAY: &str = "address = 192.0.2.10/24\ngateway = 192.0.2.1\n";
/// How long the guest may take for a banner before it counts as out of reach.
const BANNER_TIME: Duration = Duration::from_secs(3);
/// How long an answer on the wire is waited for before it is asked again.
const FRAME_TIME: Duration = Duration::from_secs(1);
/// The VLAN, and two addresses on it.
const VLAN: u16 = 100;
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 10), Ipv4Addr::new(192, 0, 2, 11)];

/// All of it.
///
/// # Errors
/// The first promise that was not kept.
pub fn run(image: &Image, folder: &Path) -> io::Result<()> {
    let waiting = Waiting::start()?;
    let disk = waiting.disk(image, folder, "", "")?;
    let mut guest = healthy(image, folder, &disk, Boot::Kernel)?;
    waiting.hand_over(&guest, 1)?;
    a_cable_goes_and_comes(&mut guest, &waiting)?;
    drop(guest);
    undone_by_itself(image, folder, &disk, &waiting)?;
    undone_by_a_power_cut(image, folder, &disk, &waiting)?;
    on_a_vlan(image, folder, &disk)
}

/// Twice, since what is not kept of the first time is not seen the second; the
/// address stays, and mail goes on.
fn a_cable_goes_and_comes(guest: &mut Guest, waiting: &Waiting) -> io::Result<()> {
    for _ in 0..2 {
        guest.forget();
        guest.plug(false)?;
        println!("{}", guest.wait_for("eth0: the cable is away", HEALTHY_TIME)?);
        guest.plug(true)?;
        println!("{}", guest.wait_for("eth0: the cable is back", HEALTHY_TIME)?);
    }
    waiting.hand_over(guest, 1)
}

/// Nobody confirms; the address before is there again.
fn undone_by_itself(
    image: &Image,
    folder: &Path,
    disk: &Path,
    waiting: &Waiting,
) -> io::Result<()> {
    let mut guest = on_trial(image, folder, disk, 20)?;
    if greets(guest.port()) {
        return Err(guest.blamed("it is still reached: the trial tries nothing"));
    }
    println!("{}", guest.wait_for("network settings: undone: nobody", HEALTHY_TIME)?);
    guest.forget();
    println!("{}", guest.wait_for("has 10.0.2.15/24 by DHCP", HEALTHY_TIME)?);
    waiting.hand_over(&guest, 1)
}

/// The power goes during the trial; the next start has the address before.
fn undone_by_a_power_cut(
    image: &Image,
    folder: &Path,
    disk: &Path,
    waiting: &Waiting,
) -> io::Result<()> {
    let mut guest = on_trial(image, folder, disk, 3_600)?;
    guest.kill();
    let mut guest = healthy(image, folder, disk, Boot::Kernel)?;
    println!("{}", guest.wait_for("network settings: undone: the machine", HEALTHY_TIME)?);
    println!("{}", guest.wait_for("eth0 up 10.0.2.15/24", HEALTHY_TIME)?);
    waiting.hand_over(&guest, 1)?;
    drop(guest);
    let first = data::names(disk, "/")?;
    match first.iter().find(|name| name.starts_with("network.")) {
        None => Ok(()),
        Some(left) => Err(io::Error::other(format!("{left} was left behind"))),
    }
}

/// A guest that tries settings which lead astray.
fn on_trial(image: &Image, folder: &Path, disk: &Path, seconds: u32) -> io::Result<Guest> {
    let proposal = format!("confirm = {seconds}\n{ASTRAY}");
    data::put(disk, folder, "/appliance", "network.new", &proposal)?;
    let mut guest = healthy(image, folder, disk, Boot::Kernel)?;
    println!("{}", guest.wait_for("network settings: on trial", HEALTHY_TIME)?);
    println!("{}", guest.wait_for("eth0 has 192.0.2.10/24", HEALTHY_TIME)?);
    Ok(guest)
}

/// Whether the guest's server is heard at the forwarded port.
fn greets(port: u16) -> bool {
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    let Ok(mut stream) = TcpStream::connect_timeout(&to, BANNER_TIME) else { return false };
    let mut first = [0];
    stream.set_read_timeout(Some(BANNER_TIME)).is_ok() && stream.read_exact(&mut first).is_ok()
}

/// Both addresses are on the VLAN: whoever asks there in a tagged frame is
/// answered in one.
fn on_a_vlan(image: &Image, folder: &Path, disk: &Path) -> io::Result<()> {
    let [one, other] = ADDRESSES;
    let network = format!("vlan = {VLAN}\naddress = {one}/24\naddress = {other}/24\n");
    data::put(disk, folder, "/", "network.conf", &network)?;
    let wire = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let far = free_port()?;
    let emulated = Hardware::emulated(Boot::Kernel);
    let hardware = Hardware { wire: Wire::Frames(far, wire.local_addr()?.port()), ..emulated };
    let mut guest = Guest::start(image, folder, Drive::File(disk), &hardware)?;
    println!("{}", guest.wait_for("HEALTHY", HEALTHY_TIME)?);
    println!("{}", guest.wait_for(&format!("vlan{VLAN} up {one}/24 {other}/24"), HEALTHY_TIME)?);
    wire.connect((Ipv4Addr::LOCALHOST, far))?;
    wire.set_read_timeout(Some(FRAME_TIME))?;
    for address in ADDRESSES {
        let ends = Instant::now() + HEALTHY_TIME;
        while !answers(&wire, address)? {
            if Instant::now() >= ends {
                return Err(guest.blamed(&format!("{address} does not answer on its VLAN")));
            }
        }
        println!("{address} answers in tagged frames");
    }
    Ok(())
}

/// Asks once who has `address`; whether the owner says so in a tagged frame.
fn answers(wire: &UdpSocket, address: Ipv4Addr) -> io::Result<bool> {
    // Until the guest's card is there nobody hears it.
    let _ = wire.send(&question(address));
    let ends = Instant::now() + FRAME_TIME;
    let mut frame = [0; 2_048];
    while Instant::now() < ends {
        match wire.recv(&mut frame) {
            Ok(count) if is_answer(&frame[..count], address) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Who has this address? To all on the VLAN, from 192.0.2.1.
fn question(address: Ipv4Addr) -> Vec<u8> {
    let own = [2, 0, 0, 0, 0, 1];
    let mut frame = [0xff; 6].to_vec();
    frame.extend(own);
    frame.extend([0x81, 0, 0, VLAN as u8, 0x08, 0x06]);
    frame.extend([0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(own);
    frame.extend([192, 0, 2, 1]);
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame.resize(64, 0);
    frame
}

/// Whether a frame says on the VLAN that its sender has `address`.
fn is_answer(frame: &[u8], address: Ipv4Addr) -> bool {
    let tagged = [0x81, 0, 0, VLAN as u8, 0x08, 0x06];
    frame.get(12..18) == Some(&tagged[..])
        && frame.get(24..26) == Some(&[0, 2][..])
        && frame.get(32..36) == Some(&address.octets()[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_tagged_answer_of_the_owner_counts() {
        let [one, other] = ADDRESSES;
        let mut answer = question(one);
        assert!(!is_answer(&answer, one), "a question");
        answer[25] = 2;
        answer[32..36].copy_from_slice(&one.octets());
        assert!(is_answer(&answer, one));
        assert!(!is_answer(&answer, other));
        answer[15] = 7;
        assert!(!is_answer(&answer, one), "another VLAN");
        assert!(!is_answer(&answer[..20], one));
    }
}
