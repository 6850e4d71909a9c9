//! What a DHCP server may say to PID 1, out of any bytes, and a client that
//! hears it.
//!
//! Oracle: an answer has a network of 1 to 32 bits and few name servers; a
//! client that heard it still wants to be called at some time, asks no more than
//! twice at once, and gives up at most what it had.

use std::time::Duration;

use init::dhcp::{Answer, Kind, SERVERS_MAX};
use init::lease::{Action, Client};

/// Runs the target.
pub fn init_dhcp(data: &[u8]) {
    // The packet says whom it answers, so that most are believed.
    let (Some(exchange), Some(hardware)) = (data.get(4..8), data.get(28..34)) else { return };
    let exchange = u32::from_be_bytes(exchange.try_into().expect("four octets"));
    let hardware = hardware.try_into().expect("six octets");
    if let Some(answer) = Answer::decode(data, exchange, hardware) {
        assert!((1..=32).contains(&answer.prefix));
        assert!(answer.name_servers.len() <= SERVERS_MAX);
        assert!(answer.kind == Kind::Nak || !answer.address.is_unspecified());
    }
    let mut client = Client::new(hardware, exchange);
    let mut now = Duration::from_secs(1);
    let mut offer = data.to_vec();
    for turn in 0u8..40 {
        // The kind alternates, so that offers are followed by their settlement.
        if let Some(kind) = offer.get_mut(242) {
            *kind = [2, 5, 5, 6][usize::from(turn % 4)];
        }
        let had = client.lease().is_some();
        let actions = client.heard(now, &offer);
        assert!(actions.len() <= 2);
        let dropped = actions.iter().any(|action| matches!(action, Action::Drop(_)));
        assert!(had || !dropped, "nothing was held");
        // Now and then the cable was away, so that it asks for what it had.
        if turn % 7 == 3 {
            client.link_is_back(now);
        }
        now = now.max(client.next());
        let actions = client.tick(now);
        assert!(actions.len() <= 2);
        assert!(client.next() > now, "a question without end");
    }
}
