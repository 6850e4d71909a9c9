//! What a search looks for: every condition that is given must hold.

use base::{MessageId, Wall};

use crate::field::Field;
use crate::kind::Kind;
use crate::read::{time, value};

/// Conditions on lines. Without any, all lines match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// About this message, or the report that tells of it.
    pub id: Option<MessageId>,
    /// From or to this address, whatever the case of its letters.
    pub address: Option<String>,
    /// From or to an address of this domain, or its look-up.
    pub domain: Option<String>,
    /// Where this site, or a host of it, is named.
    pub site: Option<String>,
    /// About this session.
    pub session: Option<String>,
    /// Of one of these kinds; of any, if there are none.
    pub kinds: Vec<Kind>,
    /// Written then or later.
    pub from: Option<Wall>,
    /// Written before then.
    pub until: Option<Wall>,
}

impl Filter {
    /// Whether a line, without or with its end, is looked for.
    pub fn matches(&self, line: &[u8]) -> bool {
        let at = time(line);
        let in_time = self.from.is_none_or(|from| at.is_some_and(|at| at >= from))
            && self.until.is_none_or(|until| at.is_some_and(|at| at < until));
        in_time
            && self.kind_matches(line)
            && self.id.is_none_or(|id| {
                let id = id.to_string();
                [Field::Id, Field::Report].iter().any(|field| is(line, *field, &id))
            })
            && self.session.as_ref().is_none_or(|session| is(line, Field::Session, session))
            && self.address.as_ref().is_none_or(|address| {
                [Field::From, Field::To].iter().any(|field| is(line, *field, address))
            })
            && self.domain.as_ref().is_none_or(|domain| domain_matches(line, domain))
            && self.site.as_ref().is_none_or(|site| site_matches(line, site))
    }

    fn kind_matches(&self, line: &[u8]) -> bool {
        if self.kinds.is_empty() {
            return true;
        }
        let Some(word) = value(line, Field::Event) else { return false };
        self.kinds.iter().any(|kind| kind.word() == word)
    }
}

fn is(line: &[u8], field: Field, wanted: &str) -> bool {
    value(line, field).is_some_and(|found| found.eq_ignore_ascii_case(wanted))
}

fn domain_matches(line: &[u8], domain: &str) -> bool {
    let of_address = |field| {
        value(line, field).is_some_and(|address| {
            address.rsplit_once('@').is_some_and(|(_, found)| found.eq_ignore_ascii_case(domain))
        })
    };
    of_address(Field::To) || of_address(Field::From) || is(line, Field::Domain, domain)
}

fn site_matches(line: &[u8], site: &str) -> bool {
    let names = |field| {
        value(line, field).is_some_and(|found| {
            let listed = found.strip_prefix("mx:").unwrap_or(&found);
            let mut parts = listed.split([',', ' ', '[', ']']).filter(|part| !part.is_empty());
            found.eq_ignore_ascii_case(site) || parts.any(|part| part.eq_ignore_ascii_case(site))
        })
    };
    names(Field::Site) || names(Field::Host) || names(Field::Mx)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Line;

    const ID: &str = "0000400000010";

    fn line() -> Vec<u8> {
        Line::new(Wall::from_millis(5_000), Kind::Deferred)
            .text(Field::Id, ID)
            .text(Field::From, "A@Sender.Example")
            .text(Field::To, "b@rcpt.example")
            .text(Field::Host, "mx1.rcpt.example [192.0.2.1]")
            .text(Field::Site, "mx:mx1.rcpt.example,mx2.rcpt.example")
            .text(Field::Session, "00000001-0-1")
            .text(Field::Status, "4.0.0")
            .number(Field::Attempt, 1_u32)
            .end()
    }

    fn matches(change: impl FnOnce(&mut Filter)) -> bool {
        let mut filter = Filter::default();
        change(&mut filter);
        filter.matches(&line())
    }

    #[test]
    fn each_condition_is_asked_for() {
        assert!(matches(|_| {}));
        assert!(matches(|it| it.id = ID.parse().ok()));
        assert!(!matches(|it| it.id = "0000400000011".parse().ok()));
        assert!(matches(|it| it.address = Some("a@sender.example".into())));
        assert!(matches(|it| it.address = Some("b@rcpt.example".into())));
        assert!(!matches(|it| it.address = Some("c@rcpt.example".into())));
        assert!(matches(|it| it.domain = Some("rcpt.example".into())));
        assert!(!matches(|it| it.domain = Some("pt.example".into())));
        for site in ["mx:mx1.rcpt.example,mx2.rcpt.example", "mx2.rcpt.example", "192.0.2.1"] {
            assert!(matches(|it| it.site = Some(site.into())), "{site}");
        }
        assert!(!matches(|it| it.site = Some("mx3.rcpt.example".into())));
        assert!(matches(|it| it.session = Some("00000001-0-1".into())));
        assert!(matches(|it| it.kinds = vec![Kind::Failed, Kind::Deferred]));
        assert!(!matches(|it| it.kinds = vec![Kind::Failed]));
        assert!(matches(|it| it.from = Some(Wall::from_millis(5_000))));
        assert!(!matches(|it| it.from = Some(Wall::from_millis(5_001))));
        assert!(!matches(|it| it.until = Some(Wall::from_millis(5_000))));
        assert!(!matches(|it| {
            it.kinds = vec![Kind::Deferred];
            it.domain = Some("other.example".into());
        }));
    }

    #[test]
    fn what_is_no_line_matches_nothing_that_is_asked_for() {
        let filter = Filter { domain: Some("a.example".into()), ..Filter::default() };
        assert!(!filter.matches(b"{\"to\":"));
        assert!(!Filter { from: Some(Wall::from_millis(0)), ..Filter::default() }.matches(b"x"));
    }
}
