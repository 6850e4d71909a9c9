//! A time server for the guest, which tells the time of this machine.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

/// Octets of a packet.
const PACKET_BYTES: usize = 48;
/// Seconds from the first of January 1900 to that of 1970.
const EPOCH: u64 = 2_208_988_800;

/// Starts one on a free port of this machine; its thread ends with this program.
/// Returns the line by which a guest's `network.conf` names it: each start of the
/// emulator shows the same month, and mail and certificates have their times.
///
/// # Errors
/// There is no port.
pub fn serve() -> io::Result<String> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = socket.local_addr()?.port();
    thread::spawn(move || {
        let mut packet = [0; PACKET_BYTES];
        while let Ok((count, from)) = socket.recv_from(&mut packet) {
            if count == PACKET_BYTES && socket.send_to(&answer(&packet), from).is_err() {
                return;
            }
        }
    });
    Ok(format!("timeserver = 10.0.2.2:{port}\n"))
}

/// What RFC 5905 has a server of stratum 1 answer.
fn answer(question: &[u8; PACKET_BYTES]) -> [u8; PACKET_BYTES] {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = (now.as_secs() + EPOCH) & 0xffff_ffff;
    let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
    let time = (seconds << 32 | fraction).to_be_bytes();
    let mut packet = [0; PACKET_BYTES];
    (packet[0], packet[1]) = (0b00_100_100, 1);
    packet[24..32].copy_from_slice(&question[40..]);
    packet[32..40].copy_from_slice(&time);
    packet[40..].copy_from_slice(&time);
    packet
}
