//! How links are, in words and values for operators.

use base::{Now, Wall};
use control::LinkState;
use eventlog::rfc3339;
use serde_json::{Value, json};

use crate::epoch::Way;
use crate::shard::Shard;

impl Shard {
    /// What mail of a way waits for, if it is for its link, in full.
    pub(crate) fn link_words(&self, now: Now, way: &Way) -> Option<String> {
        let source = self.shut(way)?;
        let settings = source.on_demand.as_ref()?;
        let state = self.links.state(&source.name);
        let next = match state {
            LinkState::Down => format!(
                "; it is raised for {} recipients, or when the first has waited {}",
                settings.recipients,
                control::Span(settings.wait)
            ),
            state => state.trouble().map_or_else(String::new, |(_, until)| {
                format!("; tried again {}", rfc3339(now.wall_at(until)))
            }),
        };
        Some(format!("waits for the link {}: {state}{next}", source.name))
    }

    /// The same for who asks why: until when at most, if that is known.
    pub(crate) fn link_wait(&self, now: Now, way: &Way) -> Option<(Option<Wall>, String)> {
        let words = self.link_words(now, way)?;
        let source = self.shut(way)?;
        let until = match self.links.state(&source.name) {
            LinkState::Down => {
                let since = self.links.known.get(&*source.name).and_then(|known| known.since);
                let wait = source.on_demand.as_ref().map(|settings| settings.wait);
                wait.map(|wait| since.unwrap_or(now.mono) + wait)
            }
            state => state.trouble().map(|(_, until)| until),
        };
        Some((until.map(|at| now.wall_at(at)), words))
    }

    /// The link of a way, for `explain`.
    pub(crate) fn link_view(&self, now: Now, way: &Way) -> Value {
        let source = way.source().filter(|source| source.on_demand.is_some());
        source.map_or(Value::Null, |s| link_row(now, &s.name, self.links.state(&s.name)))
    }

    /// The links whose home is this shard.
    pub(crate) fn links_view(&self, now: Now) -> Value {
        let at_home = &self.links.at_home;
        let named = self.policy.exits.sources.iter().filter(|source| source.on_demand.is_some());
        let here = |name: &str| control::owner(name, self.shards) == self.id;
        let unused = named.map(|source| &*source.name);
        let unused = unused.filter(|name| here(name) && !at_home.contains_key(*name));
        let unused = unused.map(|name| link_row(now, name, &LinkState::Down));
        let used = at_home.iter().map(|(name, link)| link_row(now, name, link.state()));
        used.chain(unused).collect()
    }
}

fn link_row(now: Now, name: &str, state: &LinkState) -> Value {
    let (reason, until) = state.trouble().unzip();
    let until = until.map(|at| rfc3339(now.wall_at(at)));
    json!({ "name": name, "state": state.word(), "reason": reason, "until": until })
}
