//! Decisions about recipients of local domains, over configurations as an
//! operator writes them.

use mail::{Address, Domain};

use super::*;
use crate::{Config, Policy};

fn policy(text: &str) -> Policy {
    let machine = Domain::parse("box.example").unwrap();
    Config::parse(text, &machine).unwrap().policy
}

fn address(text: &str) -> Address {
    Address::parse(text, true).unwrap()
}

/// Whom mail is accepted for, in words.
fn accepted(policy: &Policy, to: &str) -> String {
    match policy.locals.accept(&address(to)) {
        Ok(Accepted::AsIs) => "as it is".into(),
        Ok(Accepted::Instead(all)) => {
            all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        Err(nobody) => format!("{nobody:?}"),
    }
}

const OFFICE: &str = "[[local]]\nmatch = [\"a.example\", \"*.a.example\"]\n\
                      deliver = { lmtp = \"/run/lmtp\" }\nusers = [\"ann\", \"Bob\"]\n";

/// The same list of users under each rule.
///
/// Shows: S3.5
#[test]
fn each_rule_for_unknown_users_decides_as_it_says() {
    for (rule, expected, fate) in [
        ("\"reject\"", "Unknown", Fate::Bounce),
        ("\"bounce\"", "as it is", Fate::Bounce),
        ("\"hold\"", "as it is", Fate::Hold),
        ("{ forward = \"ann@a.example\" }", "ann@a.example", Fate::Bounce),
        ("{ forward = \"x@far.example\" }", "x@far.example", Fate::Bounce),
    ] {
        let policy = policy(&format!("{OFFICE}unknown = {rule}\n"));
        assert_eq!(accepted(&policy, "eve@a.example"), expected, "{rule}");
        assert_eq!(policy.locals.fate(&address("eve@a.example")), fate, "{rule}");
        for known in ["ANN@a.example", "bob@deep.b.a.example", "eve@other.example"] {
            assert_eq!(accepted(&policy, known), "as it is", "{rule} {known}");
            assert_eq!(policy.locals.fate(&address(known)), Fate::Deliver);
        }
    }
}

/// Covers: A14.3
/// Shows: S3.4
#[test]
fn aliases_lead_on_end_and_give_each_address_once() {
    let aliases = "aliases = { sales = [\"ann\", \"x@far.example\", \"all@a.example\"], \
                   all = [\"bob\", \"sales\", \"ann\"], ann = [\"ann\", \"copy@far.example\"], \
                   \"sales@b.a.example\" = \"bob\", stale = \"gone@a.example\" }\n";
    let policy = policy(&format!("{OFFICE}{aliases}"));
    for (to, expected) in [
        ("sales@a.example", "ann@a.example copy@far.example x@far.example bob@a.example"),
        ("ann@a.example", "ann@a.example copy@far.example"),
        ("SALES@b.a.example", "bob@b.a.example"),
        ("bob@a.example", "as it is"),
        // It comes back rather than vanish.
        ("stale@a.example", "gone@a.example"),
        ("sales@far.example", "as it is"),
    ] {
        assert_eq!(accepted(&policy, to), expected, "{to}");
    }
    assert_eq!(policy.locals.fate(&address("gone@a.example")), Fate::Bounce);
}

/// Covers: A14.3
#[test]
fn an_expansion_stays_within_its_bounds() {
    let members = |count: usize| -> String {
        let all: Vec<_> = (0..count).map(|n| format!("\"u{n}@far.example\"")).collect();
        format!("{OFFICE}aliases = {{ crowd = [{}] }}\n", all.join(", "))
    };
    let full = policy(&members(EXPANSION_MAX));
    assert_eq!(accepted(&full, "crowd@a.example").split(' ').count(), EXPANSION_MAX);
    let machine = Domain::parse("box.example").unwrap();
    let refused = Config::parse(&members(EXPANSION_MAX + 1), &machine).unwrap_err().to_string();
    assert!(refused.contains("\"crowd\""), "{refused}");
    let chain = |count: usize| -> String {
        let all: Vec<_> = (0..count).map(|n| format!("c{n} = \"c{}\"", n + 1)).collect();
        format!("{OFFICE}aliases = {{ {}, c{count} = \"ann\" }}\n", all.join(", "))
    };
    let deepest = policy(&chain(DEPTH_MAX - 1));
    assert_eq!(accepted(&deepest, "c0@a.example"), "ann@a.example");
    assert!(Config::parse(&chain(DEPTH_MAX), &machine).is_err());
}

/// With folders, a name that makes no folder's name is nobody's.
#[test]
fn a_mailbox_without_a_folder_is_not_known() {
    let policy =
        policy("[[local]]\nmatch = \"a.example\"\ndeliver = { maildir = \"/var/mail/{user}\" }\n");
    assert_eq!(accepted(&policy, "anybody@a.example"), "as it is");
    assert_eq!(accepted(&policy, "\"../root\"@a.example"), "Unknown");
}

/// Whatever a route says, the mail of a local domain goes where the domain's
/// entry says, also in relay mode, and never falls back to the default way.
///
/// Shows: S1.1, S3.3
#[test]
fn a_local_domain_goes_before_every_route() {
    let text = format!(
        "[delivery]\nmode = \"relay\"\nhosts = \"smtp.isp.example\"\nlifetime = \"2d\"\n\
         [[route]]\nmatch = \"*\"\nmode = \"independent\"\n{OFFICE}"
    );
    let policy = policy(&text);
    for to in ["ann@a.example", "nobody@x.y.a.example"] {
        let way = policy.route(&address(to));
        assert_eq!(way.mode, crate::Mode::Socket("/run/lmtp".into()), "{to}");
        assert!(way.is_local && way.lmtp && !way.fallback && !way.is_default());
        assert_eq!(way.lifetime.as_secs(), 2 * 24 * 3600, "what [delivery] says of time holds");
    }
    assert_eq!(policy.route(&address("ann@b.example")).mode, crate::Mode::Independent);
}
