//! Ways of delivery as a newcomer sets them: nothing at all, hosts by name and
//! by address, several of them in order, name servers, a lifetime for each
//! domain.

use std::net::Ipv6Addr;

use crate::stories_support::{HOST, SENDER, world};
use sim::{Act, Host, START, Stage, World, minutes, seconds};

const SPARE: [u8; 4] = [198, 51, 100, 8];
const THIRD: [u8; 4] = [198, 51, 100, 9];
const SIXTH: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 8);

/// Nothing is set: the domain's exchanger has the mail, at port 25, hardly
/// later than its client was told that it is safe.
///
/// Shows: S0.5, S1.10, S3.6
#[test]
fn an_empty_configuration_delivers_by_mx_at_once() {
    let mut world = world("", Host::new());
    world.accept(0, "a@from.example", &["b@there.example"]);
    let told = world.now.mono;
    world.run_for(seconds(5));
    assert_eq!(world.at(HOST).delivered_to(), ["b@there.example"]);
    assert_eq!(world.network.dialled[0].port(), 25);
    let began = world.at(HOST).connects[0].since(told);
    assert!(began.as_millis() < 50, "dialled {began:?} after the 250");
    world.assert_over();
}

/// Whom names are asked of is shown with where that comes from: the machine, or
/// the setting, which takes effect at once.
///
/// Shows: S1.16, S2.6, S3.14, S4.5
#[test]
fn the_name_servers_are_shown_with_their_origin() {
    let mut world = world("", Host::new());
    let shown = |world: &mut World| {
        let body = world.command(control::Request::DnsServers).body;
        let server = body["servers"][0].as_str().unwrap_or_default().to_owned();
        (server, body["origin"].as_str().unwrap_or_default().to_owned())
    };
    let (server, origin) = shown(&mut world);
    assert_eq!((server.as_str(), origin.as_str()), ("192.0.2.53:53", "the machine's own"));
    world.configure("[dns]\nservers = [\"192.0.2.54\"]\n");
    let (server, origin) = shown(&mut world);
    assert_eq!((server.as_str(), origin.as_str()), ("192.0.2.54:53", "dns.servers"));
}

/// The first host refuses, the second is silent, the third takes the mail, all
/// of it one attempt; once it answers again, the first is preferred.
///
/// Shows: S0.3
#[test]
fn three_hosts_stand_in_for_each_other_in_their_order() {
    let config = "[delivery]\nmode = \"relay\"\ntimeout = \"10s\"\n\
                  hosts = [\"198.51.100.7\", \"198.51.100.8\", \"198.51.100.9\"]\n";
    let mut world = World::new(1, config);
    world.host(HOST, Host::new().always(Stage::Connect, Act::Drop));
    world.host(SPARE, Host::new().always(Stage::Connect, Act::Stall));
    world.host(THIRD, Host::new());
    world.accept(0, "a@from.example", &["b@there.example"]);
    world.run_for(seconds(30));
    assert_eq!(world.at(THIRD).delivered_to(), ["b@there.example"]);
    assert_eq!(world.logged("delivered")[0]["attempt"], 1);
    let dialled: Vec<String> = world.network.dialled.iter().map(|to| to.ip().to_string()).collect();
    assert_eq!(dialled, ["198.51.100.7", "198.51.100.8", "198.51.100.9"]);
    for host in [HOST, SPARE] {
        world.at(host).mend();
    }
    world.run_for(minutes(2));
    world.accept(0, "a@from.example", &["c@there.example"]);
    world.run_for(seconds(30));
    assert_eq!(world.at(HOST).delivered_to(), ["c@there.example"]);
    world.assert_over();
}

/// A host may be a name or an address of either family. For an address nobody
/// is asked anything, and so no name server is needed; for a name, its
/// addresses, and never an exchanger.
///
/// Shows: S0.4, S1.11, S1.17, S4.3
#[test]
fn a_relay_by_address_needs_no_name_server_and_one_by_name_no_exchanger() {
    for host in ["198.51.100.8:2525", "[2001:db8::8]:2525", "relay.isp.example:2525"] {
        let config = format!("[delivery]\nmode = \"relay\"\nhosts = [\"{host}\"]\n");
        let mut world = world(&config, Host::new());
        world.names.address("relay.isp.example", SPARE);
        let named = host.starts_with('r');
        if !named {
            for name in ["there.example", "other.example", "mx.there.example"] {
                world.names.fail(name, true);
            }
        }
        let relay = if host.starts_with('[') { SIXTH.into() } else { SPARE.into() };
        world.network.hosts.insert(relay, Host::new());
        world.accept(0, "a@from.example", &["b@there.example", "c@other.example"]);
        world.run_for(seconds(10));
        let took = &world.network.hosts[&relay];
        assert_eq!(took.delivered_to(), ["b@there.example", "c@other.example"], "{host}");
        assert_eq!(world.at(HOST).connects.len(), 0, "{host}");
        assert_eq!(world.network.dialled[0].port(), 2525, "{host}");
        let of_relay = |name: &String| name == "relay.isp.example";
        assert!(world.names.asked.iter().all(of_relay), "{host}: {:?}", world.names.asked);
        assert_eq!(world.names.asked.is_empty(), !named, "{host}");
        world.assert_over();
    }
}

/// An exchanger with addresses of both families, of which the preferred one
/// does not answer: the other one gets the mail, within the same attempt.
///
/// Shows: A19
#[test]
fn the_other_family_stands_in_within_one_attempt() {
    for (family, dead) in [("ipv6-first", true), ("ipv4-first", false)] {
        let mut world = world(&format!("[egress]\nfamily = \"{family}\"\n"), Host::new());
        world.names.address_v6("mx.there.example", SIXTH);
        world.network.hosts.insert(SIXTH.into(), Host::new());
        let (preferred, other) =
            if dead { (SIXTH.into(), HOST.into()) } else { (HOST.into(), SIXTH.into()) };
        let refusing = Host::new().always(Stage::Connect, Act::Drop);
        world.network.hosts.insert(preferred, refusing);
        world.accept(0, "a@from.example", &["b@there.example"]);
        world.run_for(seconds(10));
        assert_eq!(world.network.dialled[0].ip(), preferred, "{family}");
        assert_eq!(world.network.hosts[&other].got.len(), 1, "{family}");
        assert_eq!(world.logged("delivered")[0]["attempt"], 1, "{family}");
        world.assert_over();
    }
}

/// Each domain has waits and a lifetime of its own: two domains that nobody
/// takes mail for end at two times, after attempts of two rhythms.
///
/// Shows: S1.12, S1.13
#[test]
fn each_domain_has_its_own_lifetime_and_waits() {
    let config = "[delivery]\njitter = \"0%\"\ndelay_notice = \"none\"\n\
        [[route]]\nmatch = \"there.example\"\nretry = \"5m\"\nlifetime = \"22m\"\n\
        [[route]]\nmatch = \"other.example\"\nretry = \"20m\"\nlifetime = \"65m\"\n";
    let mut world = world(config, Host::new().always(Stage::Rcpt, Act::Say(450, "later")));
    world.names.mx("other.example", 10, "mx.there.example");
    for to in ["b@there.example", "c@other.example"] {
        world.accept(0, "a@from.example", &[to]);
    }
    for (ended, after) in [(1, 22), (2, 65)] {
        world.run_until("an end", |world| world.logged("expired").len() == ended);
        let at = world.now.wall.since(START);
        assert!(at >= minutes(after) && at < minutes(after) + seconds(2), "{ended}: {at:?}");
    }
    world.run_for(seconds(10));
    let tries = |to: &str| world.logged("deferred").iter().filter(|line| line["to"] == to).count();
    assert_eq!((tries("b@there.example"), tries("c@other.example")), (5, 4));
    assert_eq!(world.at(SENDER).got.len(), 2, "each has its report");
    world.assert_over();
}
