//! What many stories begin with.

use sim::{Host, World};

/// The one exchanger of `there.example`.
pub const HOST: [u8; 4] = [198, 51, 100, 7];
/// The one exchanger of `from.example`, where reports go.
pub const SENDER: [u8; 4] = [198, 51, 100, 99];

/// How a story that is told several times makes its host anew.
pub type NewHost = fn() -> Host;

/// One shard, `there.example` at [`HOST`], and the sender's domain.
pub fn world(config: &str, host: Host) -> World {
    let mut world = World::new(1, config);
    world.names.exchanger("there.example", 10, "mx.there.example", HOST);
    world.names.exchanger("from.example", 10, "mx.from.example", SENDER);
    world.host(SENDER, Host::new());
    world.host(HOST, host);
    world
}
