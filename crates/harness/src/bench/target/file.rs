//! Any other server: a small file says how it is started and what files it
//! needs, with places in braces for what differs from run to run.
//!
//! ```toml
//! name = "other"
//! command = ["/opt/other/bin/otherd", "-c", "{folder}/other.conf"]
//! stop = "TERM"                        # or INT, QUIT
//! [files]
//! "other.conf" = "listen {listen}\nrelay {relay}\nresolver {dns}\n"
//! ```
//!
//! Places: `{folder}`, `{listen}` (address and port), `{listen_port}`,
//! `{relay}`, `{relay_ip}`, `{relay_port}`, `{mx_port}`, `{dns}`, `{dns_ip}`,
//! `{dns_port}`, `{certificate}`, `{key}`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path};

use rustix::process::Signal;
use serde::Deserialize;

use super::{Place, Running, Server, until_greeted, write};
use crate::bench::child::Child;
use crate::bench::figures::CEILING;

/// What the file says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileTarget {
    name: String,
    command: Vec<String>,
    #[serde(default)]
    stop: Stop,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    files: BTreeMap<String, String>,
}

/// How it is asked to end.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Stop {
    #[default]
    Term,
    Int,
    Quit,
}

impl FileTarget {
    /// Reads the file.
    ///
    /// # Errors
    /// It is not there, or does not say how to start a server.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| {
            format!("no target, and no file that describes one: {}: {error}", path.display())
        })?;
        Self::parse(&text).map_err(|why| format!("{}: {why}", path.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let target: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        if target.command.is_empty() {
            return Err("the command names no program".to_owned());
        }
        if target.name.is_empty() || target.name == CEILING {
            return Err("it needs a name of its own".to_owned());
        }
        for name in target.files.keys() {
            let inside =
                Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
            if !inside || name.is_empty() {
                return Err(format!("{name:?} does not lie in the folder of the run"));
            }
        }
        Ok(target)
    }

    /// What reports call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn start(&self, place: &Place<'_>) -> Result<Server, String> {
        let mut configuration = format!("command = {:?}\n", self.command);
        for (name, text) in &self.files {
            let (path, text) = (place.folder.join(name), fill(text, place));
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(|error| error.to_string())?;
            }
            write(&path, &text)?;
            configuration.push_str(&format!("# {name}\n{text}\n"));
        }
        let words: Vec<String> = self.command.iter().map(|word| fill(word, place)).collect();
        let environment: Vec<(String, String)> =
            self.environment.iter().map(|(key, value)| (key.clone(), fill(value, place))).collect();
        let (program, arguments) = words.split_first().expect("checked when the file was read");
        let program = Path::new(program);
        let mut child = Child::start("server", program, arguments, &environment, &place.folder)?;
        until_greeted(place.listen, &mut child)?;
        let stop = match self.stop {
            Stop::Term => Signal::TERM,
            Stop::Int => Signal::INT,
            Stop::Quit => Signal::QUIT,
        };
        Ok(Server { configuration, child, stop, kind: Running::File })
    }
}

/// `text` with every place filled.
fn fill(text: &str, place: &Place<'_>) -> String {
    let pem = |first: bool| {
        let both = place.certificate.as_ref();
        both.map_or(String::new(), |both| {
            if first { &both.0 } else { &both.1 }.display().to_string()
        })
    };
    let places = [
        ("{folder}", place.folder.display().to_string()),
        ("{listen}", place.listen.to_string()),
        ("{listen_port}", place.listen.port().to_string()),
        ("{relay}", place.relay.to_string()),
        ("{relay_ip}", place.relay.ip().to_string()),
        ("{relay_port}", place.relay.port().to_string()),
        ("{mx_port}", place.port.to_string()),
        ("{dns}", place.dns.to_string()),
        ("{dns_ip}", place.dns.ip().to_string()),
        ("{dns_port}", place.dns.port().to_string()),
        ("{certificate}", pem(true)),
        ("{key}", pem(false)),
    ];
    places.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::plan::Plan;
    use std::path::PathBuf;

    #[test]
    fn a_file_says_how_to_start_a_server() {
        let text = "name = \"other\"\ncommand = [\"/bin/other\", \"{folder}/c\"]\nstop = \"INT\"\n\
                    [files]\n\"c\" = \"{listen} {relay_ip} {relay_port} {dns_port}\"\n";
        let target = FileTarget::parse(text).unwrap();
        let plan = Plan::default();
        let address = |text: &str| text.parse().unwrap();
        let place = Place {
            plan: &plan,
            folder: PathBuf::from("/run/x"),
            listen: address("127.0.0.1:2525"),
            relay: address("127.77.0.1:2600"),
            port: 2_600,
            dns: address("127.0.0.1:53"),
            certificate: None,
        };
        assert_eq!(fill(&target.files["c"], &place), "127.0.0.1:2525 127.77.0.1 2600 53");
        assert_eq!(fill(&target.command[1], &place), "/run/x/c");
    }

    #[test]
    fn what_cannot_be_started_is_refused() {
        for (text, said) in [
            ("name = \"a\"\ncommand = []", "no program"),
            ("name = \"ceiling\"\ncommand = [\"x\"]", "name of its own"),
            ("name = \"a\"\ncommand = [\"x\"]\nfiles = { \"../x\" = \"\" }", "does not lie"),
            ("name = \"a\"\ncommand = [\"x\"]\nfiles = { \"/etc/x\" = \"\" }", "does not lie"),
            ("name = \"a\"", "command"),
            ("name = \"a\"\ncommand = [\"x\"]\nspeed = 3", "speed"),
        ] {
            let refused = FileTarget::parse(text).unwrap_err();
            assert!(refused.contains(said), "{text}: {refused}");
        }
    }
}
