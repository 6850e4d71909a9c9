//! Listeners as they are written, and what is wrong with them.

use mail::Domain;

use super::*;
use crate::config::Config;

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";

fn read(text: &str) -> Result<Config, String> {
    let machine = Domain::parse("box.example").unwrap();
    let mut files = |path: &str| match path {
        "a.pem" | "b.pem" => Ok(CERTIFICATE.as_bytes().to_vec()),
        "a.key" | "b.key" => Ok(KEY.as_bytes().to_vec()),
        _ => Err(format!("names {path}, which is not there")),
    };
    Config::parse_with(text, &machine, &mut files).map_err(|refused| refused.to_string())
}

fn listeners(text: &str) -> Vec<(TlsMode, Option<Box<str>>)> {
    let config = read(text).unwrap();
    let shown = config.policy.effective_toml();
    assert_eq!(read(&shown).unwrap().policy, config.policy, "{shown}");
    assert!(!shown.contains("c2VjcmV0") && !format!("{config:?}").contains("c2VjcmV0"));
    let listen = config.policy.submission.listen.into_iter();
    listen.map(|l| (l.tls, l.identity.map(|identity| identity.certificate.clone()))).collect()
}

#[test]
fn a_certificate_makes_listeners_offer_tls_and_each_may_have_its_own() {
    let tls = "tls = { certificate = \"a.pem\", key = \"a.key\" }";
    let a = Some("a.pem".into());
    for listen in ["", "listen = \"127.0.0.1:25\""] {
        let found = listeners(&format!("[submission]\n{listen}\n{tls}"));
        assert_eq!(found, [(TlsMode::Opportunistic, a.clone())]);
    }
    let found = listeners(&format!(
        "[submission]\nlisten = [\"127.0.0.1:587\", {{ address = \"127.0.0.1:465\", \
         tls = \"implicit\", certificate = \"b.pem\", key = \"b.key\" }}, {{ address = \
         \"127.0.0.1:25\", tls = \"none\" }}, {{ address = \"127.0.0.1:26\", tls = \"required\" \
         }}]\n{tls}"
    ));
    let expected = [
        (TlsMode::Opportunistic, a.clone()),
        (TlsMode::Implicit, Some("b.pem".into())),
        (TlsMode::None, None),
        (TlsMode::Required, a),
    ];
    assert_eq!(found, expected);
    assert_eq!(listeners("submission.listen = [\"[::1]:1\"]"), [(TlsMode::None, None)]);
    let behind = "submission.listen = [{ address = \"[::1]:1\", proxies = \"10.0.0.0/8\" }]";
    assert_eq!(listeners(behind), [(TlsMode::None, None)]);
    let proxies = &read(behind).unwrap().policy.submission.listen[0].proxies;
    assert_eq!(proxies[..], ["10.0.0.0/8".parse().unwrap()]);
}

/// Proves: RFC 2033 §5
/// Covers: A14.7
#[test]
fn lmtp_has_a_listener_of_its_own_and_never_port_25() {
    let at = |port: u16, protocol: &str| {
        let listener = format!("{{ address = \"[::1]:{port}\", protocol = \"{protocol}\" }}");
        read(&format!("submission.listen = [\"[::1]:25\", {listener}]"))
    };
    let config = at(24, "lmtp").unwrap();
    let lmtp: Vec<_> = config.policy.submission.listen.iter().map(|it| it.lmtp).collect();
    assert_eq!(lmtp, [false, true]);
    let again = read(&config.policy.effective_toml()).unwrap();
    assert_eq!(again.policy.submission.listen, config.policy.submission.listen);
    assert!(!at(26, "smtp").unwrap().policy.submission.listen[1].lmtp);
    for (port, protocol, words) in [(25, "lmtp", "at port 25"), (24, "pop3", "lmtp")] {
        let why = at(port, protocol).unwrap_err().to_string();
        assert!(why.contains(words), "{why}");
    }
}

#[test]
fn each_fault_of_a_listener_has_its_own_words() {
    for (text, words) in [
        ("tls = { certificate = \"a.pem\" }", "submission.tls needs both, `certificate`"),
        ("tls = { certificate = \"c.pem\", key = \"a.key\" }", "c.pem, which is not there"),
        ("tls = { certificate = \"a.key\", key = \"a.key\" }", "holds no CERTIFICATE in PEM"),
        ("tls = { certificate = \"a.pem\", key = \"a.pem\" }", "holds no PRIVATE KEY in PEM"),
        ("tls = { certificate = \"a.pem\", key = \"a.key\", keys = 1 }", "did you mean `key`?"),
        ("listen = [{ tls = \"none\" }]", "submission.listen lacks `address`"),
        ("listen = [{ address = \"127.0.0.1:1\", tls = \"implicit\" }]", "there is no certificate"),
        ("listen = [{ address = \"127.0.0.1:1\", key = \"a.key\" }]", "listen needs both"),
        ("limits = [{ messages = \"1/1m\" }]", "submission.limits lacks `network`"),
        ("limits = [{ network = \"10.0.0.1/8\" }]", "the network is 10.0.0.0/8"),
        ("user_limits = { messages = 5 }", "user_limits.messages must be text"),
        ("user_limits = { connections = 0 }", "must be from 1 to 1000000"),
        ("listen = [{ address = \"127.0.0.1:1\", tlss = 1 }]", "did you mean `tls`?"),
        ("listen = [{ address = \"127.0.0.1:1\", tls = \"maybe\" }]", "must be one of \"none\""),
    ] {
        let found = read(&format!("[submission]\n{text}")).unwrap_err();
        assert!(found.contains(words) && found.contains("line 2"), "{text}: {found}");
        assert_eq!(found.lines().count(), 1, "{text}: {found}");
    }
}

#[test]
fn users_come_from_a_file_of_their_own() {
    let keys = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    let read = |file: String| {
        let machine = Domain::parse("box.example").unwrap();
        let text = "[submission]\nusers = \"users.toml\"\nwrong_passwords = \"3/1m\"\n\
                    user_limits = { messages = \"9/1h\", connections = 2 }\n\
                    limits = [{ network = \"10.0.0.0/8\", recipients = \"7/1m\" }]\n";
        let config = Config::parse_with(text, &machine, &mut |_| Ok(file.clone().into_bytes()))?;
        let shown = config.policy.effective_toml();
        let again = Config::parse_with(&shown, &machine, &mut |_| Ok(file.clone().into_bytes()))?;
        assert_eq!(again.policy, config.policy, "{shown}");
        Ok::<_, crate::config::Refused>(config)
    };
    let config = read(format!("tim = \"{keys}\"")).unwrap();
    let users = config.policy.submission.users.unwrap();
    assert!(users.find("tim").is_some());
    assert_eq!(config.policy.submission.wrong_passwords, "3/1m".parse().unwrap());
    let warning = config.warnings.iter().find(|found| found.key == "submission.users");
    assert!(warning.unwrap().message.contains("is of no use"), "{:?}", config.warnings);
    let refused = read("\ntim = \"pencil\"".into()).unwrap_err().to_string();
    assert!(
        refused.contains("line 2, column 9: submission.users names \"users.toml\""),
        "{refused}"
    );
    assert!(refused.contains("line 2: what stands behind \"tim\""), "{refused}");
}
