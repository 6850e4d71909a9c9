//! `auth`: a table with a user and the file of a password or token, or the
//! program that prints a token; and
//! `sender_auth`, a list of such tables, each with whom it is for.

use std::sync::Arc;
use std::time::Duration;

use base::secret::Secret;
use toml::de::DeValue;

use super::cx::{Cx, Item, Key, Keys, named};
use super::on_demand::{program, timeout};
use super::values;
use crate::log_in::{
    AUTH_METHODS, AuthMethod, LogIn, Origin, SECRET_BYTES_MAX, SENDERS_MAX, SecretKind, Senders,
    USER_BYTES_MAX,
};
use crate::program::Program;
use crate::route::Pattern;
use crate::token::{TOKEN_TIMEOUT, TokenCommand};

/// What was written of a log-in.
#[derive(Default)]
struct Written {
    user: Option<Box<str>>,
    files: [Option<Box<str>>; 2],
    command: Option<Program>,
    timeout: Option<Duration>,
    secret: Option<Secret>,
    methods: Option<Vec<AuthMethod>>,
    unchecked: bool,
    /// Whom it is for, of a log-in by sender.
    pattern: Option<Pattern>,
    /// A key was there whose value was refused.
    faulty: bool,
}

const KINDS: [SecretKind; 2] = [SecretKind::Password, SecretKind::Token];

const KEYS: &Keys<Written> = &[
    ("user", |cx, item, log_in| {
        log_in.user = user(cx, item);
        log_in.faulty |= log_in.user.is_none();
    }),
    ("password_file", |cx, item, log_in| file(cx, item, log_in, SecretKind::Password)),
    ("token_file", |cx, item, log_in| file(cx, item, log_in, SecretKind::Token)),
    ("token_command", |cx, item, log_in| {
        log_in.command = program(cx, item);
        log_in.faulty |= log_in.command.is_none();
    }),
    ("token_timeout", |cx, item, log_in| {
        log_in.timeout = timeout(cx, item);
        log_in.faulty |= log_in.timeout.is_none();
    }),
    ("methods", |cx, item, log_in| {
        let read = |cx: &mut Cx<'_>, item: &Item<'_>| values::choice(cx, item, &AUTH_METHODS);
        let methods = values::list(cx, item, AUTH_METHODS.len(), read);
        if methods.as_ref().is_some_and(Vec::is_empty) {
            cx.error(item.span(), "must name at least one method");
        }
        log_in.faulty |= methods.as_ref().is_none_or(Vec::is_empty);
        log_in.methods = methods;
    }),
    ("unchecked", |cx, item, log_in| cx.set(&mut log_in.unchecked, item, values::boolean)),
];

/// The keys of a log-in by sender.
const SENDER_KEYS: &Keys<Written> = &with_match();

const fn with_match() -> [Key<Written>; KEYS.len() + 1] {
    let mut keys = [KEYS[0]; KEYS.len() + 1];
    let mut place = 0;
    while place < KEYS.len() {
        keys[place] = KEYS[place];
        place += 1;
    }
    keys[place] = ("match", |cx, item, log_in| {
        log_in.pattern = values::parsed::<Pattern>(cx, item);
        log_in.faulty |= log_in.pattern.is_none();
    });
    keys
}

/// The paths of the keys of a log-in by sender.
pub(super) fn sender_keys() -> Vec<String> {
    named("delivery.sender_auth.", SENDER_KEYS)
}

/// Reads `sender_auth`.
pub(super) fn senders(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Arc<Senders>> {
    let read = |cx: &mut Cx<'_>, item: &Item<'_>| {
        if !item.get_ref().is_table() {
            cx.error(item.span(), "must be a list of tables, each with `match` and a log-in");
            return None;
        }
        let mut written = Written::default();
        cx.table(item, SENDER_KEYS, &mut written);
        let pattern = written.pattern.take();
        if pattern.is_none() && !written.faulty {
            cx.error(item.span(), "lacks `match`, which says whose log-in it is");
        }
        Some((pattern?, finished(cx, item, written)?))
    };
    let log_ins = values::list(cx, item, SENDERS_MAX, read)?;
    if log_ins.is_empty() {
        cx.error(item.span(), "must have at least one entry, or be \"none\"");
        return None;
    }
    Some(Arc::new(Senders::new(log_ins)))
}

/// The paths of the keys of a log-in.
pub(super) fn log_in_keys() -> Vec<String> {
    named("delivery.auth.", KEYS)
}

/// Reads `auth`; `"none"` switches it off.
pub(super) fn log_in(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Option<Arc<LogIn>>> {
    match item.get_ref() {
        DeValue::Table(_) => {}
        DeValue::String(text) if text == "none" => return Some(None),
        _ => {
            let message = "must be a table such as { user = \"…\", password_file = \"…\" }, \
                           or \"none\"";
            cx.error(item.span(), message);
            return None;
        }
    }
    let mut written = Written::default();
    cx.table(item, KEYS, &mut written);
    finished(cx, item, written).map(Some)
}

/// What was written, if it is whole and makes sense.
fn finished(cx: &mut Cx<'_>, item: &Item<'_>, written: Written) -> Option<Arc<LogIn>> {
    let Written { user, files, command, timeout, secret, methods, .. } = written;
    if written.faulty {
        return None;
    }
    if timeout.is_some() && command.is_none() {
        cx.error(item.span(), "has `token_timeout`, but no `token_command`");
        return None;
    }
    let of_files = KINDS.into_iter().zip(files);
    let of_files = of_files.filter_map(|(kind, file)| Some((kind, Origin::File(file?))));
    let of_command = command.map(|program| {
        let timeout = timeout.unwrap_or(TOKEN_TIMEOUT);
        (SecretKind::Token, Origin::Command(TokenCommand { program, timeout }))
    });
    let mut given = of_files.chain(of_command);
    let (Some(user), Some((kind, origin)), None) = (user, given.next(), given.next()) else {
        let message = "needs `user`, and one of `password_file`, `token_file` and `token_command`";
        cx.error(item.span(), message);
        return None;
    };
    let secret = match &origin {
        Origin::File(_) => secret?,
        // Printed when it is needed.
        Origin::Command(_) => Secret::new(b""),
    };
    let (methods, unchecked) =
        (methods.unwrap_or_else(|| kind.methods().to_vec()).into(), written.unchecked);
    let log_in = LogIn { user, kind, origin, secret, methods, unchecked };
    if let Some(foreign) = log_in.methods.iter().find(|method| !kind.methods().contains(method)) {
        let key = log_in.key();
        cx.error(item.span(), format!("has `{key}`, which {foreign} cannot use"));
        return None;
    }
    Some(Arc::new(log_in))
}

pub(super) fn user(cx: &mut Cx<'_>, item: &Item<'_>) -> Option<Box<str>> {
    let user = values::text(cx, item)?;
    let sound = !user.is_empty() && user.len() <= USER_BYTES_MAX;
    if !sound || user.chars().any(char::is_control) {
        let message = format!("must have 1 to {USER_BYTES_MAX} octets and no control characters");
        cx.error(item.span(), message);
        return None;
    }
    Some(user.into())
}

fn file(cx: &mut Cx<'_>, item: &Item<'_>, log_in: &mut Written, kind: SecretKind) {
    let Some(path) = values::text(cx, item) else {
        log_in.faulty = true;
        return;
    };
    log_in.files[kind as usize] = Some(path.into());
    match cx.file(path).and_then(|bytes| secret(&bytes)) {
        Ok(secret) => log_in.secret = Some(secret),
        Err(reason) => {
            cx.error(item.span(), reason);
            log_in.faulty = true;
        }
    }
}

/// A file's one line.
pub(super) fn secret(bytes: &[u8]) -> Result<Secret, String> {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() || line.len() > SECRET_BYTES_MAX {
        return Err(format!("names a file that must hold 1 to {SECRET_BYTES_MAX} octets"));
    }
    if line.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
        return Err("names a file that must hold a single line".to_owned());
    }
    Ok(Secret::new(line))
}

#[cfg(test)]
mod tests {
    use mail::Domain;

    use super::*;
    use crate::config::Config;
    use crate::mode::{Mode, Smarthost, TlsMode};

    fn read(text: &str, file: &[u8]) -> Result<Config, String> {
        let machine = Domain::parse("box.example").unwrap();
        let mut files = |path: &str| match path {
            "secret" => Ok(file.to_vec()),
            "own.pem" => Ok(b"-----BEGIN CERTIFICATE-----\n".to_vec()),
            _ => Err(format!("names {path}, which is not there")),
        };
        Config::parse_with(text, &machine, &mut files).map_err(|refused| refused.to_string())
    }

    fn relay(rest: &str) -> String {
        format!("[delivery]\nmode = \"relay\"\n{rest}")
    }

    fn hosts(config: &Config) -> Vec<Smarthost> {
        match &config.policy.default_way().mode {
            Mode::Relay(hosts) => hosts.to_vec(),
            _ => Vec::new(),
        }
    }

    const AUTH: &str = "auth = { user = \"tim\", password_file = \"secret\" }\n";

    #[test]
    fn whoever_has_a_password_wants_it_kept() {
        let text =
            relay(&format!("hosts = [\"a\", {{ host = \"b\", tls = \"implicit\" }}]\n{AUTH}"));
        let config = read(&text, b"hunter2\r\n").unwrap();
        let hosts = hosts(&config);
        assert_eq!((hosts[0].port, hosts[0].tls), (587, TlsMode::Required));
        assert_eq!((hosts[1].port, hosts[1].tls), (465, TlsMode::Implicit));
        let auth = hosts[0].auth.as_ref().unwrap();
        assert_eq!((&*auth.user, auth.secret.expose()), ("tim", &b"hunter2"[..]));
        assert_eq!(*auth.methods, *SecretKind::Password.methods());
        assert!(!auth.unchecked);
    }

    #[test]
    fn a_host_and_a_route_may_have_their_own_or_none() {
        let text = relay(&format!(
            "hosts = [\"a\", {{ host = \"b\", auth = \"none\" }}, {{ host = \"c\", \
             auth = {{ user = \"ann\", token_file = \"secret\" }} }}]\n{AUTH}\
             [[route]]\nmatch = \"x.example\"\nauth = \"none\"\nhosts = [\"d\"]\n"
        ));
        let config = read(&text, b"s").unwrap();
        let users: Vec<_> =
            hosts(&config).iter().map(|h| h.auth.as_ref().map(|a| a.user.to_string())).collect();
        assert_eq!(users, [Some("tim".to_owned()), None, Some("ann".to_owned())]);
        assert_eq!(hosts(&config)[1].port, 25);
        let route = config.policy.route(&mail::Address::parse("b@x.example", false).unwrap());
        let Mode::Relay(hosts) = &route.mode else { panic!("a relay") };
        assert_eq!((&hosts[0].auth, hosts[0].port), (&None, 25));
    }

    #[test]
    fn senders_have_their_own_log_in_where_a_host_has_none() {
        let text = relay(&format!(
            "hosts = [\"a\", {{ host = \"b\", auth = \"none\" }}]\n{AUTH}\
             sender_auth = [{{ match = \"ann@x.example\", user = \"ann\", password_file = \
             \"secret\" }}, {{ match = \"*.y.example\", user = \"y\", token_file = \"secret\" }}]\n\
             [[route]]\nmatch = \"x.example\"\nsender_auth = \"none\"\n\
             [[route]]\nmatch = \"y.example\"\nmode = \"independent\"\n"
        ));
        let config = read(&text, b"s").unwrap();
        let way = config.policy.default_way();
        let hosts = hosts(&config);
        let exit = |way: &crate::Delivery, sender: &str| {
            way.exit(7, || mail::Address::parse(sender, false).ok(), |_| true)
        };
        let user = |way: &crate::Delivery, host: &Smarthost, sender: &str| {
            way.log_in(host, exit(way, sender)).map(|auth| auth.user.to_string())
        };
        for (sender, at_a) in [("ann@x.example", "ann"), ("b@a.y.example", "y"), ("c@z", "tim")] {
            assert_eq!(user(way, &hosts[0], sender).as_deref(), Some(at_a));
            assert_eq!(user(way, &hosts[1], sender), None);
        }
        let keys = ["ann@x.example", "b@a.y.example", "c@z"]
            .map(|sender| crate::Site::of_relay(way, exit(way, sender)).unwrap().key);
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2], "{keys:?}");
        let of_none = &config.policy.ways()[1];
        assert_eq!(user(of_none, &hosts[0], "ann@x.example").as_deref(), Some("tim"));
        let shown = config.policy.effective_toml();
        assert_eq!(read(&shown, b"s").unwrap().policy, config.policy, "{shown}");
    }

    #[test]
    fn each_fault_of_a_senders_log_in_has_its_own_words() {
        let one = "match = \"x.example\", user = \"t\", password_file = \"secret\"";
        for (value, words) in [
            ("[]".to_owned(), "at least one entry"),
            ("[1]".to_owned(), "must be a list of tables"),
            ("[{ user = \"t\", password_file = \"secret\" }]".to_owned(), "lacks `match`"),
            ("[{ match = \"a b\", user = \"t\" }]".to_owned(), "a valid"),
            ("[{ match = \"x\", user = \"t\" }]".to_owned(), "needs `user`, and one of"),
            (format!("[{{ {one}, sender = 1 }}]"), "is not a known key"),
            (format!("[{{ {one}, methods = [\"plain\"] }}]\ntls = \"none\""), "does not prove"),
        ] {
            let found = read(&relay(&format!("hosts = [\"a\"]\nsender_auth = {value}")), b"s");
            let found = found.unwrap_err();
            assert!(found.contains(words), "{value}: {found}");
        }
        let alone = read(&format!("[delivery]\nsender_auth = [{{ {one} }}]"), b"s").unwrap_err();
        assert!(alone.contains("delivery.sender_auth is given, but mail goes by"), "{alone}");
    }

    #[test]
    fn nothing_shows_a_secret_and_what_is_shown_reads_back_the_same() {
        let text = relay(&format!("hosts = [\"a\"]\n{AUTH}"));
        let config = read(&text, b"hunter2").unwrap();
        let shown = config.policy.effective_toml();
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(!format!("{config:?}").contains("hunter2"));
        assert_eq!(read(&shown, b"hunter2").unwrap().policy, config.policy, "{shown}");
        assert_ne!(read(&shown, b"hunter3").unwrap().policy, config.policy, "it was changed");
    }

    /// Shows: S2.2, S3.10
    #[test]
    fn a_token_may_come_from_a_program() {
        let log_in = |rest: &str| {
            let auth = format!("auth = {{ user = \"t\", {rest} }}\n");
            read(&relay(&format!("hosts = [\"a\"]\n{auth}")), b"s")
        };
        let config = log_in("token_command = [\"/bin/mint\", \"-v\"]").unwrap();
        let auth = hosts(&config)[0].auth.clone().unwrap();
        assert_eq!(auth.command().unwrap().timeout, TOKEN_TIMEOUT);
        assert_eq!((&*auth.methods, hosts(&config)[0].port), (&[AuthMethod::XOAuth2][..], 587));
        let config = log_in("token_command = \"/bin/mint\", token_timeout = \"3s\"").unwrap();
        let shown = config.policy.effective_toml();
        assert!(shown.contains("token_command = [\"/bin/mint\"], token_timeout = \"3s\""));
        assert_eq!(read(&shown, b"s").unwrap().policy, config.policy, "{shown}");
        let command = "token_command = \"/bin/mint\"";
        for (rest, words) in [
            ("token_command = \"mint me\"".into(), "is no absolute path of a program; each word"),
            ("token_command = 1".into(), "must be a list of words"),
            ("token_command = []".into(), "must have 1 to 64 words"),
            (format!("{command}, token_timeout = \"1ms\""), "token_timeout must be"),
            (format!("{command}, token_file = \"secret\""), "needs `user`, and one of"),
            (format!("{command}, methods = [\"plain\"]"), "has `token_command`, which plain"),
            ("token_file = \"secret\", token_timeout = \"1s\"".into(), "but no `token_command`"),
            ("token_comand = \"/bin/mint\"".into(), "did you mean `token_command`"),
        ] {
            let found = log_in(&rest).unwrap_err();
            assert!(found.starts_with("line ") && found.contains(words), "{rest}: {found}");
        }
    }

    /// Shows: S3.8, S3.9, S3.10
    #[test]
    fn a_preset_gives_host_port_tls_and_methods_and_a_host_its_own_trust() {
        let text = relay(&format!(
            "hosts = [{{ preset = \"gmail\" }}, {{ preset = \"fastmail\", port = 4650 }}, \
             {{ host = \"c\", tls = \"required\", trust = \"own.pem\" }}]\n{AUTH}"
        ));
        let config = read(&text, b"s").unwrap();
        let found = hosts(&config);
        assert_eq!(found[0].host.to_string(), "smtp.gmail.com");
        assert_eq!((found[0].port, found[0].tls), (587, TlsMode::Required));
        let methods = &found[0].auth.as_ref().unwrap().methods;
        assert_eq!(**methods, [AuthMethod::Plain, AuthMethod::Login]);
        assert_eq!((found[1].port, found[1].tls), (4650, TlsMode::Implicit));
        assert_eq!(found[2].trust.to_string(), "own.pem");
        assert_eq!(found[1].trust, crate::mode::Trust::WebPki);
        let shown = config.policy.effective_toml();
        assert_eq!(read(&shown, b"s").unwrap().policy, config.policy, "{shown}");
        for (host, words) in [
            ("preset = \"gmial\"", "names \"gmial\", which is not there; did you mean `gmail`?"),
            ("preset = \"gmail\", host = \"a\"", "has `host` and `preset`"),
            ("port = 25", "lacks `host`, or `preset`"),
            (
                "preset = \"microsoft365\"",
                "cannot be used at smtp.office365.com, which takes xoauth2",
            ),
            ("host = \"a\", trust = \"x\"", "must be \"webpki\""),
        ] {
            let found = read(&relay(&format!("hosts = [{{ {host} }}]\n{AUTH}")), b"s").unwrap_err();
            assert!(found.contains(words), "{host}: {found}");
        }
    }

    /// Shows: A65
    #[test]
    fn a_host_may_be_shown_a_certificate_and_both_files_are_needed() {
        let pem: &[u8] = b"-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n";
        let both =
            "{ host = \"a\", tls = \"required\", certificate = \"secret\", key = \"secret\" }";
        let config = read(&relay(&format!("hosts = [{both}]")), pem).unwrap();
        assert!(hosts(&config)[0].identity.is_some());
        let shown = config.policy.effective_toml();
        assert!(!shown.contains("BEGIN") && !format!("{config:?}").contains("BEGIN"), "{shown}");
        assert_eq!(read(&shown, pem).unwrap().policy, config.policy, "{shown}");
        let one = "hosts = [{ host = \"a\", certificate = \"secret\" }]";
        let found = read(&relay(one), pem).unwrap_err();
        assert!(found.contains("needs both, `certificate` and `key`"), "{found}");
    }

    /// Shows: S1.9
    #[test]
    fn a_template_of_reports_is_checked_when_it_is_read() {
        let text = "[dsn]\ntemplate = \"secret\"\n";
        let config = read(text, b"Sorry, {to}.\n{details}\n").unwrap();
        let shown = config.policy.effective_toml();
        assert_eq!(read(&shown, b"Sorry, {to}.\n{details}\n").unwrap().policy, config.policy);
        let found = read(text, b"Sorry.\n{reason}\n").unwrap_err();
        assert!(
            found.contains(
                "line 2, column 12: dsn.template names \"secret\", which is no template: line 2"
            ),
            "{found}"
        );
        let machine = Domain::parse("box.example").unwrap();
        assert!(Config::parse(text, &machine).is_ok(), "a file that is not read counts as sound");
    }

    #[test]
    fn each_fault_of_a_log_in_has_its_own_words() {
        let weak = "auth = { user = \"tim\", password_file = \"secret\", methods = [\"plain\"] }";
        let foreign = "auth = { user = \"t\", token_file = \"secret\", methods = [\"plain\"] }";
        let both = "auth = { user = \"t\", token_file = \"secret\", password_file = \"secret\" }";
        for (auth, file, words) in [
            (AUTH, &b"\n"[..], "must hold 1 to 8192 octets"),
            (AUTH, b"a\nb", "must hold a single line"),
            (AUTH, b"a\0b", "must hold a single line"),
            (AUTH, &[b'x'; SECRET_BYTES_MAX + 1], "must hold 1 to 8192 octets"),
            ("auth = { user = \"t\", password_file = \"other\" }", b"", "which is not there"),
            ("auth = { user = \"\", password_file = \"secret\" }", b"s", "no control characters"),
            ("auth = { user = \"a\\u0000\", password_file = \"secret\" }", b"s", "no control"),
            ("auth = { user = \"t\" }", b"s", "needs `user`, and one of"),
            ("auth = { user = \"t\", password = \"x\" }", b"s", "is not a known key"),
            (both, b"s", "needs `user`, and one of"),
            (foreign, b"s", "has `token_file`, which plain cannot use"),
            ("auth = 1", b"s", "must be a table such as"),
            (
                "auth = { user = \"t\", password_file = \"secret\", methods = [] }",
                b"s",
                "at least one",
            ),
            (&format!("{weak}\ntls = \"opportunistic\""), b"s", "does not prove who it is"),
        ] {
            let found = read(&relay(&format!("hosts = [\"a\"]\n{auth}")), file).unwrap_err();
            assert!(found.contains(words) && found.contains("delivery.auth"), "{auth}: {found}");
        }
        let alone = read(&format!("[delivery]\n{AUTH}"), b"s").unwrap_err();
        assert!(alone.contains("delivery.auth is given, but mail goes by"), "{alone}");
        let longest = read(&relay(&format!("hosts = [\"a\"]\n{AUTH}")), &[b'x'; SECRET_BYTES_MAX]);
        assert!(longest.is_ok());
    }
}
