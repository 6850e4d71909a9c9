//! `[dsn]`, and `dsn` of a route: who is told what, and in which words.
//!
//! What a route does not say is as `[dsn]` says, wherever that stands.

use std::sync::Arc;

use mail::Address;
use mail::dsn::Template;

use super::cx::{Cx, Item, Keys, named};
use super::values;
use crate::policy::DsnSettings;
use crate::reports::{NotifyTo, Reports};

/// The keys that are written.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    failure: Option<NotifyTo>,
    delay: Option<NotifyTo>,
    success: Option<NotifyTo>,
    expiry: Option<NotifyTo>,
    /// The inner one is none for the usual words.
    template: Option<Option<Named>>,
    from: Option<Address>,
    postmaster: Option<Address>,
}

/// A template with the file that it came from.
type Named = (Box<str>, Arc<Template>);

/// The keys of `[dsn]`; those that a route may have come first.
const DSN: &Keys<Written> = &[
    ("failure", |cx, item, written| written.failure = notify(cx, item)),
    ("delay", |cx, item, written| written.delay = notify(cx, item)),
    ("success", |cx, item, written| written.success = notify(cx, item)),
    ("expiry", |cx, item, written| written.expiry = notify(cx, item)),
    ("template", |cx, item, written| written.template = template(cx, item)),
    ("from", |cx, item, written| written.from = values::address(cx, item)),
    ("postmaster", |cx, item, written| written.postmaster = values::address(cx, item)),
];

const OF_ROUTES: &Keys<Written> = DSN.split_at(5).0;

/// The paths of the keys.
pub(super) fn known_keys() -> Vec<String> {
    let mut keys = named("dsn.", DSN);
    keys.extend(named("route.dsn.", OF_ROUTES));
    keys
}

/// Reads `[dsn]`.
pub(super) fn dsn(cx: &mut Cx<'_>, item: &Item<'_>, dsn: &mut DsnSettings) {
    let mut written = Written::default();
    cx.table(item, DSN, &mut written);
    dsn.reports = written.over(&dsn.reports);
    dsn.from = written.from.unwrap_or_else(|| dsn.from.clone());
    dsn.postmaster = written.postmaster.unwrap_or_else(|| dsn.postmaster.clone());
}

/// Reads `dsn` of a route.
pub(super) fn of_route(cx: &mut Cx<'_>, item: &Item<'_>) -> Written {
    let mut written = Written::default();
    cx.table(item, OF_ROUTES, &mut written);
    written
}

impl Written {
    /// What is written, and for the rest `others`.
    pub(super) fn over(&self, others: &Reports) -> Reports {
        Reports {
            failure: self.failure.unwrap_or(others.failure),
            delay: self.delay.unwrap_or(others.delay),
            success: self.success.unwrap_or(others.success),
            expiry: self.expiry.or(self.failure).unwrap_or(others.expiry),
            template: self.template.clone().unwrap_or_else(|| others.template.clone()),
        }
    }
}

fn notify(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<NotifyTo> {
    let words = [NotifyTo::Sender, NotifyTo::Postmaster, NotifyTo::None];
    values::choice(cx, item, &words.map(|to| (to.word(), to)))
}

/// The file of a template, which must be without faults; `"none"` stands for
/// the usual words.
fn template(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Option<Named>> {
    let path = values::text(cx, item)?;
    if path == NotifyTo::None.word() {
        return Some(None);
    }
    let read = cx.file(path).and_then(|bytes| {
        let named =
            |error| format!("names {}, which is no template: {error}", values::quoted(path));
        Template::parse(&bytes).map_err(named)
    });
    match read {
        Ok(template) => Some(Some((path.into(), Arc::new(template)))),
        Err(reason) => {
            cx.error(item.span(), reason);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use mail::Domain;

    use crate::config::Config;
    use crate::policy::Policy;
    use crate::reports::NotifyTo;

    fn read(text: &str) -> Result<Policy, String> {
        let machine = Domain::parse("box.example").unwrap();
        let mut files = |path: &str| match path {
            "own.txt" => Ok(b"Subject: own\n\nOwn words.\n".to_vec()),
            "bad.txt" => Ok(b"{nonsense}\n".to_vec()),
            _ => Ok(b"Common words.\n".to_vec()),
        };
        let read = Config::parse_with(text, &machine, &mut files);
        Ok(read.map_err(|refused| refused.to_string())?.policy)
    }

    /// What a route says of reports holds for its mail, the rest is as `[dsn]`
    /// says; what ends by its time follows what is refused unless it is named.
    ///
    /// Shows: S1.8, S1.9
    #[test]
    fn a_route_has_reports_of_its_own_over_those_of_all() {
        use NotifyTo::{None as Nobody, Postmaster, Sender};
        let text = "[[route]]\nmatch = \"a.example\"\ndsn = { failure = \"none\" }\n\
             [[route]]\nmatch = \"b.example\"\n[route.dsn]\nexpiry = \"postmaster\"\n\
             delay = \"none\"\ntemplate = \"own.txt\"\n\
             [[route]]\nmatch = \"c.example\"\ndsn = { template = \"none\" }\n\
             [[route]]\nmatch = \"d.example\"\n\
             [dsn]\nsuccess = \"none\"\nexpiry = \"sender\"\ntemplate = \"words.txt\"\n";
        let policy = read(text).unwrap();
        let of = |number: usize| {
            let reports = policy.reports(&policy.ways()[number]);
            let file = reports.template.as_ref().map(|(file, _)| &**file);
            let told = [reports.failure, reports.delay, reports.success, reports.expiry];
            (told, file)
        };
        let common = [Sender, Sender, Nobody, Sender];
        assert_eq!(of(0), (common, Some("words.txt")));
        assert_eq!(of(1), ([Nobody, Sender, Nobody, Nobody], Some("words.txt")));
        assert_eq!(of(2), ([Sender, Nobody, Nobody, Postmaster], Some("own.txt")));
        assert_eq!(of(3), (common, None));
        assert_eq!(of(4), (common, Some("words.txt")));
        let shown = policy.effective_toml();
        assert_eq!(read(&shown).unwrap(), policy, "{shown}");
        assert_eq!(read("[dsn]\nfailure = \"none\"\n").unwrap().dsn.reports.expiry, Nobody);
    }

    #[test]
    fn each_fault_of_a_routes_reports_has_its_own_words() {
        for (dsn, words) in [
            ("\"none\"", "must be a table"),
            ("{ failure = \"nobody\" }", "route[1].dsn.failure must be one of"),
            ("{ faliure = \"none\" }", "did you mean `failure`?"),
            ("{ postmaster = \"a@b.example\" }", "is not a known key"),
            ("{ template = \"bad.txt\" }", "names \"bad.txt\", which is no template: line 1"),
        ] {
            let text = format!("[[route]]\nmatch = \"a.example\"\ndsn = {dsn}\n");
            let found = read(&text).unwrap_err();
            assert!(found.contains(words), "{dsn}: {found}");
        }
    }
}
