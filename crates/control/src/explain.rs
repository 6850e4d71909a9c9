//! Which way an address goes, and where each of its settings comes from: the
//! part of `ringpost explain` that follows from the configuration alone.
//!
//! A function of policy and address; what is going on right now is the shards'
//! to add. Never shows a secret: settings name files at most.

use mail::Address;
use serde_json::{Value, json};

use crate::config::local::OF_WAY;
use crate::config::way::bit;
use crate::delivery::{Delivery, Origin};
use crate::local::{Accepted, Fate, Nobody};
use crate::policy::Policy;
use crate::render::{SETTINGS, deliver};
use crate::units::Span;

/// What the policy says about mail to `address`.
pub fn explain(policy: &Policy, address: &Address) -> Value {
    let way = policy.route(address);
    let routes = policy.patterns().len();
    let ignored = policy.ignored_route(address).map(|route| &*route.name);
    let because = match way.index.0 {
        _ if way.is_local => format!(
            "its domain is local: \"{}\" goes before all routes, and hands it to {}",
            way.name,
            deliver(way)
        ),
        _ if !policy.obeys_routes() && routes > 0 => {
            "routes_in_relay_mode is \"ignore\": in relay mode everything goes the default way"
                .to_owned()
        }
        0 if routes == 0 => "there are no routes: everything goes the default way".to_owned(),
        0 => format!("none of the {routes} routes takes it: it goes the default way"),
        n => format!("route {n} of {routes} is the first that takes it"),
    };
    json!({
        "address": address.to_string(),
        "route": &*way.name,
        "route_number": way.index.0,
        "because": because,
        "ignored_route": ignored,
        "local": local(policy, address),
        "settings": settings(way),
    })
}

/// What the entry of a local address makes of it; null for all others.
pub fn local(policy: &Policy, address: &Address) -> Value {
    let Some(place) = policy.locals.find(address) else { return Value::Null };
    let decision = match policy.locals.accept(address) {
        Ok(Accepted::AsIs) => match policy.locals.fate(address) {
            Fate::Deliver => "delivered",
            Fate::Bounce => "unknown here: taken and returned",
            Fate::Hold => "unknown here: taken and held",
        },
        Ok(Accepted::Instead(_)) => "passed to others",
        Err(Nobody::Unknown) => "unknown here: refused (550)",
        Err(Nobody::Endless) => "its aliases lead to too many or in a circle: put off (451)",
    };
    let instead = match policy.locals.accept(address) {
        Ok(Accepted::Instead(all)) => all.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    };
    json!({
        "entry": place + 1,
        "deliver": deliver(policy.route(address)),
        "decision": decision,
        "passed_to": instead,
    })
}

fn settings(way: &Delivery) -> Vec<Value> {
    let row = |key: &str, value: String, bit: u64| json!({ "key": key, "value": value, "from": from(way, bit) });
    let has = |key: &str| !way.is_local || OF_WAY.contains(&key);
    let plain = SETTINGS.iter().filter(|(key, ..)| has(key));
    let plain = plain.filter_map(|(key, _, value)| Some(row(key, value(way)?, bit(key))));
    let timeouts = way.timeouts.phases().map(|(phase, limit)| {
        row(&format!("timeout.{phase}"), format!("\"{}\"", Span(limit)), bit("timeout"))
    });
    plain.chain(timeouts).collect()
}

/// Where a setting comes from: the route itself, `[delivery]`, or the program.
fn from(way: &Delivery, bit: u64) -> String {
    let Origin { route, delivery } = way.origin;
    if route & bit != 0 {
        return if way.is_local { way.name.to_string() } else { format!("route {}", way.name) };
    }
    if delivery & bit != 0 { "delivery".into() } else { "default".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn explained(text: &str, address: &str) -> Value {
        let name = mail::Domain::parse("mail.example.com").unwrap();
        let policy = Config::parse(text, &name).unwrap().policy;
        explain(&policy, &Address::parse(address, false).unwrap())
    }

    fn setting<'v>(explained: &'v Value, key: &str) -> (&'v str, &'v str) {
        let rows = explained["settings"].as_array().unwrap();
        let row = rows.iter().find(|row| row["key"] == key).unwrap();
        (row["value"].as_str().unwrap(), row["from"].as_str().unwrap())
    }

    /// Each setting names who gave it, also where two layers say the same.
    ///
    /// Shows: S1.12, S3.1, S3.22
    #[test]
    fn each_setting_names_its_origin() {
        let text = "[delivery]\nlifetime = \"2d\"\nconnections = 20\ntimeout = { mail = \"9s\" }\n\
                    [[route]]\nmatch = \"*.example.org\"\nport = 26\nlifetime = \"2d\"\n\
                    [[route]]\nmatch = \"*\"\n";
        let there = explained(text, "a@b.example.org");
        assert_eq!(there["route"], "*.example.org");
        assert_eq!(there["because"], "route 1 of 2 is the first that takes it");
        assert_eq!(setting(&there, "port"), ("26", "route *.example.org"));
        assert_eq!(setting(&there, "lifetime"), ("\"2d\"", "route *.example.org"));
        assert_eq!(setting(&there, "connections"), ("20", "delivery"));
        assert_eq!(setting(&there, "timeout.mail"), ("\"9s\"", "delivery"));
        assert_eq!(setting(&there, "tls"), ("\"opportunistic\"", "default"));
        assert_eq!(there["ignored_route"], Value::Null);
        let other = explained("", "a@b.example.org");
        assert_eq!((&other["route"], &other["route_number"]), (&json!("default"), &json!(0)));
    }

    /// In relay mode alone, and only where told to.
    ///
    /// Shows: S4.4
    #[test]
    fn a_route_that_relay_mode_ignores_is_named() {
        let text = |mode: &str, said: &str| {
            format!(
                "[delivery]\nmode = \"{mode}\"\n{said}\n[[route]]\nmatch = \"b.example\"\n\
                 mode = \"relay\"\nhosts = [\"b\"]\n"
            )
        };
        let relay = "hosts = [\"a\"]";
        let ignore = "routes_in_relay_mode = \"ignore\"";
        for (text, route, ignored) in [
            (text("relay", relay), "b.example", Value::Null),
            (text("independent", ignore), "b.example", Value::Null),
            (text("relay", &format!("{relay}\n{ignore}")), "default", json!("b.example")),
        ] {
            let found = explained(&text, "a@b.example");
            assert_eq!((&found["route"], &found["ignored_route"]), (&json!(route), &ignored));
            let said = found["because"].as_str().unwrap();
            assert_eq!(said.contains("routes_in_relay_mode"), !ignored.is_null(), "{said}");
        }
    }

    /// Shows: S3.3, S3.5
    #[test]
    fn a_local_address_says_so_and_what_becomes_of_it() {
        let text = "[delivery]\nlifetime = \"2d\"\n[[route]]\nmatch = \"*\"\n\
                    [[local]]\nmatch = \"a.example\"\ndeliver = { lmtp = \"10.0.0.9\" }\n\
                    users = \"ann\"\naliases = { all = [\"ann\", \"x@far.example\"] }\nretry = \"9m\"\n";
        let ann = explained(text, "ann@a.example");
        assert_eq!(ann["route"], "local a.example");
        let because = ann["because"].as_str().unwrap();
        assert!(because.contains("is local") && because.contains("10.0.0.9"), "{because}");
        assert_eq!(ann["local"]["decision"], "delivered");
        assert_eq!(setting(&ann, "retry"), ("[\"9m\"]", "local a.example"));
        assert_eq!(setting(&ann, "lifetime"), ("\"2d\"", "delivery"));
        let all = explained(text, "all@a.example");
        assert_eq!(all["local"]["passed_to"], json!(["ann@a.example", "x@far.example"]));
        let eve = explained(text, "eve@a.example");
        assert_eq!(eve["local"]["decision"], "unknown here: refused (550)");
        assert_eq!(explained(text, "ann@b.example")["local"], Value::Null);
    }
}
