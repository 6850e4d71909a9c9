//! Entries as an operator writes them: what is read of them, each fault in its
//! words, and that what is shown reads the same.

use mail::Domain;

use crate::config::Config;

fn machine() -> Domain {
    Domain::parse("box.example").unwrap()
}

fn read(text: &str) -> Result<Config, String> {
    let mut files = |path: &str| match path {
        "users" => Ok(b"ann # the boss\n\n# nobody else\nBob\n".to_vec()),
        "bad-users" => Ok(b"ann\nno body\n".to_vec()),
        "aliases" => Ok(b"sales = [\"ann\", \"x@far.example\"]\nown = \"bob\"\n".to_vec()),
        "bad-aliases" => Ok(b"a = \"ann\"\nb = 5\n".to_vec()),
        "no-toml" => Ok(b"a: ann\n".to_vec()),
        _ => Err(format!("names \"{path}\", which is not there")),
    };
    let config = Config::parse_with(text, &machine(), &mut files);
    config.map_err(|refused| refused.to_string())
}

fn entry(rest: &str) -> String {
    format!("[[local]]\nmatch = \"a.example\"\ndeliver = {{ lmtp = \"/run/lmtp\" }}\n{rest}\n")
}

/// Shows: S3.4
#[test]
fn what_is_shown_reads_the_same() {
    for rest in [
        "",
        "users = []",
        "users = [\"ann\", \"bob\"]\nunknown = \"hold\"\nconnections = 3\nrate = \"9/1m\"",
        "users = \"ann\"\nusers_file = \"users\"\naliases_file = \"aliases\"\n\
         aliases = { own = \"ann\", \"b@a.example\" = [\"ann\", \"x@far.example\"] }",
        "unknown = { forward = \"x@far.example\" }\nretry = [\"1m\", \"2m\"]\njitter = \"0%\"\n\
         lifetime = \"1d\"\nmax_attempts = 4\ntimeout = \"9s\"\non_failure = \"hold\"\n\
         delay_notice = \"none\"",
        "[[local]]\nmatch = [\"b.example\", \"*.b.example\"]\n\
         deliver = { smtp = [\"10.0.0.1\", \"mail.example:26\"] }",
        "[[local]]\nmatch = \"b.example\"\ndeliver = { lmtp = \"127.0.0.1\" }",
        "[[local]]\nmatch = \"b.example\"\ndeliver = { maildir = \"/var/{domain}/{user}\" }",
    ] {
        let text = format!("[delivery]\nretry = \"7m\"\nlifetime = \"3d\"\n{}", entry(rest));
        let policy = read(&text).unwrap_or_else(|fault| panic!("{text}\n{fault}")).policy;
        let shown = policy.effective_toml();
        assert_eq!(read(&shown).unwrap().policy, policy, "{shown}");
    }
}

/// Proves: RFC 2033 §5
/// Covers: A14.2
#[test]
fn lmtp_has_its_own_port_and_smtp_the_usual_one() {
    for (deliver, expected) in [
        ("{ lmtp = \"127.0.0.1\" }", 24),
        ("{ lmtp = \"127.0.0.1:2003\" }", 2003),
        ("{ smtp = \"127.0.0.1\" }", 25),
    ] {
        let text = format!("[[local]]\nmatch = \"a.example\"\ndeliver = {deliver}\n");
        let policy = read(&text).unwrap().policy;
        let crate::Mode::Relay(hosts) = &policy.local_ways()[0].mode else { panic!("hosts") };
        assert_eq!(hosts[0].port, expected, "{deliver}");
    }
}

#[test]
fn files_and_lists_are_put_together_and_the_list_goes_before() {
    let text = entry(
        "users = \"eve\"\nusers_file = \"users\"\naliases_file = \"aliases\"\n\
         aliases = { own = \"ann\" }",
    );
    let policy = read(&text).unwrap().policy;
    let local = policy.locals.iter().next().unwrap();
    let users: Vec<_> = local.users.as_ref().unwrap().all.iter().map(|name| &**name).collect();
    assert_eq!(users, ["ann", "bob", "eve"]);
    let own = crate::local::Member::SameDomain("ann".into());
    assert_eq!(local.aliases.all["own"].to_vec(), [own]);
    assert_eq!(local.aliases.all["sales"].len(), 2);
}

#[test]
fn each_fault_of_an_entry_has_its_own_words() {
    let deliver = |value: &str| format!("[[local]]\nmatch = \"a.example\"\ndeliver = {value}\n");
    let domain =
        |value: &str| format!("[[local]]\nmatch = {value}\ndeliver = {{ smtp = \"x\" }}\n");
    for (text, words) in [
        ("[local]\n".to_owned(), "must be written as [[local]]"),
        ("[[local]]\n".to_owned(), "local[1] lacks `match`"),
        ("[[local]]\nmatch = \"a.example\"".to_owned(), "local[1] lacks `deliver`"),
        (domain("\"*\""), "must be a domain or \"*.domain\""),
        (domain("\"ann@a.example\""), "a whole domain is local or not"),
        (domain("[]"), "at least one domain"),
        (domain("\"a..b\""), "does not hold a valid domain"),
        (deliver("\"lmtp\""), "must be a table"),
        (deliver("{}"), "must name one of `lmtp`, `smtp` and `maildir`"),
        (deliver("{ lmtp = \"x\", smtp = \"y\" }"), "must name one of"),
        (deliver("{ lmpt = \"/run/lmtp\" }"), "did you mean `lmtp`?"),
        (deliver("{ maildir = \"mail/{user}\" }"), "is no absolute path"),
        (deliver("{ maildir = \"/mail/{name}\" }"), "braces that are no field"),
        (deliver("{ smtp = [] }"), "at least one host"),
        (deliver(&format!("{{ lmtp = \"/{}\" }}", "x".repeat(107))), "at most 107 octets"),
        (entry("user = \"ann\""), "did you mean `users`?"),
        (entry("users = \"a b\""), "is no name as it stands before an @"),
        (entry("users_file = \"gone\""), "which is not there"),
        (entry("users_file = \"bad-users\""), "whose line 2 is no name"),
        (entry("aliases = [\"a\"]"), "must be a table of names"),
        (entry("aliases = { a = 5 }"), "must stand for an address or a list"),
        (entry("aliases = { a = [] }"), "stands for nobody"),
        (entry("aliases = { a = \"b@\" }"), "\"b@\""),
        (entry("users = \"ann\"\naliases = { a = \"b\", b = \"a\" }"), "leads in a circle"),
        (entry("aliases_file = \"bad-aliases\""), "line 2 \"b\" must stand for"),
        (entry("aliases_file = \"no-toml\""), "which cannot be used"),
        (entry("unknown = \"drop\""), "must be \"reject\", \"bounce\", \"hold\""),
        (entry("unknown = { foward = \"a@b.example\" }"), "did you mean `forward`?"),
        (entry("unknown = {}"), "lacks `forward`"),
        (
            entry("users = \"ann\"\nunknown = { forward = \"eve@a.example\" }"),
            "forwards to eve@a.example, who is not known there",
        ),
        (entry("hosts = \"x\""), "is not a known key"),
        (entry("fallback = true"), "is not a known key"),
    ] {
        let found = read(&text).map(|_| String::new()).unwrap_or_else(|refused| refused);
        assert!(found.contains(words) && found.contains("line "), "{text}: {found}");
    }
}

/// Shows: S3.13
#[test]
fn what_a_local_domain_hides_is_said() {
    let text = format!(
        "[[route]]\nmatch = \"b.example\"\n[[route]]\nmatch = \"ann@a.example\"\n{}\
         [[local]]\nmatch = [\"c.example\", \"a.example\"]\ndeliver = {{ smtp = \"10.0.0.1\" }}\n",
        entry("users = [\"ann\"]")
    );
    let warnings = read(&text).unwrap().warnings;
    let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    let all = warnings.join("\n");
    for words in [
        "line 4, column 9: warning: route[2].match is never reached: local[1] takes all mail for \
         \"ann@a.example\"",
        "local[2].match names \"a.example\", whose mail local[1] takes already",
        "local[1] has no user or alias `postmaster`",
    ] {
        assert!(all.contains(words), "{words}\n{all}");
    }
    assert!(!all.contains("route[1]"), "{all}");
}
