//! Ringpost under load: its configuration from the scenario, its own words on
//! syncs, delivery stopped and started by its own verbs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use toml::{Table, Value};

use super::{Place, Running, START_MAX, Server, write};
use crate::bench::child::{Child, call};
use crate::bench::plan::{Way, merge};

/// How to talk to the daemon.
#[derive(Debug)]
pub(super) struct Ringpost {
    program: PathBuf,
    data: String,
}

/// Starts it on `place`, and on what its folder holds from before.
pub(super) fn start(program: &Path, place: &Place<'_>, held: bool) -> Result<Server, String> {
    let configuration = configuration(place);
    let file = place.folder.join("ringpost.toml");
    write(&file, &configuration)?;
    let data = place.folder.join("data").display().to_string();
    let words = ["serve", "--config", &file.display().to_string(), "--data", &data];
    let words = words.map(str::to_owned);
    let mut child = Child::start("ringpost", program, &words, &[], &place.folder)?;
    child.until("ready", START_MAX).map_err(|why| {
        let complaint = std::fs::read_to_string(place.folder.join("ringpost.err"));
        format!("{why}\n{}", complaint.unwrap_or_default().trim())
    })?;
    let ringpost = Ringpost { program: program.to_owned(), data };
    if held {
        call(program, &["delivery", "stop", "--data", &ringpost.data])?;
    }
    let kind = Running::Ringpost(ringpost);
    Ok(Server { configuration, child, stop: Signal::TERM, kind })
}

impl Ringpost {
    pub(super) fn release(&self) -> Result<(), String> {
        call(&self.program, &["delivery", "start", "--data", &self.data]).map(|_| ())
    }

    pub(super) fn syncs(&self) -> Option<u64> {
        let said = call(&self.program, &["status", "--json", "--data", &self.data]).ok()?;
        let status: serde_json::Value = serde_json::from_str(&said).ok()?;
        status["counters"]["syncs"].as_u64()
    }
}

/// The configuration file: everything as it comes but for the small internet,
/// no limit of connections coming in, and what the scenario sets.
fn configuration(place: &Place<'_>) -> String {
    let plan = place.plan;
    let list = |one: SocketAddr| Value::Array(vec![Value::String(one.to_string())]);
    let mut submission = Table::new();
    submission.insert("listen".into(), list(place.listen));
    submission.insert("max_connections".into(), Value::Integer(100_000));
    submission.insert("max_connections_per_peer".into(), Value::Integer(100_000));
    if let Some((certificate, key)) = &place.certificate {
        let path = |path: &Path| Value::String(path.display().to_string());
        let both = [("certificate".to_owned(), path(certificate)), ("key".to_owned(), path(key))];
        submission.insert("tls".into(), Value::Table(Table::from_iter(both)));
    }
    let mut delivery = Table::new();
    match plan.way {
        Way::Relay => {
            delivery.insert("mode".into(), "relay".into());
            delivery.insert("hosts".into(), list(place.relay));
        }
        Way::Mx => {
            delivery.insert("port".into(), Value::Integer(place.port.into()));
        }
    }
    let tls = if plan.tls { "opportunistic" } else { "none" };
    delivery.insert("tls".into(), tls.into());
    let mut egress = Table::new();
    egress.insert("permit".into(), Value::Array(vec!["127.0.0.0/8".into()]));
    egress.insert("family".into(), "ipv4".into());
    let mut whole = Table::new();
    whole.insert("hostname".into(), "bench.ringpost.example".into());
    whole.insert("submission".into(), Value::Table(submission));
    whole.insert("delivery".into(), Value::Table(delivery));
    whole.insert("egress".into(), Value::Table(egress));
    let servers = [("servers".to_owned(), list(place.dns))];
    whole.insert("dns".into(), Value::Table(Table::from_iter(servers)));
    merge(&mut whole, &plan.ringpost);
    toml::to_string(&whole).expect("a table can be written")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::plan::Plan;

    #[test]
    fn the_scenario_sets_over_what_the_harness_sets() {
        let text = "way = \"mx\"\ndomains = 4\nsites = 2\n[ringpost]\nshards = 1\n\
                    [ringpost.delivery]\nretry = [\"1s\"]\nport = 2600\n";
        let plan = Plan::parse(text, &[]).unwrap();
        let address = |text: &str| text.parse().unwrap();
        let place = Place {
            plan: &plan,
            folder: PathBuf::new(),
            listen: address("127.0.0.1:2525"),
            relay: address("127.77.0.1:2600"),
            port: 2_599,
            dns: address("127.0.0.1:5353"),
            certificate: None,
        };
        let whole: Table = toml::from_str(&configuration(&place)).unwrap();
        assert_eq!(whole["shards"].as_integer(), Some(1));
        assert_eq!(whole["delivery"]["port"].as_integer(), Some(2_600));
        assert_eq!(whole["delivery"]["tls"].as_str(), Some("none"));
        assert_eq!(whole["delivery"].get("hosts"), None, "by MX");
        assert_eq!(whole["dns"]["servers"][0].as_str(), Some("127.0.0.1:5353"));
    }
}
