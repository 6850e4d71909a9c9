//! What we prove ourselves with and who may prove themselves to us: log-ins at
//! relay hosts and proxies, certificates, users, each by name and with the
//! settings that use it.
//!
//! Never shows a secret, nor what is stored of one: names and files at most.
//! Bounded: [`ROWS_MAX`] rows of a kind, [`PLACES_MAX`] places of a row, and
//! how many there are.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::exit::ProxyKind;
use crate::log_in::{LogIn, Origin};
use crate::mode::Mode;
use crate::policy::Policy;
use crate::submission::Identity;

/// Most rows of one kind.
pub const ROWS_MAX: usize = 1_000;
/// Most places that are told of one row.
pub const PLACES_MAX: usize = 10;

/// The credentials of a policy.
pub fn credentials(policy: &Policy) -> Value {
    let mut found = Found::default();
    for way in policy.ways() {
        let name = if way.is_default() { "delivery".into() } else { format!("route {}", way.name) };
        if let Mode::Relay(hosts) = &way.mode {
            for host in hosts.iter() {
                let place = || format!("{name}, host {}:{}", host.host, host.port);
                if let Some(auth) = &host.auth {
                    found.log_in(auth, place);
                }
                if let Some(pop) = &host.pop {
                    let place = || format!("{name}, POP3 server {}:{}", pop.host, pop.port);
                    found.add_log_in([&pop.user, "password", &pop.file], place);
                }
                if let Some(identity) = &host.identity {
                    found.identity(identity, place);
                }
            }
        }
        for (pattern, auth) in way.senders.iter().flat_map(|senders| senders.iter()) {
            found.log_in(auth, || format!("{name}, sender {pattern}"));
        }
    }
    for source in &policy.exits.sources {
        if let Some(ProxyKind::Socks5(Some(log_in))) = source.proxy.as_ref().map(|it| &it.kind) {
            let key = [&*log_in.user, "password", &*log_in.file];
            found.add_log_in(key, || format!("source {}", source.name));
        }
    }
    if let Some(identity) = &policy.submission.tls {
        found.identity(identity, || "submission".into());
    }
    for listener in &policy.submission.listen {
        if let Some(identity) = &listener.identity {
            found.identity(identity, || format!("listener {}", listener.address));
        }
    }
    if let Some(control) = &policy.control {
        found.identity(&control.identity, || "control".into());
    }
    found.into_json(policy)
}

/// Where something is used: the first places, and how many there are.
#[derive(Default)]
struct Places {
    first: Vec<String>,
    count: u64,
}

#[derive(Default)]
struct Found<'p> {
    /// By user, kind of secret and file, or program that prints it.
    log_ins: BTreeMap<[&'p str; 3], Places>,
    /// By certificate and key.
    certificates: BTreeMap<[&'p str; 2], Places>,
}

impl<'p> Found<'p> {
    fn log_in(&mut self, auth: &'p LogIn, place: impl FnOnce() -> String) {
        let (kind, origin) = match &auth.origin {
            Origin::File(file) => (auth.kind.key().trim_end_matches("_file"), &**file),
            Origin::Command(command) => ("token command", command.program.path()),
        };
        self.add_log_in([&auth.user, kind, origin], place);
    }

    fn add_log_in(&mut self, key: [&'p str; 3], place: impl FnOnce() -> String) {
        self.log_ins.entry(key).or_default().add(place);
    }

    fn identity(&mut self, identity: &'p Identity, place: impl FnOnce() -> String) {
        let key = [&*identity.certificate, &*identity.key];
        self.certificates.entry(key).or_default().add(place);
    }

    fn into_json(self, policy: &Policy) -> Value {
        let log_in = |([user, secret, file], places): ([&str; 3], Places)| {
            let Places { first, count } = places;
            json!({ "user": user, "secret": secret, "file": file, "used_at": first, "uses": count })
        };
        let certificate = |([certificate, key], places): ([&str; 2], Places)| {
            let Places { first, count } = places;
            json!({ "certificate": certificate, "key": key, "used_at": first, "uses": count })
        };
        let user = |(name, user): (&str, &crate::users::User)| {
            let (password, certificates) = (user.password.is_some(), user.certificates.len());
            json!({ "name": name, "password": password, "certificates": certificates })
        };
        let users = policy.submission.users.as_deref();
        let all = users.into_iter().flat_map(|users| users.iter());
        json!({
            "counts": {
                "log_ins": self.log_ins.len(),
                "certificates": self.certificates.len(),
                "users": users.map_or(0, |users| users.iter().count()),
            },
            "log_ins": self.log_ins.into_iter().take(ROWS_MAX).map(log_in).collect::<Vec<_>>(),
            "certificates":
                self.certificates.into_iter().take(ROWS_MAX).map(certificate).collect::<Vec<_>>(),
            "users": all.take(ROWS_MAX).map(user).collect::<Vec<_>>(),
            "users_file": users.map(|users| &*users.file),
        })
    }
}

impl Places {
    fn add(&mut self, place: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < PLACES_MAX {
            self.first.push(place());
        }
    }
}

#[cfg(test)]
mod tests {
    use mail::Domain;

    use super::*;
    use crate::config::Config;

    /// What the files below hold that nobody may see.
    const SECRETS: [&str; 4] = ["sesame", "W22ZaJ0S", "SCRAM", "c3RvcmVk"];
    const KEYS: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                        WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    const PEM: &str = "-----BEGIN CERTIFICATE-----\nc3RvcmVk\n-----END CERTIFICATE-----\n\
                       -----BEGIN PRIVATE KEY-----\nc3RvcmVk\n-----END PRIVATE KEY-----\n";

    fn listed(text: &str) -> Value {
        let machine = Domain::parse("box.example").unwrap();
        let mut files = |path: &str| match path {
            "users.toml" => Ok(format!("app = \"{KEYS}\"\n").into_bytes()),
            "c.pem" | "k.pem" => Ok(PEM.as_bytes().to_vec()),
            _ => Ok(b"sesame".to_vec()),
        };
        let config = Config::parse_with(text, &machine, &mut files);
        credentials(&config.unwrap_or_else(|refused| panic!("{refused}")).policy)
    }

    /// Log-ins, certificates and users by name with where they are used, and
    /// nothing of any secret, nor of what is stored of one.
    ///
    /// Shows: S2.24
    #[test]
    fn credentials_are_listed_by_name_and_never_shown() {
        let shown = listed(
            "[submission]\nusers = \"users.toml\"\ntls = { certificate = \"c.pem\", key = \"k.pem\" }\n\
             [[source]]\nname = \"far\"\n\
             socks5 = { server = \"192.0.2.1:1080\", user = \"sue\", password_file = \"sue.secret\" }\n\
             [delivery]\nmode = \"relay\"\nhosts = [\"one.example\", \"two.example:465\"]\n\
             auth = { user = \"tim\", password_file = \"tim.secret\" }\n\
             sender_auth = [{ match = \"b.example\", user = \"bob\", token_file = \"bob.token\" }, \
             { match = \"c.example\", user = \"cat\", token_command = [\"/bin/mint\", \"cat\"] }]\n\
             [[route]]\nmatch = \"a.example\"\n\
             hosts = [{ host = \"three.example\", certificate = \"c.pem\", key = \"k.pem\", \
             pop = { user = \"pam\", password_file = \"pam.secret\" } }]\n",
        );
        let row = |kind: &str, key: &str, name: &str| {
            let rows = shown[kind].as_array().unwrap().iter();
            let mut rows = rows.filter(|row| row[key] == name);
            let row = rows.next().unwrap_or_else(|| panic!("no {name}: {shown:#}"));
            (row["used_at"].to_string(), row["uses"].clone())
        };
        let (places, uses) = row("log_ins", "user", "tim");
        assert!(places.contains("delivery, host one.example:587"), "{places}");
        assert!(places.contains("route a.example, host three.example:587"), "{places}");
        assert_eq!(uses, 3, "{places}");
        assert!(row("log_ins", "user", "bob").0.contains("delivery, sender b.example"));
        assert!(row("log_ins", "file", "/bin/mint").0.contains("delivery, sender c.example"));
        let (places, _) = row("log_ins", "user", "pam");
        assert!(places.contains("route a.example, POP3 server three.example:995"), "{places}");
        assert!(row("log_ins", "user", "sue").0.contains("source far"));
        let (places, _) = row("certificates", "certificate", "c.pem");
        assert!(places.contains("listener 127.0.0.1:2525"), "{places}");
        assert!(places.contains("host three.example"), "{places}");
        assert_eq!(shown["users"], json!([{ "name": "app", "password": true, "certificates": 0 }]));
        let text = shown.to_string();
        assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{text}");
    }

    /// However often something is used, and however much there is.
    #[test]
    fn the_list_is_bounded_and_says_how_much_there_is() {
        let mut text = String::from("[delivery]\nmode = \"relay\"\nhosts = [\"one.example\"]\n");
        for number in 0..ROWS_MAX + 5 {
            text.push_str(&format!(
                "[[route]]\nmatch = \"d{number}.example\"\n\
                 auth = {{ user = \"u{number}\", password_file = \"f\" }}\n\
                 [[route]]\nmatch = \"e{number}.example\"\n\
                 auth = {{ user = \"u0\", password_file = \"f\" }}\n"
            ));
        }
        let shown = listed(&text);
        assert_eq!(shown["counts"]["log_ins"], ROWS_MAX + 5);
        let rows = shown["log_ins"].as_array().unwrap();
        assert_eq!(rows.len(), ROWS_MAX);
        let first = &rows[0];
        assert_eq!((&first["user"], &first["uses"]), (&json!("u0"), &json!(ROWS_MAX + 6)));
        assert_eq!(first["used_at"].as_array().map(Vec::len), Some(PLACES_MAX));
    }
}
