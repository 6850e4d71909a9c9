//! XOAUTH2 with a token that a script prints, as an operator might write it, at
//! a relay that refuses old ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::minted::{Minted, response};
use crate::support::process::Scratch;
use crate::support::{Config, Daemon, PATIENCE, submit, until};

const USER: &str = "ann@relay.example";
/// What all tokens here begin with.
const TOKEN: &str = "secret-token-";

/// A script that prints a new token each time, unless it was told to fail.
struct Mint {
    scratch: Scratch,
}

impl Mint {
    fn new() -> Self {
        let scratch = Scratch::new();
        let (runs, broken) = (scratch.join("runs"), scratch.join("broken"));
        let (runs, broken) = (runs.display(), broken.display());
        let path = scratch.write(
            "mint",
            &format!(
                "#!/bin/bash\necho run >> {runs}\n\
                 if [ -e {broken} ]; then echo {TOKEN}; echo {TOKEN} >&2; exit 3; fi\n\
                 echo '{{\"access_token\": \"{TOKEN}'$(wc -l < {runs})'\", \"expires_in\": 3600}}'\n"
            ),
        );
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is our own");
        Self { scratch }
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.scratch.join("runs")).unwrap_or_default().lines().count()
    }

    fn config(&self, relay: &Minted) -> Config {
        let mint = self.scratch.join("mint");
        let auth = format!(
            "{{ user = \"{USER}\", token_command = [\"{}\", \"x y\"], unchecked = true }}",
            mint.display()
        );
        Config::relay(relay.address())
            .set("", "shards", "1")
            .set("log", "level", "\"detail\"")
            .set("delivery", "idle", "\"0s\"")
            .set("delivery", "retry", "\"1h\"")
            .set("delivery", "auth", &auth)
    }
}

/// Neither as it is nor as it goes over the wire.
fn assert_no_token_is_shown(daemon: &Daemon) {
    let logs = daemon.all_logs();
    let shown = daemon.verb(&["config", "show"]).output().expect("the program runs");
    let listed = daemon.verb(&["credentials"]).output().expect("the program runs");
    let all = format!("{logs}{shown:?}{listed:?}");
    assert!(all.contains("token_command") && all.contains("AUTH XOAUTH2"), "{all}");
    assert!(!all.contains(TOKEN), "a token is shown");
    // Octets 36 to 48 of the response, which all tokens share.
    let coded = &response(USER, TOKEN)[48..64];
    assert!(response(USER, &format!("{TOKEN}2")).contains(coded) && !all.contains(coded));
}

/// A refused token is replaced within the attempt, and the new one used until it
/// is refused in turn. If the new one is refused too, that is a failed log-in.
///
/// Shows: S2.2, S3.10
#[test]
fn a_token_is_printed_anew_when_the_relay_refuses_it() {
    let (mint, relay) = (Mint::new(), Minted::start(USER, &format!("{TOKEN}2")));
    let daemon = Daemon::start(mint.config(&relay));
    let send = |to: &str| {
        submit(daemon.address(), "a@source.example", &[to]);
        let history = daemon.until_settled(to, 1);
        assert_eq!(history[0].attempt, 1, "{history:?}");
        (history[0].event.clone(), relay.log_ins(), mint.runs())
    };
    let delivered = |log_ins: &[bool], runs| ("delivered".to_owned(), log_ins.to_vec(), runs);
    assert_eq!(send("b1@d001.example"), delivered(&[false, true], 2));
    assert_eq!(send("b2@d001.example"), delivered(&[true], 2), "it is kept");
    relay.honour(USER, &format!("{TOKEN}3"));
    assert_eq!(send("b3@d001.example"), delivered(&[false, true], 3));
    relay.honour(USER, "something else");
    assert_eq!(send("b4@d001.example"), ("deferred".into(), vec![false, false], 4));
    let refused = daemon.until_logged("the refusal", |line| line["event"] == "deferred");
    let refused = refused.to_string();
    assert!(refused.contains("refused our log-in: 535 5.7.8 the token is no good"), "{refused}");
    assert_eq!(relay.count(), 3);
    assert_no_token_is_shown(&daemon);
}

/// Mail waits, is told why, and counts no attempt; a flush runs the script at
/// once.
///
/// Shows: S2.2, S3.10
#[test]
fn mail_waits_while_no_token_can_be_had() {
    let (mint, relay) = (Mint::new(), Minted::start(USER, &format!("{TOKEN}2")));
    mint.scratch.write("broken", "");
    let daemon = Daemon::start(mint.config(&relay));
    submit(daemon.address(), "a@source.example", &["b@d001.example"]);
    let why = format!("no token for {USER} from ");
    let failed = |line: &serde_json::Value| {
        let reason = line["reason"].as_str().unwrap_or_default();
        line["event"] == "shortage"
            && reason.starts_with(&why)
            && reason.ends_with(": exit status 3")
    };
    daemon.until_logged("the failure", failed);
    for words in [["explain", "b@d001.example"], ["why", "b@d001.example"]] {
        until("the reason", PATIENCE, || {
            let told = daemon.verb(&words).output().expect("it runs");
            String::from_utf8_lossy(&told.stdout).contains(&why).then_some(())
        });
    }
    let (_, told) = daemon.ask("POST", "/v1/diagnose", r#"{"address": "b@d001.example"}"#);
    let steps = told["steps"].as_array().expect("steps");
    let step = steps.iter().find(|step| step["step"] == "token").expect("the step is taken");
    assert!(step["said"].as_str().is_some_and(|said| said.contains(&why)), "{told:#}");
    assert_eq!(mint.runs(), 1, "it has its wait");
    assert!(daemon.history("b@d001.example").is_empty(), "nothing was tried");
    assert_eq!((daemon.waiting(), relay.count(), relay.log_ins().len()), (1, 0, 0));
    fs::remove_file(mint.scratch.join("broken")).expect("it is there");
    assert_eq!(daemon.act("flush", r#"{"all": true}"#), 1);
    let history = daemon.until_settled("b@d001.example", 1);
    assert_eq!((history[0].event.as_str(), history[0].attempt), ("delivered", 1));
    assert_eq!((mint.runs(), relay.log_ins()), (2, vec![true]));
    assert_no_token_is_shown(&daemon);
}
