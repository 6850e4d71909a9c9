//! The event log of a daemon elsewhere, as it tells it.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use base::{MessageId, Set};
use eventlog::{Field, Filter, read, rfc3339};

use super::super::{encoded, told};
use super::{SESSIONS_MAX, is_of, put, read_sentence};
use crate::client::{self, Failure};
use crate::remote::At;

/// Prints lines as they come: exit 0, or 1 if there were none.
pub(super) fn lines(at: &At, filter: &Filter, last: Option<usize>, follow: bool) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut found = false;
    let followed = each(at, filter, last, follow, |line| {
        found = true;
        // Whoever follows waits for each line.
        let written = put(&mut out, line).and_then(|()| if follow { out.flush() } else { Ok(()) });
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    concluded(followed, found, &mut out)
}

/// Prints the whole life of a message.
pub(super) fn life(at: &At, id: MessageId, with_sessions: bool, json: bool) -> ExitCode {
    let mut of_message = Vec::new();
    let mut sessions = Set::<String>::default();
    let mut followed =
        each(at, &Filter { id: Some(id), ..Filter::default() }, None, false, |line| {
            if let Some(session) = read::value(line, Field::Session)
                && with_sessions
                && sessions.len() < SESSIONS_MAX
            {
                sessions.insert(session.into());
            }
            of_message.push(line.to_vec());
            ControlFlow::Continue(())
        });
    for session in &sessions {
        let filter = Filter { session: Some(session.clone()), ..Filter::default() };
        followed = followed.and_then(|()| {
            each(at, &filter, None, false, |line| {
                if is_of(line, &sessions) {
                    of_message.push(line.to_vec());
                }
                ControlFlow::Continue(())
            })
        });
    }
    // Lines of one moment keep their order.
    of_message.sort_by_key(|line| read::value(line, Field::Time).map(|time| time.to_string()));
    let mut out = BufWriter::new(io::stdout().lock());
    for line in &of_message {
        let written = match read_sentence(line).filter(|_| !json) {
            Some(sentence) => put(&mut out, sentence.as_bytes()),
            None => put(&mut out, line),
        };
        if written.is_err() {
            break;
        }
    }
    concluded(followed, !of_message.is_empty(), &mut out)
}

fn each(
    at: &At,
    filter: &Filter,
    last: Option<usize>,
    follow: bool,
    line: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<(), Failure> {
    client::follow(at, &target(filter, last, follow), line)
}

fn target(filter: &Filter, last: Option<usize>, follow: bool) -> String {
    let events: Vec<&str> = filter.kinds.iter().map(|kind| kind.word()).collect();
    let pairs = [
        ("id", filter.id.map(|id| id.to_string())),
        ("address", filter.address.clone()),
        ("domain", filter.domain.clone()),
        ("site", filter.site.clone()),
        ("session", filter.session.clone()),
        ("event", Some(events.join(",")).filter(|events| !events.is_empty())),
        ("from", filter.from.map(rfc3339)),
        ("until", filter.until.map(rfc3339)),
        ("lines", last.map(|last| last.to_string())),
        ("follow", follow.then(|| "true".into())),
    ];
    let pairs = pairs.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let query: Vec<String> =
        pairs.map(|(name, value)| format!("{name}={}", encoded(&value))).collect();
    format!("/v1/log/stream?{}", query.join("&"))
}

fn concluded(followed: Result<(), Failure>, found: bool, out: &mut impl Write) -> ExitCode {
    // A reader that has seen enough is no failure.
    let _ = out.flush();
    match followed {
        Err(failure) => told(failure),
        Ok(()) if found => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(1),
    }
}

#[cfg(test)]
mod tests {
    use eventlog::Kind;

    use super::*;

    #[test]
    fn what_is_looked_for_is_asked_for() {
        let kinds = vec![Kind::Failed, Kind::Expired];
        let filter = Filter { address: Some("a b@c.example".into()), kinds, ..Filter::default() };
        assert_eq!(
            target(&filter, Some(3), true),
            "/v1/log/stream?address=a%20b%40c.example&event=failed%2Cexpired&lines=3&follow=true"
        );
        assert_eq!(target(&Filter::default(), None, false), "/v1/log/stream?");
    }
}
