//! Tokens as they come, last, are refused, and do not come.

use base::secret::Secret;
use control::{Origin, Program, SecretKind};

use super::*;

fn at(seconds: u64) -> Monotonic {
    Monotonic::from_millis(seconds * 1_000)
}

fn credential(user: &str) -> Credential {
    let program = Program::new(vec!["/bin/mint".into()]).unwrap();
    Credential {
        user: user.into(),
        command: TokenCommand { program, timeout: Duration::from_secs(10) },
    }
}

fn exited(code: i32, output: &str) -> Ending {
    Ending::Exited { code, output: Secret::new(output.as_bytes()) }
}

fn printed(token: &str, lasts: &str) -> Ending {
    exited(0, &format!("{{\"access_token\": \"{token}\"{lasts}}}"))
}

fn found(tokens: &Tokens, now: u64, whose: &Credential) -> String {
    match tokens.find(at(now), whose) {
        Found::Good(token) => String::from_utf8(token.secret.expose().to_vec()).unwrap(),
        Found::Coming => "coming".into(),
        Found::Wanted => "wanted".into(),
        Found::Failed(no_token) => format!("{} at {:?}", no_token.reason, no_token.until),
    }
}

fn log_in(whose: &Credential, secret: &str) -> LogIn {
    LogIn {
        user: whose.user.clone(),
        kind: SecretKind::Token,
        origin: Origin::Command(whose.command.clone()),
        secret: Secret::new(secret.as_bytes()),
        methods: SecretKind::Token.methods().into(),
        unchecked: false,
    }
}

/// One run for all who need it; what it printed is good until shortly before it
/// expires, and then wanted again.
#[test]
fn a_token_is_fetched_once_and_kept_until_shortly_before_it_expires() {
    for (lasts, until) in [
        (", \"expires_in\": 3600", 3_540),
        (", \"expires_in\": 100", 90),
        (", \"expires_in\": 600", 540),
        ("", 300),
        (", \"expires_in\": 1e99", 24 * 3_600 - 60),
    ] {
        let (mut tokens, ann, bob) = (Tokens::default(), credential("ann"), credential("bob"));
        assert_eq!(found(&tokens, 0, &ann), "wanted");
        tokens.begin(&ann, 7);
        assert_eq!(
            (found(&tokens, 0, &ann), found(&tokens, 0, &bob)),
            ("coming".into(), "wanted".into())
        );
        assert!(tokens.ended(at(0), 8, printed("t8", lasts)).is_none(), "somebody else's errand");
        assert_eq!(tokens.ended(at(0), 7, printed("t7", lasts)), Some((ann.clone(), None)));
        assert!(tokens.ended(at(0), 7, printed("t9", lasts)).is_none(), "answered once");
        assert_eq!(found(&tokens, until - 1, &ann), "t7", "{lasts}");
        assert_eq!(found(&tokens, until, &ann), "wanted", "{lasts}");
        assert_eq!(found(&tokens, 0, &bob), "wanted");
    }
}

/// Another wait after each failure, up to the longest; a good run ends that.
#[test]
fn a_program_that_fails_waits_longer_each_time_and_is_told_without_its_words() {
    let (mut tokens, ann) = (Tokens::default(), credential("ann"));
    let mut now = 0;
    for (number, (ending, why)) in [
        (exited(3, "secret"), "exit status 3"),
        (exited(0, "\nsecret"), "its output begins with no token"),
        (Ending::Overdue, "not done within 10s"),
        (Ending::NotStarted("no such file".into()), "cannot be started: no such file"),
    ]
    .into_iter()
    .enumerate()
    {
        tokens.begin(&ann, number as u64);
        let (_, failed) = tokens.ended(at(now), number as u64, ending).unwrap();
        let NoToken { reason, until } = failed.unwrap();
        assert_eq!(&*reason, format!("no token for ann from /bin/mint: {why}"));
        let wait = 10 << number;
        assert_eq!(until, at(now + wait));
        assert!(found(&tokens, now + wait - 1, &ann).starts_with("no token for ann"));
        assert_eq!(found(&tokens, now + wait, &ann), "wanted");
        now += wait;
    }
    for number in 10..40 {
        tokens.begin(&ann, number);
        let (_, failed) = tokens.ended(at(now), number, Ending::Overdue).unwrap();
        let wait = failed.unwrap().until.since(at(now));
        assert!(wait <= WAIT_LONGEST && (number < 15 || wait == WAIT_LONGEST), "{wait:?}");
    }
    tokens.forget_failures();
    assert_eq!(found(&tokens, now, &ann), "wanted", "now means now");
    tokens.begin(&ann, 50);
    tokens.ended(at(now), 50, printed("t", "")).unwrap();
    tokens.begin(&ann, 51);
    let (_, failed) = tokens.ended(at(now), 51, Ending::Signalled(9)).unwrap();
    assert_eq!(failed.unwrap().until, at(now) + WAIT_FIRST);
}

#[test]
fn a_refused_token_is_dropped_unless_another_came_meanwhile() {
    let (mut tokens, ann) = (Tokens::default(), credential("ann"));
    tokens.begin(&ann, 1);
    tokens.refused(&ann, &log_in(&ann, "old"));
    assert_eq!(found(&tokens, 0, &ann), "coming");
    tokens.ended(at(0), 1, printed("new", "")).unwrap();
    tokens.refused(&ann, &log_in(&ann, "old"));
    assert_eq!(found(&tokens, 0, &ann), "new");
    tokens.refused(&ann, &log_in(&ann, "new"));
    assert_eq!(found(&tokens, 0, &ann), "wanted");
}

#[test]
fn no_more_than_so_many_are_known_and_the_first_to_end_goes_first() {
    let mut tokens = Tokens::default();
    for number in 0..KNOWN_MAX as u64 {
        let whose = credential(&format!("u{number}"));
        tokens.begin(&whose, number);
        let lasts = format!(", \"expires_in\": {}", if number == 77 { 10 } else { 100 });
        tokens.ended(at(0), number, printed("t", &lasts)).unwrap();
    }
    let one_more = credential("one more");
    tokens.begin(&one_more, u64::MAX);
    assert_eq!(tokens.known.len(), KNOWN_MAX);
    assert_eq!(found(&tokens, 0, &credential("u77")), "wanted");
    assert_eq!(found(&tokens, 0, &credential("u76")), "t");
    assert_eq!(found(&tokens, 0, &one_more), "coming");
    assert!(!format!("{tokens:?}").contains("\"t\""), "no token is shown");
}
