//! What time servers may say to PID 1, out of any bytes, and a client that
//! hears it.
//!
//! Oracle: the clock is set only by a server that was asked and has repeated
//! its number, never to a time before the program was written, and by nothing
//! that it leaves alone; the client still wants to be called at some time, and
//! asks no server twice at once.

use std::net::SocketAddr;
use std::time::Duration;

use init::clock::{Action, Client, ERROR_MIN, SERVERS_MAX};

/// What the clock shows when the client begins: the first of January 2027.
const WALL: Duration = Duration::from_secs(1_798_761_600);
/// The first of January 2026.
const FLOOR: Duration = Duration::from_secs(1_767_225_600);

/// Runs the target.
pub fn init_sntp(data: &[u8]) {
    // The first octet says how many servers there are, the number that they
    // repeat stands in the packet, so that most are believed.
    let [servers, packet @ ..] = data else { return };
    let Some(number) = packet.get(24..32) else { return };
    let number = u64::from_be_bytes(number.try_into().expect("eight octets"));
    let count = usize::from(*servers) % (SERVERS_MAX + 2);
    let servers: Vec<SocketAddr> =
        (1u16..).map(|port| ([192, 0, 2, 1], port).into()).take(count).collect();
    let mut client = Client::default();
    let (mut now, mut wall) = (Duration::from_secs(1), WALL);
    client.set_servers(now, &servers);
    for _ in 0..20 {
        let asked = client.tick(now, wall, || number);
        assert!(asked.len() <= SERVERS_MAX);
        let mut actions = Vec::new();
        for server in &servers {
            actions.extend(client.heard(now + Duration::from_millis(3), *server, packet));
        }
        for action in asked.into_iter().chain(actions) {
            if let Action::Set(nanos) = action {
                assert!(count > 0 && nanos.unsigned_abs() >= ERROR_MIN.as_nanos() as u64);
                let by = Duration::from_nanos(nanos.unsigned_abs());
                wall = if nanos < 0 { wall.saturating_sub(by) } else { wall.saturating_add(by) };
                assert!(wall + Duration::from_secs(2) >= FLOOR, "{wall:?}");
            }
        }
        let Some(next) = client.next() else {
            assert_eq!(count, 0);
            return;
        };
        assert!(next > now, "a question without end");
        now = next;
    }
}
