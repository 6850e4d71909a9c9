//! `[[local]]` written out as configuration.

use super::{Out, SETTINGS, host, quote};
use crate::config::local::OF_WAY;
use crate::delivery::Delivery;
use crate::local::{Alias, Aliases, Names, Unknown};
use crate::mode::Mode;
use crate::policy::Policy;

/// Writes all entries.
pub(super) fn locals(policy: &Policy, out: &mut Out) {
    for (local, way) in policy.locals.iter().zip(policy.local_ways()) {
        out.section("[[local]]");
        out.texts("match", &local.patterns);
        out.line("deliver", &deliver(way));
        if let Some(Names { listed, file, .. }) = &local.users {
            if !listed.is_empty() || file.is_none() {
                out.texts("users", listed);
            }
            if let Some(file) = file {
                out.text("users_file", file);
            }
        }
        let Aliases { listed, file, .. } = &local.aliases;
        if !listed.is_empty() {
            let one = |(name, members): &Alias| {
                let members: Vec<_> = members.iter().map(quote).collect();
                format!("{} = [{}]", quote(name), members.join(", "))
            };
            let all: Vec<_> = listed.iter().map(one).collect();
            out.line("aliases", &format!("{{ {} }}", all.join(", ")));
        }
        if let Some(file) = file {
            out.text("aliases_file", file);
        }
        let unknown = match &local.unknown {
            Unknown::Reject => quote("reject"),
            Unknown::Bounce => quote("bounce"),
            Unknown::Hold => quote("hold"),
            Unknown::Forward(to) => format!("{{ forward = {} }}", quote(to)),
        };
        out.line("unknown", &unknown);
        for (key, _, value) in SETTINGS {
            // Setting these means limits of its own.
            let limits = matches!(key, "connections" | "rate");
            let shown = OF_WAY.contains(&key) && (way.own_limits || !limits);
            if let Some(value) = value(way).filter(|_| shown) {
                out.line(key, &value);
            }
        }
        out.timeouts(way.timeouts.phases().into_iter());
    }
}

/// What a local domain's mail is handed to.
pub(crate) fn deliver(way: &Delivery) -> String {
    match &way.mode {
        Mode::Socket(path) => format!("{{ lmtp = {} }}", quote(path)),
        Mode::Folders(at) => format!("{{ maildir = {} }}", quote(at)),
        Mode::Relay(hosts) => {
            let hosts: Vec<_> = hosts.iter().map(host).collect();
            let key = if way.lmtp { "lmtp" } else { "smtp" };
            format!("{{ {key} = [{}] }}", hosts.join(", "))
        }
        Mode::Independent => String::from("{}"),
    }
}
