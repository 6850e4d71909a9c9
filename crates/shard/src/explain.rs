//! `explain ADDRESS`: what the policy says of mail to an address, and what is
//! known right now of where it goes: hosts, limits, suspensions, the first
//! thing that keeps it from being sent, and until when; and when mail would be
//! tried that came now, by the same reckoning as `why`.
//!
//! Looks at what is known and asks nobody: no name is looked up, no host
//! dialled. A mail domain is answered by its owner; what goes to a relay by the
//! first shard, to whose numbers the others add theirs.

use std::net::SocketAddr;

use base::MessageId;
use control::placement::{Placement, place};
use control::{Mode, Site, Source};
use eventlog::rfc3339;
use mail::Address;
use queue::{DestinationKey, NextHop, Row, SiteKey, Status};
use serde_json::{Value, json};

use crate::command::Answer;
use crate::dispatch::Hosting;
use crate::effect::Effect;
use crate::epoch::Way;
use crate::handoff::hop_name;
use crate::shard::{Shard, Turn};

/// Stands for a message that has not come yet.
const ANY_MESSAGE: MessageId = MessageId::from_u64(0);

/// An explanation that lacks its forecast.
#[derive(Debug)]
pub(crate) struct Explained {
    pub(crate) heading: Heading,
    pub(crate) to: String,
    pub(crate) body: Value,
}

/// Where mail to an address goes from this shard.
#[derive(Debug)]
pub(crate) struct Heading {
    pub(crate) way: Way,
    /// The next hop's name.
    pub(crate) hop: String,
    /// The next hop, where the queue knows it.
    pub(crate) destination: Option<DestinationKey>,
    /// Whether this shard speaks for all.
    pub(crate) first: bool,
}

impl Shard {
    /// Where mail to an address goes from here.
    ///
    /// # Errors
    /// An answer: it does not go from here.
    pub(crate) fn heading(&self, turn: &Turn<'_>, address: &Address) -> Result<Heading, Answer> {
        let way = self.policy.route(address);
        let first = match place(way, address, self.shards) {
            Placement::Owner(owner) if owner != self.id => {
                return Err(Answer::not_found("another shard delivers this"));
            }
            Placement::Owner(_) => true,
            _ => self.id.0 == 0,
        };
        let route = self.epochs.route(way.index);
        let apart = self.tells_apart(address, turn.now.wall);
        let mut text = String::new();
        let name = hop_name(way, address, apart, &mut text).to_owned();
        // Of a pool one source stands for all.
        let usable = |source: &Source| self.is_usable(turn.now, source);
        let exit = way.exit(ANY_MESSAGE.as_u64(), || None, usable).to_bits();
        let hop = NextHop { name: &name, route, exit };
        let destination = self.queue.find_destination(hop);
        let way = self.epochs.way(hop);
        let way = way.ok_or_else(|| Answer::not_found("the routes are being changed"))?;
        Ok(Heading { way, hop: name, destination, first })
    }

    /// Answers with this shard's part; the shard that speaks for all hears first
    /// how limits stand.
    pub(crate) fn explain(&mut self, turn: &mut Turn<'_>, request: u64, address: &Address) {
        let heading = match self.heading(turn, address) {
            Ok(heading) => heading,
            Err(answer) => return turn.effects.push(Effect::Reply { request, answer }),
        };
        let body = self.explanation(turn, address, &heading);
        if !heading.first {
            return turn.effects.push(Effect::Reply { request, answer: Answer::ok(body) });
        }
        let to = address.to_string();
        self.ask_for_explained(turn, request, Explained { heading, to, body });
    }

    fn explanation(&self, turn: &Turn<'_>, address: &Address, heading: &Heading) -> Value {
        let Heading { way, hop, destination, first } = heading;
        let (destination, first) = (*destination, *first);
        let row = destination.and_then(|key| self.queue.row_of(turn.now, key));
        let relay =
            Site::of_relay(way, way.exit()).and_then(|site| self.queue.find_site(&site.key));
        let site = destination.and_then(|key| self.queue.site_of(key)).or(relay);
        let waiting = row.as_ref().map(|row| row.counts).unwrap_or_default();
        let site_view = site.and_then(|key| self.queue.site(key));
        let mut body = json!({
            "waiting": {
                "ready": waiting.ready, "deferred": waiting.deferred,
                "in_flight": waiting.in_flight, "held": waiting.held,
            },
            "connections_open": site_view.as_ref().map_or(0, |site| site.open),
        });
        if !first {
            return body;
        }
        body["policy"] = control::explain::explain(&self.policy, address);
        body["source"] = way.source().map(|source| source.name.to_string()).into();
        body["next_hop"] = hop.as_str().into();
        body["site"] = site_view.as_ref().map(|site| site.name).into();
        body["hosts"] = self.hosts_of(turn, site, way);
        body["limits"] = json!({
            "connections": way.connections,
            "connections_by_experience": site_view.as_ref().map(|site| site.window),
            "rate": way.rate.map(|rate| rate.to_string()),
            "messages_per_connection": way.messages_per_connection,
            "recipients_per_message": way.recipients_per_message,
        });
        let suspension = self.suspends(turn, address, way, site);
        body["suspension"] = suspension.clone().into();
        let (opens, shut) = self.outside_windows(turn.now.wall, way).unzip();
        body["schedule"] = way.schedule.as_ref().map_or(Value::Null, |table| {
            let until = table.changes(turn.now.wall).map(rfc3339);
            json!({ "windows": table.to_string(), "open": shut.is_none(), "until": until })
        });
        body["link"] = self.link_view(turn.now, way);
        let link = self.link_words(turn.now, way);
        let until = row.as_ref().and_then(|row| until_of(row.status));
        let until = until.or(opens.flatten().filter(|_| suspension.is_none()));
        let paused = row.as_ref().filter(|row| matches!(row.status, Status::Paused(_)));
        let paused = paused.and_then(|_| self.paused_words(turn, site?));
        let own = suspension.or(shut).or(link).or(paused);
        let blocker = own.or_else(|| blocker(row.as_ref()?));
        body["not_before"] = until.filter(|_| blocker.is_some()).map(rfc3339).into();
        body["blocker"] = blocker.into();
        body
    }

    /// The order that stops mail to an address, in its words.
    pub(crate) fn suspends(
        &self,
        turn: &Turn<'_>,
        address: &Address,
        way: &Way,
        site: Option<SiteKey>,
    ) -> Option<String> {
        let domain = address.host().to_string();
        let known = site.and_then(|key| self.queue.site(key)).map(|site| site.name.to_owned());
        let site = known.or_else(|| Site::of_relay(way, way.exit()).map(|site| site.key));
        let at = control::Whereabouts {
            domain: Some(&domain),
            route: &way.name,
            site: site.as_deref(),
            source: way.source().map(|source| &**source),
        };
        self.suspensions.find(turn.now.wall, &at).map(ToString::to_string)
    }

    /// The hosts in their order, with what was learned of each address.
    fn hosts_of(&self, turn: &Turn<'_>, site: Option<SiteKey>, way: &Way) -> Value {
        let Some(target) = site.and_then(|key| self.targets.get(&key)) else {
            return match &way.mode {
                Mode::Relay(hosts) => hosts
                    .iter()
                    .map(|host| json!({ "name": host.host.to_string(), "port": host.port }))
                    .collect(),
                Mode::Independent => Value::Null,
                Mode::Socket(path) => json!([{ "socket": path.as_ref() }]),
                Mode::Folders(at) => json!([{ "maildir": at.to_string() }]),
            };
        };
        let mut rows = Vec::new();
        match &target.hosts {
            Hosting::Exchangers(exchangers) => {
                for host in &exchangers.hosts {
                    for ip in &host.addresses {
                        let address = SocketAddr::new(*ip, target.way.port);
                        rows.push(self.host_row(turn, host.name.as_str(), address, true));
                    }
                }
            }
            Hosting::Folders(at) => rows.push(json!({ "maildir": at.to_string() })),
            Hosting::Fixed(hosts) => {
                for host in hosts {
                    if let Some(path) = &host.socket {
                        rows.push(json!({ "socket": path.as_ref() }));
                        continue;
                    }
                    for address in &host.addresses {
                        let row = self.host_row(turn, &host.name, *address, host.from_stranger);
                        rows.push(row);
                    }
                }
            }
        }
        Value::Array(rows)
    }

    fn host_row(&self, turn: &Turn<'_>, name: &str, at: SocketAddr, stranger: bool) -> Value {
        let now = turn.now.mono;
        let down = self.peers.down(now, at);
        json!({
            "name": name,
            "address": at.to_string(),
            "down": down,
            "tls_broken": self.peers.tls_broken(now, at),
            "forbidden": if stranger { self.forbids(at.ip()) } else { None },
        })
    }
}

/// What keeps ready mail of a next hop from going.
pub(crate) fn blocker(row: &Row) -> Option<String> {
    let reason = row.reason.as_deref().unwrap_or("no reason is known");
    match row.status {
        Status::LookupFailed(_) => Some(reason.to_owned()),
        Status::Down(_) => Some(format!("no host answers: {reason}")),
        Status::Probing => Some(format!("being tried: {reason}")),
        Status::Paused(_) => Some("it waits for a limit, or for means of this machine".into()),
        Status::Suspended(_) => Some(reason.to_owned()),
        Status::Rejected => Some(reason.to_owned()),
        Status::Unknown | Status::LookingUp | Status::Up => None,
    }
}

pub(crate) fn until_of(status: Status) -> Option<base::Wall> {
    match status {
        Status::LookupFailed(until) | Status::Down(until) => Some(until),
        Status::Paused(until) | Status::Suspended(until) => until,
        _ => None,
    }
}
