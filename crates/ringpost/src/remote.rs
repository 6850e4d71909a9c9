//! Which daemon a verb asks: the one of this machine, or one elsewhere, by
//! options, environment or a file of the user's.
//!
//! Never guesses: whoever names a host names what both sides prove themselves
//! with.

use std::path::{Path, PathBuf};

use clap::Args;
use control::remote::PORT_USUAL;
use runtime::tls_stream::Remote;

/// Options of a verb for a daemon elsewhere.
#[derive(Clone, Debug, Default, Args)]
pub struct RemoteArgs {
    /// A daemon elsewhere, as HOST or HOST:PORT, by its control port [env: RINGPOST_HOST]
    #[arg(long, value_name = "HOST", help_heading = "Elsewhere")]
    host: Option<String>,
    /// The certificate of the authority that made the host's [env: RINGPOST_CA]
    #[arg(long, value_name = "FILE", help_heading = "Elsewhere")]
    ca: Option<PathBuf>,
    /// Our certificate [env: RINGPOST_CERTIFICATE]
    #[arg(long, value_name = "FILE", help_heading = "Elsewhere")]
    certificate: Option<PathBuf>,
    /// Its key [env: RINGPOST_KEY]
    #[arg(long, value_name = "FILE", help_heading = "Elsewhere")]
    key: Option<PathBuf>,
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// The daemon at this control socket.
    Socket(PathBuf),
    /// One elsewhere.
    Remote(Box<Remote>),
    /// It is not clear who, in a sentence.
    Unclear(String),
}

/// What the user's file is called.
const FILE: &str = "remote.conf";
/// Where it is looked for instead, if set.
const FILE_VARIABLE: &str = "RINGPOST_REMOTE";
const FILE_BYTES_MAX: usize = 64 << 10;
/// What may be set there, and by the environment.
const KEYS: [(&str, &str); 4] = [
    ("host", "RINGPOST_HOST"),
    ("ca", "RINGPOST_CA"),
    ("certificate", "RINGPOST_CERTIFICATE"),
    ("key", "RINGPOST_KEY"),
];

/// What was set, in the order of [`KEYS`].
type Settings = [Option<String>; 4];

impl RemoteArgs {
    /// Who is asked, where `local` is the socket that was named, if one was.
    pub fn at(&self, local: Option<PathBuf>, usual: PathBuf) -> At {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let environment = KEYS.map(|(_, variable)| set(variable));
        match self.resolved(local.is_some(), environment, read_file) {
            Ok(Some(remote)) => At::Remote(Box::new(remote)),
            Ok(None) => At::Socket(local.unwrap_or(usual)),
            Err(why) => At::Unclear(why),
        }
    }

    /// The daemon elsewhere that is meant, if one is.
    fn resolved(
        &self,
        local_is_named: bool,
        environment: Settings,
        file: impl FnOnce() -> Result<Settings, String>,
    ) -> Result<Option<Remote>, String> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|it| it.display().to_string());
        let own = [self.host.clone(), path(&self.ca), path(&self.certificate), path(&self.key)];
        if local_is_named {
            return match own.iter().any(Option::is_some) {
                true => Err("name a host elsewhere or a folder here, not both".into()),
                false => Ok(None),
            };
        }
        let mut settings = own;
        for (slot, (variable, of_file)) in
            settings.iter_mut().zip(environment.into_iter().zip(file()?))
        {
            *slot = slot.take().or(variable).or(of_file);
        }
        let [host, ca, certificate, key] = settings;
        let Some(host) = host else {
            let named = self.ca.is_some() || self.certificate.is_some() || self.key.is_some();
            return match named {
                true => Err("name the host, too: --host HOST".into()),
                false => Ok(None),
            };
        };
        let (Some(ca), Some(certificate), Some(key)) = (ca, certificate, key) else {
            return Err(format!(
                "{host}: control from elsewhere takes --ca, --certificate and --key (or RINGPOST_CA, \
                 RINGPOST_CERTIFICATE, RINGPOST_KEY, or {FILE}); `ringpost remote-key` makes them"
            ));
        };
        let (host, port) = parsed(&host)?;
        let [authority, certificate, key] = [ca, certificate, key].map(PathBuf::from);
        Ok(Some(Remote { host, port, authority, certificate, key }))
    }
}

/// Name and port of a host.
fn parsed(text: &str) -> Result<(String, u16), String> {
    let no_host = || format!("{text:?} is no host; as in mx.example.com:{PORT_USUAL}");
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or_else(no_host)?;
            (host, after.strip_prefix(':'))
        }
        // More than one colon: an IPv6 address without a port.
        None if text.matches(':').count() > 1 => (text, None),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Ok(PORT_USUAL), |port| port.parse().map_err(|_| no_host()))?;
    if host.is_empty() || port == 0 {
        return Err(no_host());
    }
    Ok((host.into(), port))
}

/// What the user's file says; nothing where there is none.
fn read_file() -> Result<Settings, String> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let named = variable(FILE_VARIABLE).map(PathBuf::from);
    let usual = || {
        let folder = variable("XDG_CONFIG_HOME").map(PathBuf::from);
        let folder = folder.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".config")));
        Some(folder?.join("ringpost").join(FILE))
    };
    match named.clone().or_else(usual) {
        Some(path) => settings_in(&path, named.is_some()),
        None => Ok(Settings::default()),
    }
}

/// What a file says. One that is there and cannot be read is told of: the daemon
/// of this machine is not the one that it means.
fn settings_in(path: &Path, is_needed: bool) -> Result<Settings, String> {
    let told = |why: String| format!("{}: {why}", path.display());
    match std::fs::read_to_string(path) {
        Ok(text) => settings(&text, path.parent().unwrap_or(Path::new(""))).map_err(told),
        Err(_) if !is_needed && !path.exists() => Ok(Settings::default()),
        Err(error) => Err(told(error.to_string())),
    }
}

/// `host = …`, `ca = …`, `certificate = …`, `key = …`, a line each; files lie in
/// the folder of the file unless they say otherwise.
fn settings(text: &str, folder: &Path) -> Result<Settings, String> {
    if text.len() > FILE_BYTES_MAX {
        return Err("it is too large".into());
    }
    let mut settings = Settings::default();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let (name, value) =
            line.split_once('=').ok_or_else(|| format!("line {number} has no `=`"))?;
        let (name, value) = (name.trim(), value.trim().trim_matches('"'));
        let place = KEYS.iter().position(|(key, _)| *key == name).ok_or_else(|| {
            format!("line {number}: `{name}` is not known; known: host, ca, certificate, key")
        })?;
        settings[place] = Some(match place {
            0 => value.to_owned(),
            _ => folder.join(value).display().to_string(),
        });
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(host: Option<&str>) -> RemoteArgs {
        RemoteArgs { host: host.map(str::to_owned), ..RemoteArgs::default() }
    }

    fn set(values: [&str; 4]) -> Settings {
        values.map(|value| Some(value.to_owned()).filter(|value| !value.is_empty()))
    }

    #[test]
    fn options_go_before_the_environment_and_that_before_the_file() {
        let file = set(["file.example", "f/ca", "f/c", "f/k"]);
        let environment = set(["env.example:99", "e/ca", "", ""]);
        let none = Settings::default();
        let of = |args: RemoteArgs, local, env: &Settings, file: &Settings| {
            args.resolved(local, env.clone(), || Ok(file.clone()))
        };
        assert_eq!(of(args(None), false, &none, &none), Ok(None));
        let remote = of(args(None), false, &environment, &file).unwrap().unwrap();
        assert_eq!((&*remote.host, remote.port), ("env.example", 99));
        assert_eq!((remote.authority, remote.key), ("e/ca".into(), "f/k".into()));
        let remote = of(args(Some("own.example")), false, &environment, &file).unwrap().unwrap();
        assert_eq!((&*remote.host, remote.port), ("own.example", PORT_USUAL));
        // Who names a folder here means that.
        assert_eq!(of(args(None), true, &environment, &file), Ok(None));
        assert_eq!(args(None).resolved(true, none.clone(), || Err("bent".into())), Ok(None));
        let both = of(args(Some("own.example")), true, &none, &file).unwrap_err();
        assert!(both.contains("not both"), "{both}");
        let alone = of(args(Some("own.example")), false, &none, &none).unwrap_err();
        assert!(alone.contains("--ca") && alone.contains("remote-key"), "{alone}");
        let nobody = RemoteArgs { ca: Some("x".into()), ..args(None) };
        assert!(of(nobody, false, &none, &none).unwrap_err().contains("--host"));
    }

    #[test]
    fn hosts_are_names_and_addresses_with_a_port_or_without() {
        for (text, host, port) in [
            ("mx.example", "mx.example", PORT_USUAL),
            ("mx.example:1", "mx.example", 1),
            ("192.0.2.1:8026", "192.0.2.1", 8026),
            ("2001:db8::1", "2001:db8::1", PORT_USUAL),
            ("[2001:db8::1]", "2001:db8::1", PORT_USUAL),
            ("[2001:db8::1]:7", "2001:db8::1", 7),
        ] {
            assert_eq!(parsed(text), Ok((host.to_owned(), port)), "{text}");
        }
        for bad in ["", ":1", "mx.example:", "mx.example:x", "mx.example:0", "[::1", "[]"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    /// It once counted as none, so that what was meant for a daemon elsewhere was
    /// done to the one of this machine.
    #[test]
    fn a_file_that_is_there_and_cannot_be_read_is_told_of() {
        let folder = std::env::temp_dir().join(format!("ringpost-remote-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(FILE);
        assert_eq!(settings_in(&path, false), Ok(Settings::default()));
        assert!(settings_in(&path, true).is_err());
        std::fs::write(&path, b"host = m\xfcnchen.example\n").unwrap();
        let why = settings_in(&path, false).unwrap_err();
        assert!(why.contains(FILE) && why.contains("UTF-8"), "{why}");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_file_is_read_line_by_line() {
        let text = "# mine\nhost = mx.example\nca = authority.pem\nkey = \"/etc/k\" # there\n";
        let read = settings(text, Path::new("/etc/ann")).unwrap();
        assert_eq!(read, set(["mx.example", "/etc/ann/authority.pem", "", "/etc/k"]));
        assert!(settings("hosts = a\n", Path::new("")).unwrap_err().contains("`hosts`"));
        assert!(settings("\nhost\n", Path::new("")).unwrap_err().contains("line 2"));
    }
}
